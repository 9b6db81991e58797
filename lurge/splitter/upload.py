"""
A folder of finished files goes to an S3 bucket.

What is there already, whole and right, is not sent again: so an upload that was cut short goes on
with what is missing. When all is there, a hidden file in the folder says where, and nobody asks
the store again.
"""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from utils.durable import sync_folder
from utils.parts import part_of
from utils.s3 import Bucket

THREADS = 4
MARKER = ".uploaded"


@dataclass(frozen=True, slots=True)
class Uploaded:
    """
    What an upload did.

    destination: where the files are now. sent, already_there: how many files.
    sent_bytes: of the files that were sent.
    """

    destination: str
    sent: int
    already_there: int
    sent_bytes: int


def upload(folder: Path, bucket: Bucket, progress: Callable[[int, int], object]) -> Uploaded:
    """
    Send every regular file of a folder that is not hidden, as `<prefix>/<folder>/<file>`.

    Where it fails or is interrupted, what is there stays, and the next upload sends the rest.
    progress: told by the calling thread at first and after each file: bytes done, of how many.

    Raises S3Failed, OSError.
    """
    destination = bucket.url(folder.name)
    files = _files(folder)
    if marked(folder) == destination:
        return Uploaded(destination, 0, len(files), 0)
    sent = _send(files, bucket, progress)
    _mark(folder, destination)
    return Uploaded(destination, len(sent), len(files) - len(sent), sum(sent))


def marked(folder: Path) -> str | None:
    """Where all files of a folder are, as it says itself. Raises OSError."""
    try:
        return (folder / MARKER).read_text(encoding="utf-8").rstrip("\n")
    except FileNotFoundError:
        return None


def _files(folder: Path) -> dict[Path, int]:
    """The files to send and their sizes, largest first: the last ones then end together."""
    with os.scandir(folder) as entries:
        found = {
            folder / entry.name: entry.stat(follow_symlinks=False).st_size
            for entry in entries
            if entry.is_file(follow_symlinks=False) and not entry.name.startswith(".")
        }
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _send(
    files: dict[Path, int], bucket: Bucket, progress: Callable[[int, int], object]
) -> list[int]:
    """Send what is missing, some at a time; the sizes of what was sent."""
    total = sum(files.values())
    done = 0
    progress(done, total)
    sent = []
    stop = threading.Event()
    with ThreadPoolExecutor(THREADS) as pool:
        try:
            tasks = {pool.submit(_send_one, file, bucket, stop): file for file in files}
            for task in as_completed(tasks):
                size = files[tasks[task]]
                if task.result():
                    sent.append(size)
                done += size
                progress(done, total)
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return sent


def _send_one(file: Path, bucket: Bucket, stop: threading.Event) -> bool:
    """Send a file unless it is there; whether it was sent."""
    name = f"{file.parent.name}/{file.name}"
    if bucket.has(file, name, stop):
        return False
    bucket.send(file, name, stop)
    return True


def _mark(folder: Path, destination: str) -> None:
    """Note durably that all is there."""
    unfinished = part_of(folder / MARKER)  # another run may be at it too
    with unfinished.open("w", encoding="utf-8") as file:
        file.write(f"{destination}\n")
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(folder / MARKER)
    sync_folder(folder)
