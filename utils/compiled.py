"""
Compiled loops: Python compiled by Numba, without the GIL, kept on disk between runs.

Loops take and give numbers and arrays only. They hold no state of their own and check nothing that
their caller can check once for a whole batch. Their arrays always have the same types, so that each
is compiled once.

Numba is imported with the first loop that runs: that takes half a second, and most commands run
none.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, Generic, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Loop(Generic[P, R]):
    """
    A loop that is compiled when it is first called, or loaded as an earlier process compiled it.

    Other loops may call it: to Numba it is what it is compiled to.
    """

    def __init__(self, loop: Callable[P, R]) -> None:
        self.py_func = loop
        self._compiled: Any = None
        self._alone = Lock()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it."""
        made: R = (self._compiled or self._compile())(*args, **kwargs)
        return made

    @property
    def _numba_type_(self) -> Any:
        """Asked for by Numba of whatever a loop names."""
        return numba().typeof(self._compile())

    def _compile(self) -> Any:
        with self._alone:
            if self._compiled is None:
                self._compiled = numba().njit(nogil=True, cache=True)(self.py_func)
            return self._compiled


def compiled(loop: Callable[P, R]) -> Callable[P, R]:
    """Compile at the first call, or load what an earlier process compiled."""
    return Loop(loop)


@cache
def numba() -> Any:
    """Numba, which knows where compiled loops are kept."""
    import numba  # noqa: PLC0415 - see the module

    # It looks for the folder when a loop is given to it.
    if not os.environ.get("NUMBA_CACHE_DIR"):
        numba.config.CACHE_DIR = str(_cache_folder())  # type: ignore[attr-defined]
    return numba


def _processor() -> str:
    """
    A name for this kind of processor.

    Numba numbers the files of a loop's variants per folder: two hosts of a cluster with different
    processors that compile into one folder at once could take each other's code for their own.
    """
    from llvmlite import binding  # noqa: PLC0415 - comes with Numba

    features = hashlib.sha256(binding.get_host_cpu_features().flatten().encode()).hexdigest()
    return f"{binding.get_host_cpu_name()}-{features[:12]}"


def _cache_folder() -> Path:
    """Where compiled loops are kept: the user's cache, else a folder of the user's among others."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111
    shared = Path(tempfile.gettempdir(), f"lurge-{os.getuid()}")
    for folder in (Path(cache, "lurge"), shared):
        if _is_ours(folder):
            return folder / _processor()
    return Path(tempfile.mkdtemp(prefix="lurge-"))


def _is_ours(folder: Path) -> bool:
    """Whether only we can write there: what is loaded from it is run."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError:
        return False
    private = status.st_uid == os.getuid() and not status.st_mode & 0o022
    return private and os.access(folder, os.W_OK)
