"""Small disks are full when they should be, and gone afterwards."""

import errno
import os
import signal
import subprocess
import time
from pathlib import Path

import children
import pytest
from servers.disks import quota_disk, small_disk

RUN = """
    import sys, time
    from pathlib import Path

    sys.path.insert(0, sys.argv[1])
    from servers.disks import small_disk

    with small_disk(Path(sys.argv[2]), 1 << 16) as folder:
        (folder / "there").touch()
        print("there", flush=True)
        time.sleep(60)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fill(file: Path, count: int) -> None:
    """Write some MiB, each durable before the next."""
    with file.open("wb", buffering=0) as opened:
        for _ in range(count):
            opened.write(os.urandom(1 << 20))
            os.fsync(opened.fileno())


def mounted() -> bytes:
    return Path("/proc/mounts").read_bytes()


def test_a_small_disk_has_so_many_bytes(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", 1 << 16) as folder:
        (folder / "a").write_bytes(bytes(1 << 16))
        with pytest.raises(OSError, match="No space left") as caught:
            (folder / "b").write_bytes(b"x")
        (folder / "a").unlink()
        (folder / "b").write_bytes(b"x")
    assert caught.value.errno == errno.ENOSPC
    assert names(tmp_path / "small") == []


def test_a_small_disk_has_so_many_inodes(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", 1 << 20, inodes=3) as folder:
        (folder / "a").touch()
        (folder / "b").touch()
        with pytest.raises(OSError, match="No space left"):
            (folder / "c").touch()


def test_beyond_a_quota_it_is_the_quota_that_refuses(tmp_path: Path) -> None:
    with quota_disk(tmp_path / "disk", 4 << 20) as limited:
        with pytest.raises(OSError, match="quota") as caught:
            fill(limited / "a", 8)
        assert caught.value.errno == errno.EDQUOT
        fill(limited.parent / "b", 8)
        with pytest.raises(OSError, match="cross-device") as caught:
            (limited / "a").rename(limited.parent / "a")
        assert caught.value.errno == errno.EXDEV
    assert bytes(tmp_path) not in mounted()
    assert names(tmp_path) == ["disk"]


def test_who_still_uses_a_disk_keeps_nobody_from_unmounting(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", 1 << 16) as folder:
        file = (folder / "a").open("wb")
    with file:
        assert bytes(tmp_path) not in mounted()
        file.write(b"x")


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_mounted_however_the_tests_end(tmp_path: Path, ending: signal.Signals) -> None:
    tests, folder = Path(__file__).parent.parent, tmp_path / "small"
    with subprocess.Popen(
        children.command(RUN, tests, folder), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"there\n"
        assert bytes(folder) in mounted()
        process.send_signal(ending)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and bytes(folder) in mounted():
        time.sleep(0.02)
    assert names(folder) == []
