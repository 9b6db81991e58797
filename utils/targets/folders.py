"""
Handles of the folders of a tree, each opened once, without following links.

Opening each component of a path anew would be most of the work for small files. A handle that is in
use outlives its being forgotten: it is closed when nobody has it any more.
"""

import errno
import os
from collections import OrderedDict
from contextlib import suppress
from threading import Lock

OPENING = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FOLDER_MODE = 0o700
MOST_HANDLES = 128


class Folder:
    """An open directory."""

    __slots__ = ("handle",)

    def __init__(self, handle: int) -> None:
        self.handle = handle

    def __del__(self) -> None:
        os.close(self.handle)

    def is_gone(self) -> bool:
        """Whether it was removed: another one may be in its place."""
        return os.fstat(self.handle).st_nlink == 0


class Folders:
    """
    The folders of a tree by their paths below its root, empty for the root itself.

    root: an open directory, which it keeps. Several threads may use it.
    """

    def __init__(self, root: Folder) -> None:
        self._root = root
        self._device = os.fstat(root.handle).st_dev
        self._known: OrderedDict[str, Folder] = OrderedDict()
        self._lock = Lock()

    def open(self, path: str, *, make: bool = False) -> Folder:
        """
        A folder; with `make` it is made if it is missing, as are those above.

        Raises OSError: ENOENT, ENOTDIR where a component is something else or a link, EXDEV where
        another filesystem is mounted.
        """
        missing = []
        while (folder := self._find(path)) is None:
            path, _, name = path.rpartition("/")
            missing.append(name)
        for name in reversed(missing):
            path = f"{path}/{name}" if path else name
            folder = self._keep(path, self._enter(folder, name, make))
        return folder

    def forget(self) -> None:
        """Look every folder up anew from now on."""
        with self._lock:
            self._known.clear()

    def _find(self, path: str) -> Folder | None:
        if not path:
            return self._root
        with self._lock:
            found = self._known.get(path)
            if found is not None:
                self._known.move_to_end(path)
            return found

    def _keep(self, path: str, folder: Folder) -> Folder:
        with self._lock:
            self._known[path] = folder
            if len(self._known) > MOST_HANDLES:
                self._known.popitem(last=False)
        return folder

    def _enter(self, above: Folder, name: str, make: bool) -> Folder:
        try:
            folder = Folder(os.open(name, OPENING, dir_fd=above.handle))
        except FileNotFoundError:
            if not make:
                raise
            with suppress(FileExistsError):  # another thread or process was first
                os.mkdir(name, FOLDER_MODE, dir_fd=above.handle)
            folder = Folder(os.open(name, OPENING, dir_fd=above.handle))
        if os.fstat(folder.handle).st_dev != self._device:
            raise OSError(errno.EXDEV, "another filesystem is mounted there", name)
        return folder
