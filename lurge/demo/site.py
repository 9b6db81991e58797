"""A made-up site on disk: scans of some volumes over some nights, and what reports need beside."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import compress, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from isal import igzip

from lurge.demo import quotas
from lurge.demo.cold import Cold
from lurge.demo.entries import HARD_LINKS, Entries, Numbers
from lurge.demo.folders import walk
from lurge.demo.people import FIRST_UID, People, people_for
from lurge.demo.tree import Wood
from lurge.demo.use import Counted, Past, grown
from utils.quotas import HEADER
from utils.scans import FULLWIDTH_SLASH

SHARES = {"humgen01": 0.2, "scratch123": 0.5, "scratch124": 0.3}
"""The volumes, and which share of the entries each has."""

NIGHTS_AGO = (7, 1, 0)
STARTED = time(0, 5)
FINISHED = time(0, 45)

VAULTS = 0.9
"""The share of groups that have a vault, of those with enough for it; it holds hard links."""

FEWEST = 300
"""With fewer entries a volume has no room for one of everything."""

COMPRESSION = 2


class SiteTooSmall(ValueError):
    """Too few entries were asked for."""


class FolderTaken(Exception):
    """The folder for the site holds something already."""


@dataclass(frozen=True, slots=True)
class Site:
    """
    What was made.

    config: the configuration that uses all of it. scans: the scan files, the oldest night first.
    entries: on the newest night, over all volumes. pasts: of each volume.
    """

    config: Path
    scans: tuple[Path, ...]
    volumes: tuple[str, ...]
    entries: int
    groups: int
    users: int
    pasts: tuple[Past, ...]


@dataclass(frozen=True, slots=True)
class _Volume:
    """A volume to be made. nights: the days of its scans, the oldest first."""

    name: str
    number: int
    entries: int
    people: People
    nights: Sequence[date]
    seed: int
    hard_links: float = HARD_LINKS

    @property
    def mount(self) -> str:
        return f"/lustre/{self.name}"

    @property
    def group_directories(self) -> list[str]:
        return [f"{self.mount}/humgen/{held}" for held in ("projects", "teams")]

    def all_entries(self) -> Iterator[Entries]:
        """Its entries of the newest night."""
        scan_times = [_moment(night, FINISHED) for night in self.nights]
        nights = len(scan_times)
        dice = np.random.default_rng([self.seed, self.number])
        wood = Wood(
            self.people,
            list(self.people.active(self.number, len(SHARES))),
            self.mount.encode("ascii"),
            scan_times[-1],
            dice,
            vaults=VAULTS if self.hard_links else 0,
            nights=nights,
        )
        cold = None
        if nights > 1:
            drawn = np.random.default_rng([self.seed, self.number, len(SHARES)])
            cold = Cold(self.entries, scan_times[-1], nights, drawn)
        users = range(FIRST_UID + self.number % 2, FIRST_UID + len(self.people.users), 2)
        root = wood.volume(self.entries, self.people.archived(self.number), users, cold)
        return Numbers(self.number, scan_times, self.hard_links, dice).entries(walk(root))


def make(folder: Path, entries: int, seed: int, today: date) -> Site:
    """
    Make a site in a folder that is empty or not there; the same arguments give the same bytes.

    Raises SiteTooSmall, FolderTaken, OSError.
    """
    _check(entries)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FolderTaken(f"{folder} is not empty: name a new folder")
    people = people_for(entries)
    nights = [today - timedelta(days) for days in NIGHTS_AGO]
    volumes = [
        _Volume(name, number, budget, people, nights, seed)
        for number, (name, budget) in enumerate(_budgets(entries).items())
    ]
    scans: list[Path] = []
    pasts = []
    limits = [",".join(HEADER)]
    for volume in volumes:
        counted = Counted(people, len(nights))
        scans += _write_nights(folder / "wrstat", volume, counted)
        use = counted.use()
        dice = np.random.default_rng([seed, len(SHARES), volume.number])
        archived = frozenset(people.archived(volume.number))
        pasts.append(grown(volume.name, nights[0], use, archived, dice))
        limits += quotas.lines(people, pasts[-1], use, dice)
    _write(folder / "group", people.group_lines())
    _write(folder / "passwd", people.user_lines())
    _write(folder / "quotas.csv", limits)
    _write(folder / "lurge.toml", _config(volumes))
    return Site(
        folder / "lurge.toml",
        tuple(sorted(scans)),
        tuple(SHARES),
        entries,
        len(people.groups),
        len(people.users),
        tuple(pasts),
    )


def write_scan(file: Path, entries: int, seed: int, today: date, hard_links: float) -> None:
    """
    Write one night's scan of one volume, with that share of the files' names hard-linked.

    There are vaults where there are any hard links.

    Raises SiteTooSmall, OSError.
    """
    _check(entries)
    volume = _Volume("scratch123", 1, entries, people_for(entries), [today], seed, hard_links)
    with _compressed(file) as text:
        for some in volume.all_entries():
            text.write(b"".join(some.lines()))
    _set_time(file, today)


def _check(entries: int) -> None:
    if entries < FEWEST:
        raise SiteTooSmall(f"{entries} entries are too few to be shared out: {FEWEST} or more")


def _budgets(entries: int) -> dict[str, int]:
    """How many entries each volume has."""
    ends = np.rint(np.cumsum([0, *SHARES.values()]) * entries).astype(int).tolist()
    return {name: end - start for name, (start, end) in zip(SHARES, pairwise(ends), strict=True)}


def _write_nights(folder: Path, volume: _Volume, counted: Counted) -> list[Path]:
    """Write the volume's scan of each night, each folder under a dot name until it is complete."""
    place = volume.mount.replace("/", FULLWIDTH_SLASH)
    folders = [folder / f"{night:%Y%m%d}-{STARTED:%H%M%S}_{place}" for night in volume.nights]
    unfinished = [each.with_name(f".{each.name}") for each in folders]
    with ExitStack() as stack:
        texts = []
        for each in unfinished:
            each.mkdir(parents=True)
            texts.append(stack.enter_context(_compressed(each / "stats.gz")))
        for entries in volume.all_entries():
            counted.add(entries)
            lines = entries.lines()
            for number, text in enumerate(texts):
                text.write(b"".join(compress(lines, entries.on(number).tolist())))
    for each, hidden, night in zip(folders, unfinished, volume.nights, strict=True):
        _set_time(hidden / "stats.gz", night)
        hidden.rename(each)
    return [each / "stats.gz" for each in folders]


