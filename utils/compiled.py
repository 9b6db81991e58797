"""
Compiled loops: Python compiled by Numba, without the GIL, kept on disk between runs.

Loops take and give numbers and arrays only. They hold no state of their own and check nothing that
their caller can check once for a whole batch.
"""

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")


def compiled(loop: Callable[P, R]) -> Callable[P, R]:
    """Compile at the first call, or load what an earlier process compiled."""
    return cast("Callable[P, R]", numba.njit(nogil=True, cache=True)(loop))
