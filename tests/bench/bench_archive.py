#!/usr/bin/env python3
"""
Archiving to a directory, against `rclone copy` and `rclone check --download`.

Ours is from the planned run to the moment before the bin: copied, durable, and read back from the
medium. Theirs is copied and read back, from memory where it is still there, and not made durable.
Both go from the same tree to the same filesystem; the pages of the source are dropped before each.

Then a tree with every kind of oddity is archived, deleted and restored, and rsync compares it with
a twin by all facts and bytes.

    bench_archive.py [--part SHARE] [--folder DIR]
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

# The tests of a package lie in a folder of its name, which must not be taken for it.
sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

import oddities
from archiving import Yard

from db.database import Database
from lurge.archiver import restoring
from lurge_types.archive import Run

MIB = 1 << 20


def fill(root: Path, files: int, size: int) -> None:
    """A tree of files of one size, 500 in a directory, that cannot be compressed."""
    for number in range(files):
        folder = root / f"{number // 500:03}"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{number:06}").open("wb") as file:
            for start in range(0, size, MIB):
                file.write(os.urandom(min(MIB, size - start)))


def forget(root: Path) -> None:
    """Drop the pages of all files."""
    os.sync()
    for path in root.rglob("*"):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def timed(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def rclone(root: Path, target: Path) -> float:
    def act() -> None:
        for verb in (["copy"], ["check", "--download"]):
            subprocess.run(["rclone", *verb, root, target], check=True, capture_output=True)

    return timed(act)


def ours(folder: Path, root: Path, layout: str) -> float:
    database = Database(f"sqlite:///{folder}/lurge.db")
    database.init()
    yard = Yard(folder, database, layout=layout)
    file, run = yard.plan(root, course="copy")

    def act() -> None:
        (unit,) = yard.apply(file, run)
        assert unit.state == "verified", unit

    return timed(act)


def compare(folder: Path, name: str, files: int, size: int, layouts: list[str]) -> None:
    """Measure one kind of tree, and print what came out."""
    root = folder / "s1" / "tree"
    fill(root, files, size)
    for layout in ["rclone", *layouts, "rclone"]:
        forget(root)
        other = folder / "theirs"
        seconds = rclone(root, other) if layout == "rclone" else ours(folder, root, layout)
        for made in ("theirs", "target", "runs"):
            shutil.rmtree(folder / made, ignore_errors=True)
        (folder / "lurge.db").unlink(missing_ok=True)
        rate = files * size / seconds / MIB
        print(f"{name:24} {layout:8} {seconds:7.2f} s {rate:8.1f} MiB/s", flush=True)
    shutil.rmtree(root)


def identity(folder: Path, entries: int, layout: str) -> None:
    """Archive a tree, delete it, restore it; what rsync finds to be different then."""
    database = Database(f"sqlite:///{folder}/lurge.db")
    database.init()
    yard = Yard(folder, database, layout=layout, keep_in_bin=0)
    root, twin = yard.mount / "odd", folder / "twin"
    for each in (root, twin):
        oddities.make(each, entries)
        os.utime(each, (1, 2))
    steps: dict[str, Callable[[], object]] = {
        "plan": lambda: plans.append(yard.plan(root)),
        "archive and delete": lambda: yard.apply(*plans[0]),
        "restore": lambda: made.extend(
            restoring.restore(yard.works(), restoring.find(yard.works(), str(root)))
        ),
    }
    plans: list[tuple[Path, Run]] = []
    made: list[restoring.Restored] = []
    for name, act in steps.items():
        print(f"{entries:,} odd entries, {layout:5} {name:20} {timed(act):7.1f} s", flush=True)
    command = ["rsync", "-aHAXnc", "--delete", "--itemize-changes", f"{twin}/", f"{root}/"]
    found = subprocess.run(command, check=True, capture_output=True).stdout.splitlines()
    print(f"failure: {made[0].failure}; rsync finds {len(found)} differences {found[:3]}")
    for each in (root, twin, folder / "target"):
        oddities.remove(each)
    (folder / "lurge.db").unlink()


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--part", type=float, default=1, help="of the files")
    asked.add_argument("--folder", type=Path, help="on the filesystem to measure")
    part, parent = asked.parse_args().part, asked.parse_args().folder
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        compare(Path(folder), "20 files of 500 MB", max(1, int(20 * part)), 500_000_000, ["tree"])
        small = ["tree", "packs"]
        compare(Path(folder), "20,000 files of 10 kB", int(20_000 * part), 10_000, small)
        for layout in ("tree", "packs"):
            identity(Path(folder), int(100_000 * part), layout)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"memory at most: {memory:.0f} MiB")


if __name__ == "__main__":
    main()
