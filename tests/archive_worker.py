"""
A worker of the archiver in a process of its own, to which things happen at chosen calls.

python -m archive_worker: reads what is asked for from its input, a JSON object a line, does it in a
fork of itself, and answers with what became of it. All is the real thing: `archiving.Yard`'s works
with a holder that is known to be dead when the process is.

    folder: of the yard; in it `yard.json` says how it is configured, and what is archived.
    deed: what is to be done, see `DEEDS`.
    areas, tamper: see `servers.moments`; without areas nothing is watched.
"""

import gc
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from archiving import Told, Yard
from servers import moments
from servers.moments import Moment, Tamper

from db import leases, ledger
from db.database import Database
from lurge.archiver import emptying, restoring
from lurge.archiver.claims import claimed
from lurge.archiver.remade import RestoreRefused
from lurge.archiver.step import Step
from lurge.archiver.works import Works, now
from lurge_types.archive import STATES, Binned, Proposal, UnitNow
from utils import runfiles
from utils.paths import raw

SITE = "yard.json"


class Telling(Told):
    """Tells which state a unit has come to."""

    def __init__(self, told: moments.Told) -> None:
        super().__init__()
        self._told = told

    def event(self, event: str, unit: UnitNow | None = None, **facts: object) -> None:
        super().event(event, unit, **facts)
        if event in STATES:
            self._told.step(event)


class Worker:
    """What a fork works with."""

    def __init__(self, folder: Path, told: moments.Told) -> None:
        self.site = json.loads((folder / SITE).read_text())
        self.watch = Telling(told)
        database = Database(self.site["url"], retry_seconds=self.site["retry_seconds"])
        self.yard = Yard(folder, database, **self.site["archive"])
        self.told = told

    @property
    def works(self) -> Works:
        return self.yard.works(holder=leases.me(), watch=self.watch)

    def plan(self) -> object:
        self.told.step("planning")
        proposals = [
            Proposal(raw(each["root"]), each["kind"], tuple(map(raw, each["members"])), None, None)
            for each in self.site["units"]
        ]
        file, _ = self.yard.plan_of(
            proposals, self.site["course"], watch=self.watch, holder=leases.me()
        )
        return file.name

    def apply(self) -> object:
        files = sorted(self.yard.config.archive.run_dir.glob(f"*{runfiles.SUFFIX}"))
        self.told.step("planned")
        units = []
        for file in files:
            run = runfiles.read(file)
            units += self.yard.apply(file, run, watch=self.watch, holder=leases.me())
        return [(unit.name, unit.state, unit.reason) for unit in units]

    def age(self) -> object:
        """Let the time in the bin be over."""
        database = self.yard.database
        for unit in self._units():
            past = Binned(unit.bin or b"", now() - timedelta(days=40), now() - timedelta(days=10))
            run = database.read(partial(ledger.run_of, prefix=unit.content_id))
            with claimed(database, unit, STATES, leases.me(), 30) as found:
                assert found is not None
                Step(self.works, run, found[0], None, found[1]).moved("binned", binned=past)
        return None

    def purge(self) -> object:
        self.told.step("binned")
        return [(each.unit.name, each.became, each.reason) for each in emptying.purge(self.works)]

    def restore(self) -> object:
        self.told.step("restoring")
        made: list[tuple[str | None, str | None]] = []
        for each in self.site["units"]:
            try:
                found = restoring.find(self.works, each["root"])
            except RestoreRefused as error:
                made.append((None, str(error)))
                continue
            made += [(one.how, one.failure) for one in restoring.restore(self.works, found)]
        return made

    def _units(self) -> list[UnitNow]:
        return self.yard.database.read(lambda connection: list(ledger.each_unit(connection)))


DEEDS: dict[str, Callable[[Worker], object]] = {
    "plan": Worker.plan,
    "apply": Worker.apply,
    "age": Worker.age,
    "purge": Worker.purge,
    "restore": Worker.restore,
}


def do(asked: dict[str, Any], told: moments.Told) -> str:
    """What becomes of a deed, with all that was told meanwhile, in JSON."""
    worker = Worker(Path(asked["folder"]), told)
    became: object = None
    raised = None
    try:
        became = DEEDS[asked["deed"]](worker)
    except Exception as error:  # noqa: BLE001 - which one is for the test to judge
        raised = f"{type(error).__name__}: {error}"
    events = [event for event, *_ in worker.watch.events]
    said = {"became": became, "raised": raised, "events": events, "waits": worker.watch.waits}
    return json.dumps(said)


def held() -> bool:
    """Tell that all is held, and hear whether it may go on."""
    answer({"held": True})
    return bool(json.loads(sys.stdin.readline())["go_on"])


def answer(told: dict[str, Any]) -> None:
    sys.stdout.write(f"{json.dumps(told)}\n")
    sys.stdout.flush()


def main() -> None:
    """Do what is asked for, until nobody asks any more."""
    gc.freeze()  # forks then share what was imported
    for line in sys.stdin:
        asked = json.loads(line)
        act = partial(do, asked)
        if not asked.get("areas"):
            outcome = moments.untraced(act)
        else:
            tamper = asked.get("tamper")
            wanted = tamper and Tamper(Moment(*tamper["moment"]), tamper["what"], tamper["times"])
            outcome = moments.traced(act, asked["areas"], wanted, held)
        answer(asdict(outcome))


if __name__ == "__main__":
    os.umask(0o22)
    main()
