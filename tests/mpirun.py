"""Starting several ranks, on this host or on two that are made for it."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

MPIRUN = Path(sys.executable).with_name("mpirun")

ENVIRONMENT = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}
"""Lets Open MPI be run by root, as in a container, and with more ranks than cores."""


def ranks(count: int) -> list[str]:
    """What starts so many ranks of a Python program."""
    return [str(MPIRUN), "-n", str(count), sys.executable, "-m", "mpi4py"]


def environment() -> dict[str, str]:
    """The environment of a program that starts ranks."""
    return os.environ | ENVIRONMENT


AGENT = """#!/bin/sh
shift  # the host: there is only one other
exec ip netns exec {there} unshare --uts /bin/sh -c "hostname host-two; $*"
"""


@contextmanager
def two_hosts(folder: Path) -> Iterator[Callable[[int], list[str]]]:
    """
    Two hosts joined by a wire: network namespaces with a name each; needs to be root.

    Gives what makes the start of a command that runs so many ranks of a Python program, half of
    them on each host.
    """
    here, there = f"lurge-one-{os.getpid()}", f"lurge-two-{os.getpid()}"
    agent = folder / "agent"
    agent.write_text(AGENT.format(there=there))
    agent.chmod(0o755)
    try:
        for namespace in (here, there):
            _ip("netns", "add", namespace)
        _ip("link", "add", "wire0", "netns", here, "type", "veth", "peer", "wire0", "netns", there)
        for number, namespace in enumerate((here, there), 1):
            _ip("-n", namespace, "address", "add", f"10.99.0.{number}/24", "dev", "wire0")
            for device in ("lo", "wire0"):
                _ip("-n", namespace, "link", "set", device, "up")

        def start(count: int) -> list[str]:
            hosts = f"10.99.0.1:{count - count // 2},10.99.0.2:{count // 2}"
            options = [
                *("--prtemca", "plm", "ssh", "--prtemca", "plm_ssh_agent", str(agent)),
                *("--prtemca", "prte_if_include", "10.99.0.0/24"),
                *("--mca", "pml", "ob1", "--mca", "btl", "tcp,self"),
                *("--mca", "btl_tcp_if_include", "10.99.0.0/24", "--host", hosts),
            ]
            launcher, *rest = ranks(count)
            script = f'hostname host-one; {_variables()} exec "$@"'
            return [
                *("ip", "netns", "exec", here, "unshare", "--uts", "/bin/sh", "-c", script, "sh"),
                *(launcher, *options, *rest),
            ]

        yield start
    finally:
        for namespace in (here, there):
            for process in _ip("netns", "pids", namespace, check=False).split():
                subprocess.run(["kill", "-9", process], check=False, stderr=subprocess.DEVNULL)
            _ip("netns", "delete", namespace, check=False)


def _variables() -> str:
    return " ".join(f"export {name}={value};" for name, value in ENVIRONMENT.items())


def _ip(*arguments: str, check: bool = True) -> str:
    return subprocess.run(["ip", *arguments], check=check, stdout=subprocess.PIPE, text=True).stdout
