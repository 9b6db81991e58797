"""Directories are removed with what is in them by handles: at any depth, and nothing elsewhere."""

import errno
import os
import stat
from collections.abc import Iterator

from utils.handles import THROUGH, Chain


def remove_tree(name: bytes, parent: int) -> None:
    """
    Remove a directory with all that is in it; one that its owner may not write to is opened up.

    parent: a handle of the directory that it lies in.

    Raises TreeUnfit where somebody renames in it meanwhile, OSError.
    """
    _remove(name, parent, with_files=True)


def remove_folders(name: bytes, parent: int) -> None:
    """The same of one with empty ones in it. Raises OSError too where anything else is there."""
    _remove(name, parent, with_files=False)


def _remove(top: bytes, parent: int, *, with_files: bool) -> None:
    chain = Chain(parent)
    ways = [iter([top])]
    way: list[bytes] = []
    try:
        while ways:
            name = next(ways[-1], None)
            if name is not None and _is_directory(name, chain.handle()):
                ways.append(_enter(chain, name, with_files=with_files))
                way.append(name)
            elif name is not None and with_files:
                os.unlink(name, dir_fd=chain.handle())
            elif name is not None:
                raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), b"/".join(way))
            else:
                ways.pop()
                if way:
                    chain.up()
                    os.rmdir(way.pop(), dir_fd=chain.handle())
    finally:
        chain.close()


def _is_directory(name: bytes, above: int) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=above, follow_symlinks=False).st_mode)


def _enter(chain: Chain, name: bytes, *, with_files: bool) -> Iterator[bytes]:
    """Go to a directory; the names in it."""
    if with_files:
        open_up(name, chain.handle())
    handle: int = chain.down(name)
    return map(os.fsencode, os.listdir(handle))


def open_up(name: bytes, above: int) -> None:
    """Let the owner of a directory do all in it. Raises OSError where that is somebody else."""
    handle = os.open(name, THROUGH, dir_fd=above)
    try:
        if os.fstat(handle).st_mode & stat.S_IRWXU != stat.S_IRWXU:
            os.chmod(b"/proc/self/fd/%d" % handle, stat.S_IRWXU)  # noqa: PTH101 - bytes
    finally:
        os.close(handle)
