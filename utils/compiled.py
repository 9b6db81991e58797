"""
Compiled loops: Python compiled by Numba, without the GIL, kept on disk between runs.

Loops take and give numbers and arrays only. They hold no state of their own and check nothing that
their caller can check once for a whole batch. Their arrays always have the same types, so that each
is compiled once.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar, cast

import numba
from llvmlite import binding

P = ParamSpec("P")
R = TypeVar("R")


def compiled(loop: Callable[P, R]) -> Callable[P, R]:
    """Compile at the first call, or load what an earlier process compiled."""
    return cast("Callable[P, R]", numba.njit(nogil=True, cache=True)(loop))


def _processor() -> str:
    """
    A name for this kind of processor.

    Numba numbers the files of a loop's variants per folder: two hosts of a cluster with different
    processors that compile into one folder at once could take each other's code for their own.
    """
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


# Numba looks for the folder when a loop is decorated, that is at import.
if not os.environ.get("NUMBA_CACHE_DIR"):
    numba.config.CACHE_DIR = str(_cache_folder())  # type: ignore[attr-defined]
