"""
The filesystem of `faults.py`: passes every operation on, unless a rule says otherwise.

python -m servers.fault_filesystem BEHIND ROOT: reads requests from its input, a JSON object a line,
answers each with what it has counted, and ends when its input does.

mfusepy is the fork of fusepy that is maintained: fusepy's last release is of 2018, and its times
lose their nanoseconds. It is used with libfuse 2: with libfuse 3 it leaves out a rename's flags, so
that RENAME_NOREPLACE would replace.
"""

import errno
import json
import os
import stat
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import mfusepy
from servers.faults import UNMOUNT, Rule

STATUS = (
    *("st_mode", "st_ino", "st_nlink", "st_uid", "st_gid", "st_rdev"),
    *("st_size", "st_blocks", "st_blksize"),
)
STATVFS = (
    *("f_bsize", "f_frsize", "f_blocks", "f_bfree", "f_bavail"),
    *("f_files", "f_ffree", "f_favail", "f_namemax"),
)
UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2


class Faults:
    """The rules and the counts."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._generation = 0
        self._rules: list[Rule] = []
        self._fitted: list[int] = []
        self._hits: list[int] = []
        self._held = 0
        self._free: int | None = None
        self._forget()

    def _forget(self) -> None:
        self._calls: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._read: Counter[str] = Counter()

    def do(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Change what is asked for; the counts."""
        with self._changed:
            if "rules" in asked:
                self._rules = [Rule(**rule) for rule in asked["rules"]]
                self._fitted = [0] * len(self._rules)
                self._hits = [0] * len(self._rules)
                self._generation += 1
                self._changed.notify_all()
            if "free_bytes" in asked:
                self._free = asked["free_bytes"]
            if "forget" in asked:
                self._forget()
            counts = {"calls": self._calls, "read_bytes": self._read}
            return {**counts, "hits": list(self._hits), "held": self._held}

    def see(self, operation: str, *paths: str, at: int = 0, size: int = 0) -> tuple[int, Rule]:
        """How many of some bytes go well, and by which rule. Raises OSError, as that has it."""
        with self._changed:
            self._calls[operation].update(paths)
            for number, rule in enumerate(self._rules):
                if not rule.fits(operation, *paths):
                    continue
                if size and not rule.flips and at < rule.from_byte < at + size:
                    return rule.from_byte - at, rule
                if (not size or self._reaches(rule, at, size)) and self._is_due(number):
                    break
            else:
                return size, NO_FAULT
            if rule.holds:
                self._hold()
        time.sleep(rule.delay_seconds)
        if rule.error:
            raise refusal(rule.error)
        return size, rule

    @staticmethod
    def _reaches(rule: Rule, at: int, size: int) -> bool:
        return at <= rule.from_byte < at + size if rule.flips else at >= rule.from_byte

    def _is_due(self, number: int) -> bool:
        rule = self._rules[number]
        self._fitted[number] += 1
        if self._fitted[number] <= rule.skip or self._hits[number] == rule.times:
            return False
        self._hits[number] += 1
        return True

    def _hold(self) -> None:
        generation = self._generation
        self._held += 1
        self._changed.wait_for(lambda: self._generation != generation)
        self._held -= 1

    def was_read(self, path: str, size: int) -> None:
        """Count bytes that a reader gets."""
        with self._changed:
            self._read[path] += size

    def free(self) -> int | None:
        """How much is told to fit."""
        return self._free

    def spend(self, size: int) -> int:
        """How many of some bytes still fit. Raises OSError when none does."""
        with self._changed:
            if self._free is None:
                return size
            if size and not self._free:
                raise refusal("ENOSPC")
            fitting = min(size, self._free)
            self._free -= fitting
            return fitting


NO_FAULT = Rule("none")


