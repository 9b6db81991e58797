"""
A stand-in for LSF's `bsub`: runs a job at once, on this host, before it tells the job's number.

It knows the options that cron.sh gives, and one queue, `normal`. As LSF does, it joins the words of
the command with spaces and hands them to a shell, appends output to the file of -o with its own
report behind it, and refuses to wait for a job that it does not know. What became of each job is a
line of JSON in the file `jobs` of the folder $LSF_STAND_IN.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

REFUSED = 255
CONDITION = re.compile(r"(done|ended)\((\d+)\)")


def main() -> int:
    options = parse(sys.argv[1:])
    book = Path(os.environ["LSF_STAND_IN"], "jobs")
    lines = book.read_text(encoding="utf-8").splitlines() if book.exists() else []
    jobs = [json.loads(line) for line in lines]
    number = max((job["number"] for job in jobs), default=100) + 1
    if options.queue != "normal":
        return refuse(f"{options.queue}: No such queue")
    conditions = options.wait.split(" && ") if options.wait else []
    if not all(known(condition, jobs) for condition in conditions):
        return refuse(f"{options.wait}: Dependency condition invalid or never satisfied")
    starts = all(holds(condition, jobs) for condition in conditions)
    job = {
        "number": number,
        "name": options.name,
        "slots": options.slots,
        "waits": options.wait,
        "command": " ".join(options.command),
        "status": execute(options, number) if starts else None,
    }
    with book.open("a", encoding="utf-8") as file:
        file.write(json.dumps(job) + "\n")
    if "BSUB_QUIET" not in os.environ:
        print(f"Job <{number}> is submitted to queue <{options.queue}>.")
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("-J", dest="name", required=True)
    parser.add_argument("-q", dest="queue", required=True)
    parser.add_argument("-n", dest="slots", type=int, required=True)
    parser.add_argument("-M", dest="memory", required=True)
    parser.add_argument("-R", dest="resources", required=True)
    parser.add_argument("-G", dest="group")
    parser.add_argument("-o", dest="output", required=True)
    parser.add_argument("-w", dest="wait", default="")
    parser.add_argument("-ti", action="store_true")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    return parser.parse_args(arguments)


def refuse(reason: str) -> int:
    print(f"{reason}. Job not submitted.", file=sys.stderr)
    return REFUSED


def known(condition: str, jobs: list[dict[str, Any]]) -> bool:
    """Whether this can be waited for."""
    match = CONDITION.fullmatch(condition)
    return match is not None and int(match[2]) in [job["number"] for job in jobs]


def holds(condition: str, jobs: list[dict[str, Any]]) -> bool:
    """Whether this has come true; here every job has ended that was ever started."""
    state, number = condition.rstrip(")").split("(")
    statuses = [job["status"] for job in jobs if job["number"] == int(number)]
    return state == "ended" or not any(statuses)


def execute(options: argparse.Namespace, number: int) -> int:
    """Run a job; its exit status."""
    done = subprocess.run(
        ["/bin/sh", "-c", " ".join(options.command)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        env=os.environ
        | {
            "LSB_JOBID": str(number),
            "LSB_JOBNAME": options.name,
            "LSB_DJOB_NUMPROC": str(options.slots),
        },
    )
    output = Path(options.output.replace("%J", str(number)))
    if output.parent.is_dir():  # else LSF would send it by mail, or nowhere
        exited = f"Exited with exit code {done.returncode}."
        with output.open("ab") as file:
            file.write(done.stdout)
            file.write(f"\n{exited if done.returncode else 'Successfully completed.'}\n".encode())
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
