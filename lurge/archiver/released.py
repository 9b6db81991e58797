"""
Files that were released to an HSM are left alone: to read one would bring it back.

Few files look as if they were, so few are asked for; where nobody can tell, they count as released.
"""

import os

from utils import hsm, show
from utils.hsm import HsmUnknown
from utils.paths import text
from utils.trees import may_be_released

WHAT_TO_DO = "plan with --recall to bring them back"


class Released:
    """Counts the files of a unit that are released, some at a time."""

    def __init__(self, root: bytes) -> None:
        self._root = root
        self._waiting: list[bytes] = []
        self._count = 0
        self._first: bytes | None = None
        self._unknown: HsmUnknown | None = None

    def suspect(self, path: bytes) -> None:
        """Count it in if it is released, sooner or later."""
        self._waiting.append(self._root + b"/" + path)
        if len(self._waiting) == hsm.MOST_AT_ONCE:
            self._ask()

    def reason(self) -> str | None:
        """Why the unit is left out, if any of its files is released."""
        self._ask()
        if not self._first:
            return None
        files = show.count(self._count, "file")
        are = f"may be released to the HSM ({self._unknown})"
        if not self._unknown:
            are = f"{'is' if self._count == 1 else 'are'} released to the HSM"
        return f"{files} {are}, such as {text(self._first)}: {WHAT_TO_DO}"

    def _ask(self) -> None:
        suspects, self._waiting = self._waiting, []
        released = suspects
        if not self._unknown:
            try:
                released = hsm.released(suspects)
            except HsmUnknown as error:
                self._unknown = error
        self._count += len(released)
        if released and not self._first:
            self._first = released[0]


def of_open(handle: int, found: os.stat_result) -> str | None:
    """
    Why an open file is not to be read, by what `fstat` tells, and by asking where that says little.

    Raises OSError.
    """
    if not may_be_released(handle, found):
        return None
    try:
        if not hsm.released([b"/proc/self/fd/%d" % handle], handles=[handle]):
            return None
    except HsmUnknown as error:
        return f"may have been released to the HSM since it was planned ({error}): {WHAT_TO_DO}"
    return f"was released to the HSM since it was planned: {WHAT_TO_DO}"
