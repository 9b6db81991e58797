"""An archiver in a folder: a volume, a target, a database, and what becomes of its runs."""

import getpass
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from db.database import Database
from lurge.archiver import applying, planning
from lurge.archiver.planning import Wanted
from lurge.archiver.works import Works
from lurge_types.archive import Actor, Course, Proposal, Run, Skipped, UnitNow
from lurge_types.config import Config
from lurge_types.targets import Target
from utils.targets.opening import open_target

WHO = Actor(f"{getpass.getuser()}@{socket.gethostname()}", "0" * 64)


@dataclass
class Told:
    """What was told of an act."""

    events: list[tuple[str, str | None, dict[str, object]]] = field(default_factory=list)
    waits: list[str] = field(default_factory=list)
    advanced: int = 0

    def event(self, event: str, unit: UnitNow | None = None, **facts: object) -> None:
        self.events.append((event, unit.name if unit else None, facts))

    def waiting(self, why: str) -> None:
        self.waits.append(why)

    def begin(self, what: str, size_bytes: int) -> None:
        self.events.append((f"begin {what}", None, {"bytes": size_bytes}))
        self.advanced = 0

    def advance(self, size_bytes: int) -> None:
        self.advanced += size_bytes


class Yard:
    """A volume `s1` below a folder, with an archiver that has targets, a bin and a run folder."""

    def __init__(self, folder: Path, database: Database, **archive: Any) -> None:
        self.folder = folder
        self.mount = folder / "s1"
        self.target = folder / "target"
        self.mount.mkdir(exist_ok=True)
        self.target.mkdir(exist_ok=True)
        self.told = Told()
        self.database = database
        table = {
            "target": f"file://{self.target}",
            "run_dir": str(folder / "runs"),
            "checkpoint_files": [str(folder / f"checkpoint.{number}.json") for number in (1, 2)],
            "lease_seconds": 30.0,
            "guards": {"max_share": 1.0, "min_free": 0},
            **archive,
        }
        self.config = Config.model_validate(
            {"volume": [{"name": "s1", "mount": str(self.mount)}], "archive": table}
        )
        self._targets: dict[str, Target] = {}

    def works(self, **changes: Any) -> Works:
        facts: dict[str, Any] = {
            "config": self.config,
            "database": self.database,
            "target": self.open,
            "actor": WHO,
            "holder": "me",
            "watch": self.told,
            "pauses": (0.01, 0.01),
            "full_seconds": 0.05,
        }
        return Works(**facts | changes)

    def open(self, url: str) -> Target:
        if url not in self._targets:
            self._targets[url] = open_target(url, self.config.archive)
        return self._targets[url]

    def plan(self, *roots: Path, course: Course = "archive", **works: Any) -> tuple[Path, Run]:
        proposals = [Proposal(bytes(root), "directory", (), None, None) for root in roots]
        return self.plan_of(proposals, course, **works)

    def plan_of(
        self, proposals: Sequence[Proposal | Skipped], course: Course = "archive", **works: Any
    ) -> tuple[Path, Run]:
        wanted = Wanted("paths", "", None, course, proposals)
        file, run, _ = planning.plan(self.works(**works), wanted, reuse=False)
        return file, run

    def apply(self, file: Path, run: Run, *allow: str, **works: Any) -> list[UnitNow]:
        return applying.apply(self.works(**works), file, run, allow)
