"""Trees in which every kind of oddity is; which ones depends on nothing but the seed."""

import os
import random
import stat
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

AS_ROOT = os.geteuid() == 0
NAMES = [
    b"new\nline",
    b"tab\tbed",
    b'quo"te',
    b"back\\slash",
    b"\\x41\\n",
    b"not UTF-8 \xff\xfe",
    b"half a character \xe2\x82",
    b"-dash",
    b"--delete",
    "\uff0f \u2028".encode(),
    "naïve \u200b\U0001f9ec".encode(),
    bytes(range(1, 32)) + b"\x7f",
    b" ",
    b"~",
    b"%2e%2e",
    b"...",
    b"*?[a]",
    b"a",
    b"a!",
    b"a0",
    b"A",
    b"plain.bam",
]
LONGEST = 255
SIZES = (0, 1, 4095, 4096, 4097, (1 << 20) + 1)
TIMES = (-(10**18) - 1, -1, 0, 1, 10**9 - 1, 1_700_000_000_123_456_789, 9_000_000_000 * 10**9 + 7)
LINKS = (
    b"nowhere",
    b"/etc/passwd",
    b"..",
    b".",
    b"../../../../..",
    b"a//b/./c/",
    b"\n\xff\\x41",
    b"l" * 4095,
)
DEEP = 30
BLOCK = 1 << 16


def make(root: Path, count: int, seed: int = 0) -> None:
    """Make a directory with so many entries below it, at least."""
    root.mkdir()
    _Maker(os.fsencode(root), random.Random(seed)).make(count)


def remove(root: Path) -> None:
    """Remove a tree however deep it is, which Python gives up on."""
    subprocess.run(["rm", "-rf", root], check=True)


def chain(top: Path, levels: int, name: bytes) -> None:
    """Make a directory, so many in each other below it, and a file in the last."""
    top.mkdir()
    handle = os.open(top, os.O_RDONLY)
    for _ in range(levels):
        above = handle
        os.mkdir(name, dir_fd=above)
        handle = os.open(name, os.O_RDONLY, dir_fd=above)
        os.close(above)
    os.close(os.open(b"file", os.O_CREAT | os.O_WRONLY, dir_fd=handle))
    os.close(handle)