@contextmanager
def _compressed(file: Path) -> Iterator[Any]:
    """A gzip file whose bytes tell neither its name nor when it was written."""
    with (
        file.open("wb") as raw,
        igzip.IGzipFile("", "wb", COMPRESSION, raw, mtime=0) as text,  # type: ignore[no-untyped-call]
    ):
        yield text


def _set_time(file: Path, night: date) -> None:
    """Date a scan file by when its scan was done: that is its scan time."""
    os.utime(file, (_moment(night, FINISHED),) * 2)


def _moment(day: date, of_day: time) -> int:
    """Seconds since 1970, UTC."""
    return int(datetime.combine(day, of_day, UTC).timestamp())


def _write(file: Path, lines: Iterable[str]) -> None:
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _config(volumes: Sequence[_Volume]) -> Iterator[str]:
    """The lines of a configuration that uses everything; paths in it start from its folder."""
    yield 'wrstat_dir = "wrstat"'
    yield 'report_dir = "reports"'
    for volume in volumes:
        yield ""
        yield "[[volume]]"
        yield f'name = "{volume.name}"'
        yield f'mount = "{volume.mount}"'
        yield f"group_directories = {json.dumps(volume.group_directories)}"
    yield from ("", "[inspector]", "base_directories = [")
    for volume in volumes:
        depth = volume.mount.count("/")
        for below, deeper in (("humgen/projects", 3), ("humgen/teams", 3), ("users", 2)):
            prefix = f"{volume.mount}/{below}"
            yield f'    {{ prefix = "{prefix}", depth = {depth + deeper} }},'
    yield "]"
    yield from ("", "[database]", 'url = "sqlite:///lurge.db"')
    yield from ("", "[names]", 'source = "files"', 'group_file = "group"', 'user_file = "passwd"')
    yield from ("", "[quotas]", 'source = "csv"', 'csv_file = "quotas.csv"')