class Passing:
    """
    What libfuse calls, from several threads. The path of a file without a name is None.

    Raises OSError from every method, which libfuse passes on.
    """

    use_ns = True
    flag_nullpath_ok = True
    flag_utime_omit_ok = True

    def __init__(self, behind: str, root: str) -> None:
        self._behind = behind
        self._root = root
        self._faults = Faults()
        self._opened: dict[int, str] = {}

    def init(self, _path: str) -> None:
        """It is mounted: hear requests from now on."""
        answer(self._faults.do({}))
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        try:
            for line in sys.stdin:
                answer(self._faults.do(json.loads(line)))
        finally:
            subprocess.run([*UNMOUNT, self._root], check=False, capture_output=True)
            os._exit(0)

    def _at(self, operation: str, path: str) -> str:
        """The path behind it of a path at which nothing goes wrong."""
        self._faults.see(operation, path)
        return self._behind + path

    def _name(self, path: str | None, handle: int) -> str:
        return self._opened[handle] if path is None else path

    def _give(self, path: str) -> None:
        """Give something new to whoever has asked for it."""
        uid, gid, _ = mfusepy.fuse_get_context()
        if (uid, gid) != (os.geteuid(), os.getegid()):
            inherits = os.stat(os.path.dirname(path)).st_mode & stat.S_ISGID
            os.chown(path, uid, -1 if inherits else gid, follow_symlinks=False)

    def getattr(self, path: str | None, handle: int | None = None) -> dict[str, int]:
        """Its status, with times in nanoseconds."""
        if handle is None:
            assert path is not None
            found = os.lstat(self._at("getattr", path))
        else:
            self._faults.see("getattr", self._name(path, handle))
            found = os.fstat(handle)
        times = {f"st_{kind}time": getattr(found, f"st_{kind}time_ns") for kind in "amc"}
        return {**{key: getattr(found, key) for key in STATUS}, **times}

    def readlink(self, path: str) -> str:
        return os.readlink(self._at("readlink", path))

    def opendir(self, path: str) -> int:
        handle = os.open(self._at("opendir", path), os.O_RDONLY | os.O_DIRECTORY)
        self._opened[handle] = path
        return handle

    def readdir(self, path: str | None, handle: int) -> Iterator[tuple[str, dict[str, int], int]]:
        """Names with their types and inodes."""
        self._faults.see("readdir", self._name(path, handle))
        yield ".", {"st_mode": stat.S_IFDIR}, 0
        yield "..", {"st_mode": stat.S_IFDIR}, 0
        with os.scandir(handle) as entries:
            for entry in entries:
                found = entry.stat(follow_symlinks=False)
                yield entry.name, {"st_mode": found.st_mode, "st_ino": found.st_ino}, 0

    def releasedir(self, path: str | None, handle: int) -> None:
        self._close("releasedir", path, handle)

    def fsyncdir(self, path: str | None, _only_data: int, handle: int) -> None:
        self._faults.see("fsyncdir", self._name(path, handle))
        os.fsync(handle)

    def mknod(self, path: str, mode: int, device: int) -> None:
        os.mknod(self._at("mknod", path), mode, device)
        self._give(self._behind + path)

    def mkdir(self, path: str, mode: int) -> None:
        os.mkdir(self._at("mkdir", path), mode)
        self._give(self._behind + path)

    def symlink(self, path: str, to: str) -> None:
        os.symlink(to, self._at("symlink", path))
        self._give(self._behind + path)

    def link(self, path: str, old: str) -> None:
        self._faults.see("link", path, old)
        os.link(self._behind + old, self._behind + path, follow_symlinks=False)

    def rename(self, old: str, new: str) -> None:
        self._faults.see("rename", old, new)
        os.rename(self._behind + old, self._behind + new)

    def unlink(self, path: str) -> None:
        os.unlink(self._at("unlink", path))

    def rmdir(self, path: str) -> None:
        os.rmdir(self._at("rmdir", path))

    def chmod(self, path: str, mode: int) -> None:
        os.chmod(self._at("chmod", path), mode)

    def chown(self, path: str, uid: int, gid: int) -> None:
        os.chown(self._at("chown", path), uid, gid, follow_symlinks=False)

    def utimens(self, path: str, times: tuple[int, int] | None) -> None:
        """Times in nanoseconds; two of them stand for now, and for leaving it as it is."""
        here = self._at("utimens", path)
        found = os.lstat(here)
        now = time.time_ns()
        atime, mtime = (
            {UTIME_NOW: now, UTIME_OMIT: old}.get(new, new)
            for new, old in zip(
                times or (UTIME_NOW, UTIME_NOW), (found.st_atime_ns, found.st_mtime_ns), strict=True
            )
        )
        os.utime(here, ns=(atime, mtime), follow_symlinks=False)

    def create(self, path: str, mode: int, flags: int) -> int:
        handle = self._open(path, self._at("create", path), flags | os.O_CREAT, mode)
        self._give(self._behind + path)
        return handle

    def open(self, path: str, flags: int) -> int:
        return self._open(path, self._at("open", path), flags)

    def _open(self, path: str, here: str, flags: int, mode: int = 0) -> int:
        # Buffers are not aligned, as O_DIRECT would have them.
        handle = os.open(here, flags & ~os.O_DIRECT, mode)
        self._opened[handle] = path
        return handle

    def read(self, path: str | None, size: int, offset: int, handle: int) -> bytes:
        name = self._name(path, handle)
        size, rule = self._faults.see("read", name, at=offset, size=size)
        got = os.pread(handle, size, offset)
        self._faults.was_read(name, len(got))
        if rule.flips and 0 <= rule.from_byte - offset < len(got):
            wrong = bytearray(got)
            wrong[rule.from_byte - offset] ^= 0xFF
            return bytes(wrong)
        return got

    def write(self, path: str | None, data: bytes, offset: int, handle: int) -> int:
        """Write as much as goes well, which may be less."""
        name = self._name(path, handle)
        size, _ = self._faults.see("write", name, at=offset, size=len(data))
        return os.pwrite(handle, data[: self._faults.spend(size)], offset)

    def truncate(self, path: str | None, size: int, handle: int | None = None) -> None:
        if handle is None:
            assert path is not None
            os.truncate(self._at("truncate", path), size)
        else:
            self._faults.see("truncate", self._name(path, handle))
            os.ftruncate(handle, size)

    def flush(self, path: str | None, handle: int) -> None:
        """Each `close` of a file asks for that, and gets what it raises."""
        self._faults.see("flush", self._name(path, handle))

    def fsync(self, path: str | None, _only_data: int, handle: int) -> None:
        self._faults.see("fsync", self._name(path, handle))
        os.fsync(handle)

    def release(self, path: str | None, handle: int) -> None:
        self._close("release", path, handle)

    def _close(self, operation: str, path: str | None, handle: int) -> None:
        name = self._name(path, handle)
        del self._opened[handle]  # before another file gets its number
        os.close(handle)
        self._faults.see(operation, name)

    def statfs(self, path: str) -> dict[str, int]:
        found = os.statvfs(self._at("statfs", path))
        told = {key: int(getattr(found, key)) for key in STATVFS}
        free = self._faults.free()
        if free is not None:
            told["f_bfree"] = told["f_bavail"] = free // found.f_frsize
        return told

    def listxattr(self, path: str) -> list[str]:
        return os.listxattr(self._at("listxattr", path), follow_symlinks=False)

    def getxattr(self, path: str, name: str) -> bytes:
        return os.getxattr(self._at("getxattr", path), name, follow_symlinks=False)

    def setxattr(self, path: str, name: str, value: bytes, flags: int) -> None:
        os.setxattr(self._at("setxattr", path), name, value, flags, follow_symlinks=False)

    def removexattr(self, path: str, name: str) -> None:
        os.removexattr(self._at("removexattr", path), name, follow_symlinks=False)


def refusal(error: str) -> OSError:
    """An error by its name."""
    number: int = getattr(errno, error)
    return OSError(number, os.strerror(number))


def answer(told: dict[str, Any]) -> None:
    """Tell what has been counted."""
    sys.stdout.write(f"{json.dumps(told)}\n")
    sys.stdout.flush()


def main(behind: str, root: str) -> None:
    """Mount it, and stay until it is unmounted."""
    os.umask(0)  # the caller's has been taken off
    for_others = {"allow_other": True} if os.geteuid() == 0 else {}
    mfusepy.FUSE(
        Passing(os.path.realpath(behind), root),
        root,
        foreground=True,
        direct_io=True,
        use_ino=True,
        hard_remove=True,
        big_writes=True,
        default_permissions=True,
        entry_timeout=0,
        negative_timeout=0,
        attr_timeout=0,
        **for_others,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