class _Maker:
    def __init__(self, root: bytes, dice: random.Random) -> None:
        self._dice = dice
        self._folders = [root]
        self._files: list[bytes] = []
        self._made: list[bytes] = []
        self._kinds: list[Callable[[bytes], None]] = [
            self._folder,
            self._file,
            self._file,
            self._file,
            self._sparse,
            self._link,
            self._name,
            self._fifo,
            self._socket,
            *([self._device] if AS_ROOT else []),
        ]

    def make(self, count: int) -> None:
        top = self._folders[0]
        self._deep(top + b"/deep")
        number = 0
        while len(self._made) < count:
            number += 1
            folder = self._dice.choice(self._folders)
            self._kinds[number % len(self._kinds)](self._new(folder, number))
        for path in sorted(self._made, reverse=True):
            self._facts(path)
        for path in sorted([*self._made, top], reverse=True):
            self._times(path)

    def _new(self, folder: bytes, number: int) -> bytes:
        """A path that nothing has; so long names are rare, as paths are limited here."""
        name = self._dice.choice(NAMES)
        if number % 50 == 0 and len(folder) < 1000:
            name = (b"%d" % number).ljust(LONGEST, b"n")
        path = folder + b"/" + name
        return path + b"%d" % number if os.path.lexists(path) else path

    def _deep(self, path: bytes) -> None:
        for level in range(DEEP):
            self._folder(path)
            path += b"/d%d" % level

    def _folder(self, path: bytes) -> None:
        os.mkdir(path)
        self._made.append(path)
        if len(path) < 3000:
            self._folders.append(path)

    def _file(self, path: bytes) -> None:
        size = self._dice.choice(SIZES if self._dice.random() < 0.3 else SIZES[:-1])
        with open(path, "xb") as file:
            file.write(self._dice.randbytes(size))
        self._files.append(path)
        self._made.append(path)

    def _sparse(self, path: bytes) -> None:
        """Blocks with and without data, the last not whole; all of them holes, too."""
        blocks = self._dice.choice(["..", ".#", "#.", "#..#", ".#.#.", "....", "#...#."])
        with open(path, "xb") as file:
            for number, block in enumerate(blocks):
                if block == "#":
                    os.pwrite(file.fileno(), self._dice.randbytes(BLOCK), number * BLOCK)
            os.truncate(file.fileno(), len(blocks) * BLOCK + self._dice.choice((-3, 0, 5000)))
        self._files.append(path)
        self._made.append(path)

    def _link(self, path: bytes) -> None:
        os.symlink(self._dice.choice(LINKS), path)
        self._made.append(path)

    def _name(self, path: bytes) -> None:
        """A further name of a file, of a pipe or of a link."""
        with_names = self._files if self._dice.random() < 0.8 else self._made
        first = self._dice.choice(with_names)
        if stat.S_ISDIR(os.lstat(first).st_mode):
            return
        os.link(first, path, follow_symlinks=False)
        self._made.append(path)

    def _fifo(self, path: bytes) -> None:
        os.mkfifo(path)
        self._made.append(path)

    def _socket(self, path: bytes) -> None:
        os.mknod(path, stat.S_IFSOCK | 0o600)
        self._made.append(path)

    def _device(self, path: bytes) -> None:
        kind = self._dice.choice((stat.S_IFCHR, stat.S_IFBLK))
        os.mknod(
            path,
            kind | 0o600,
            os.makedev(self._dice.choice((1, 7, 300)), self._dice.choice((3, 70000))),
        )
        self._made.append(path)

    def _facts(self, path: bytes) -> None:
        mode = os.lstat(path).st_mode
        if AS_ROOT:
            owner = self._dice.choice((0, 1000, 65533, 2**31 + 5))
            os.chown(path, owner, self._dice.choice((0, 2000, 2**32 - 2)), follow_symlinks=False)
        if stat.S_ISDIR(mode) or stat.S_ISREG(mode):
            self._attributes(path, stat.S_ISDIR(mode))
        if AS_ROOT and not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)) and self._dice.random() < 0.3:
            os.setxattr(path, "security.odd", b"x", follow_symlinks=False)
        if not stat.S_ISLNK(mode):
            os.chmod(path, self._mode(stat.S_ISDIR(mode)))

    def _mode(self, folder: bool) -> int:
        """Any, as far as whoever runs this may still look into it."""
        mode = self._dice.choice((0o755, 0o644, self._dice.randrange(0o10000)))
        return mode if AS_ROOT else mode | (0o700 if folder else 0o400)

    def _attributes(self, path: bytes, folder: bool) -> None:
        if self._dice.random() < 0.7:
            return
        for name, value in (
            (b"user.a", b""),
            (b"user.bytes", bytes(range(256))),
            (b"user.\xff\n", self._dice.randbytes(20)),
        ):
            os.setxattr(path, name, value)
        os.setxattr(path, "system.posix_acl_access", acl(self._dice.randrange(8)))
        if folder:
            os.setxattr(path, "system.posix_acl_default", acl(self._dice.randrange(8)))
        elif AS_ROOT:
            os.setxattr(
                path, "security.capability", struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
            )

    def _times(self, path: bytes) -> None:
        ns = (self._dice.choice(TIMES), self._dice.choice(TIMES))
        os.utime(path, ns=ns, follow_symlinks=False)


def acl(rights: int) -> bytes:
    """The value of an ACL in which a user and a group have some rights: linux/posix_acl_xattr.h."""
    nobody = 0xFFFFFFFF
    entries = [
        (1, 7, nobody),
        (2, rights, 4242),
        (4, 5, nobody),
        (8, rights, 4343),
        (16, 7, nobody),
        (32, 4, nobody),
    ]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
