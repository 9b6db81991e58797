"""
Small disks, mounted for one test: full, out of inodes, over quota, as the kernel itself says it.

Root may mount; whoever is not does so in a process with mounts of its own, see `children.py`. A
watcher outlives this process and unmounts however this process ends, even by SIGKILL.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

IMAGE_BYTES = 128 << 20
"""A sparse file; btrfs makes nothing smaller of its usual kind."""

PAGE_BYTES = 4096

# Its input ends when its parent ends.
WATCH = """
trap '' INT TERM HUP
cat > /dev/null
exec "$0" "$@"
"""


@contextmanager
def unmounted_after(folder: Path, *command: str) -> Iterator[None]:
    """Unmount a folder in the end, whoever still uses it."""
    unmount = [*(command or ("umount", "--lazy", "--")), str(folder)]
    with subprocess.Popen(
        ["sh", "-c", WATCH, *unmount],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # it may have been unmounted already
        start_new_session=True,
    ):  # its end closes the pipe and waits
        yield


@contextmanager
def small_disk(folder: Path, size_bytes: int, inodes: int | None = None) -> Iterator[Path]:
    """
    A folder that has room for so much: ENOSPC beyond. Its own directory counts as an inode.

    Raises CalledProcessError.
    """
    inodes_of = "" if inodes is None else f",nr_inodes={inodes}"
    folder.mkdir(exist_ok=True)
    with unmounted_after(folder):
        _do("mount", "-t", "tmpfs", "-o", f"size={size_bytes}{inodes_of}", "none", str(folder))
        yield folder


@contextmanager
def quota_disk(folder: Path, limit_bytes: int) -> Iterator[Path]:
    """
    A folder with a quota, EDQUOT beyond, on a disk that has room. What it is mounted in is not
    limited, and what is renamed to there is refused: EXDEV, as between projects on Lustre.

    Raises CalledProcessError.
    """
    image, limited = folder.with_name(f"{folder.name}.image"), folder / "limited"
    folder.mkdir(exist_ok=True)
    with image.open("wb") as file:
        file.truncate(IMAGE_BYTES)
    try:
        _do("mkfs.btrfs", "--quiet", str(image))
        with unmounted_after(folder):
            _do("mount", "-o", "loop", str(image), str(folder))
            _do("btrfs", "quota", "enable", str(folder))
            _do("btrfs", "subvolume", "create", str(limited))
            _do("btrfs", "qgroup", "limit", str(limit_bytes), str(limited))
            yield limited
    finally:
        image.unlink()


def fill(folder: Path, left_pages: int = 0) -> Path:
    """Leave so many pages of 4 KiB of a small disk; the file that takes the rest of it."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        with suppress(OSError):
            while True:
                file.write(bytes(PAGE_BYTES))
        file.truncate(file.tell() // PAGE_BYTES * PAGE_BYTES - left_pages * PAGE_BYTES)
    return filler


def bind(folder: Path, there: Path) -> None:
    """Show a folder in the place of another, until `unmounted_after`. Raises CalledProcessError."""
    _do("mount", "--bind", str(folder), str(there))


def _do(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
