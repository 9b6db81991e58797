"""Handles of directories for as long as a block runs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from utils.handles import DIRECTORY, open_root


@contextmanager
def opened(path: bytes) -> Iterator[int]:
    """A handle of a directory by its absolute path, with no link on it."""
    handle = open_root(path)
    try:
        yield handle
    finally:
        os.close(handle)


@contextmanager
def opened_in(folder: int, name: bytes) -> Iterator[int]:
    """A handle of a directory in another."""
    handle = os.open(name, DIRECTORY, dir_fd=folder)
    try:
        yield handle
    finally:
        os.close(handle)
