"""
A stand-in for Lustre's `lfs`: answers `lfs hsm_state PATH...` as it was told beforehand.

The states of files stand, by their inodes, in the file `told` of its folder, with what else it is
to do; each call adds a line with its paths to the file `calls` there. It prints what the real one
prints, and like that ends at the first file that it cannot tell of.
"""

import json
import os
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

FLAGS = {0x4: " released", 0x1: " exists", 0x2: " dirty", 0x8: " archived", 0x10: " never_release"}
"""In the order in which they are printed."""

ON_TAPE = 0x0000000D
ARCHIVED = 0x00000009


@dataclass
class HsmStandIn:
    """
    The program `lfs` in a folder of its own.

    states: of inodes, in bits; others have none. seconds: to sleep before it answers. silent: it
    prints nothing.
    """

    folder: Path
    states: dict[int, int] = field(default_factory=dict)
    seconds: float = 0
    silent: bool = False

    @property
    def path(self) -> str:
        """A PATH with it, and hardly anything else."""
        return f"{self.folder}:/usr/bin:/bin"

    def install(self) -> None:
        """Put it there, and what it is to do."""
        self.folder.mkdir(exist_ok=True)
        program = self.folder / "lfs"
        program.write_text(
            f'#!/bin/sh\nexec {sys.executable} -I -S {__file__} {self.folder} "$@"\n'
        )
        program.chmod(0o755)
        told = {name: value for name, value in asdict(self).items() if name != "folder"}
        (self.folder / "told").write_text(json.dumps(told), encoding="utf-8")

    def tell(self, file: Path, states: int) -> None:
        """Let it know the states of a file."""
        self.states[file.stat().st_ino] = states
        self.install()

    def calls(self) -> list[list[str]]:
        """The paths of each call, in the text that Python makes of their bytes."""
        file = self.folder / "calls"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def main(folder: Path, arguments: list[str]) -> int:
    """Do what was told; the exit status."""
    command, *paths = arguments
    with (folder / "calls").open("a", encoding="utf-8") as file:
        file.write(json.dumps(paths) + "\n")
    told = json.loads((folder / "told").read_text(encoding="utf-8"))
    time.sleep(told["seconds"])
    if command != "hsm_state" or told["silent"]:
        return 1
    for path in paths:
        try:
            states = told["states"].get(str(Path(path).stat().st_ino), 0)
        except OSError as error:
            sys.stderr.write(f"can't get hsm state for {path!a}: {error.strerror}\n")
            return 1
        sys.stdout.buffer.write(os.fsencode(f"{path}: {described(states)}\n"))
    return 0


def described(states: int) -> str:
    """What is printed of a file behind its path."""
    flags = "".join(word for bit, word in FLAGS.items() if states & bit)
    return f"({states:#010x}){flags}" + (", archive_id:1" if states else "")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
