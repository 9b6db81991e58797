"""The filesystem of faults passes everything on, but for what a rule says."""

import ctypes
import errno
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import children
import pytest
from servers.faults import FaultFilesystem, FilesystemFailed, Rule, fault_filesystem

from utils import renaming

NAME = b"caf\xe9\n"

RUN = """
    import sys, time
    from pathlib import Path

    sys.path.insert(0, sys.argv[1])
    from servers.faults import fault_filesystem

    behind, root = Path(sys.argv[2]) / "behind", Path(sys.argv[2]) / "root"
    behind.mkdir()
    root.mkdir()
    with fault_filesystem(behind, root):
        (root / "there").touch()
        print("there", flush=True)
        time.sleep(60)
"""


def raised(act: Callable[[], object]) -> str:
    """The name of the errno that something ends in, or none."""
    try:
        act()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return ""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def opened(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY)


def test_whatever_is_done_is_done_behind(faulty: FaultFilesystem) -> None:
    folder = opened(faulty.root)
    os.mkdir(NAME, 0o750, dir_fd=folder)
    below = os.open(NAME, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
    os.close(os.open("file", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o640, dir_fd=below))
    os.link("file", "second", src_dir_fd=below, dst_dir_fd=below)
    os.symlink(b"nowhere\xff", "link", dir_fd=below)
    os.mkfifo("pipe", dir_fd=below)
    os.rename("second", "moved", src_dir_fd=below, dst_dir_fd=folder)
    os.fsync(below)
    behind = os.fsencode(faulty.behind)
    assert names(faulty.behind / os.fsdecode(NAME)) == ["file", "link", "pipe"]
    assert os.readlink("link", dir_fd=below) == "nowhere\udcff"
    seen = os.stat("file", dir_fd=below)
    there = os.lstat(behind + b"/moved")
    assert (seen.st_ino, seen.st_nlink, seen.st_mode) == (there.st_ino, 2, stat.S_IFREG | 0o640)
    assert raised(lambda: os.open("link", os.O_RDONLY | os.O_NOFOLLOW, dir_fd=below)) == "ELOOP"
    assert raised(lambda: os.rmdir(NAME, dir_fd=folder)) == "ENOTEMPTY"
    for name in ("file", "link", "pipe"):
        os.unlink(name, dir_fd=below)
    os.rmdir(NAME, dir_fd=folder)
    assert names(faulty.behind) == ["moved"]
    os.close(below)
    os.close(folder)


def test_status_is_that_of_what_lies_behind(faulty: FaultFilesystem) -> None:
    (faulty.root / "a").write_bytes(bytes(12345))
    with (faulty.root / "a").open("rb") as file:
        os.utime(file.fileno(), ns=(1_123_456_789, 2_987_654_321))
    os.chown(faulty.root / "a", 12, 34)
    (faulty.root / "a").chmod(0o604)
    os.truncate(faulty.root / "a", 12000)
    os.utime(faulty.root / "a", ns=(1_123_456_789, 2_987_654_321))
    seen, there = (folder.joinpath("a").lstat() for folder in (faulty.root, faulty.behind))
    for field in ("ino", "mode", "uid", "gid", "size", "nlink", "atime_ns", "mtime_ns", "ctime_ns"):
        assert getattr(seen, f"st_{field}") == getattr(there, f"st_{field}"), field
    assert (there.st_atime_ns, there.st_mtime_ns) == (1_123_456_789, 2_987_654_321)
    with os.scandir(faulty.root) as entries:
        assert [(each.name, each.inode()) for each in entries] == [("a", there.st_ino)]


def test_what_somebody_else_makes_is_theirs(faulty: FaultFilesystem) -> None:
    faulty.root.chmod(0o777)
    (faulty.root / "secret").touch(0o600)
    someone = ("setpriv", "--reuid=1234", "--regid=2345", "--clear-groups")
    script = "umask 027; : > a; mkdir b; ! cat secret"
    subprocess.run([*someone, "sh", "-c", script], cwd=faulty.root, check=True, capture_output=True)
    for name, mode in (("a", stat.S_IFREG | 0o640), ("b", stat.S_IFDIR | 0o750)):
        there = (faulty.behind / name).stat()
        assert (there.st_uid, there.st_gid, there.st_mode) == (1234, 2345, mode)


def test_extended_attributes_are_passed_on(faulty: FaultFilesystem) -> None:
    file = faulty.root / "a"
    file.touch()
    os.setxattr(file, "user.some", b"\x00\xff" * 100)
    os.setxattr(file, "user.none", b"")
    assert sorted(os.listxattr(faulty.behind / "a")) == sorted(os.listxattr(file))
    assert os.getxattr(file, "user.some") == b"\x00\xff" * 100
    assert raised(lambda: os.setxattr(file, "user.none", b"", os.XATTR_CREATE)) == "EEXIST"
    os.removexattr(file, "user.some")
    assert raised(lambda: os.getxattr(file, "user.some")) == "ENODATA"
    faulty.rules(Rule("setxattr", "/a", error="EPERM"))
    assert raised(lambda: os.setxattr(file, "user.some", b"")) == "EPERM"


def test_a_file_without_a_name_is_still_read_and_written(faulty: FaultFilesystem) -> None:
    (faulty.root / "a").write_bytes(b"before")
    with (faulty.root / "a").open("r+b", buffering=0) as file:
        (faulty.root / "a").unlink()
        assert names(faulty.behind) == []
        assert file.read() == b"before"
        assert file.write(b"after") == 5


def test_renaming_without_replacing_is_unknown_to_it(faulty: FaultFilesystem) -> None:
    for name in "ab":
        (faulty.root / name).write_text(name)
    libc = ctypes.CDLL(None, use_errno=True)
    folder = opened(faulty.root)
    assert libc.renameat2(folder, b"a", folder, b"c", renaming.NOREPLACE) == -1
    assert ctypes.get_errno() == errno.EINVAL
    renaming.rename_new(b"a", b"c", from_=folder, to=folder)
    with pytest.raises(FileExistsError):
        renaming.rename_new(b"c", b"b", from_=folder, to=folder)
    os.close(folder)
    assert {path.name: path.read_text() for path in faulty.behind.iterdir()} == {"b": "b", "c": "a"}


def synced(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


ACTS: dict[str, Callable[[Path], object]] = {
    "getattr": lambda root: (root / "file").stat(),
    "open": lambda root: (root / "file").open("rb").close(),
    "create": lambda root: (root / "new").touch(),
    "read": lambda root: (root / "file").read_bytes(),
    "write": lambda root: (root / "file").write_bytes(b"x"),
    "truncate": lambda root: os.truncate(root / "file", 0),
    "flush": lambda root: os.close(os.open(root / "file", os.O_RDONLY)),
    "fsync": lambda root: synced(root / "file"),
    "fsyncdir": synced,
    "opendir": names,
    "readdir": names,
    "mkdir": lambda root: (root / "new").mkdir(),
    "rmdir": lambda root: (root / "empty").rmdir(),
    "unlink": lambda root: (root / "file").unlink(),
    "rename": lambda root: (root / "file").rename(root / "new"),
    "link": lambda root: (root / "new").hardlink_to(root / "file"),
    "symlink": lambda root: (root / "new").symlink_to("file"),
    "readlink": lambda root: (root / "link").readlink(),
    "mknod": lambda root: os.mkfifo(root / "new"),
    "chmod": lambda root: (root / "file").chmod(0o600),
    "chown": lambda root: os.chown(root / "file", 1, 1),
    "utimens": lambda root: os.utime(root / "file"),
    "statfs": os.statvfs,
    "getxattr": lambda root: os.getxattr(root / "file", "user.a"),
    "setxattr": lambda root: os.setxattr(root / "file", "user.b", b""),
    "listxattr": lambda root: os.listxattr(root / "file"),
    "removexattr": lambda root: os.removexattr(root / "file", "user.a"),
}


@pytest.mark.parametrize("operation", ACTS)
def test_everything_can_fail_as_often_as_it_is_said(
    faulty: FaultFilesystem, operation: str
) -> None:
    (faulty.root / "empty").mkdir()
    (faulty.root / "file").write_text("x")
    (faulty.root / "link").symlink_to("file")
    os.setxattr(faulty.root / "file", "user.a", b"a")
    faulty.rules(Rule(operation, error="EDQUOT", times=1))
    assert raised(lambda: ACTS[operation](faulty.root)) == "EDQUOT"
    assert faulty.hits() == [1]
    assert raised(lambda: ACTS[operation](faulty.root)) == ""


def test_only_that_path_and_only_after_so_many(faulty: FaultFilesystem) -> None:
    faulty.rules(Rule("create", "/a*/*", error="ENOSPC", skip=1, times=2))
    for folder in "ab":
        (faulty.root / folder).mkdir()
    names = [f"{folder}/{number}" for folder in "ab" for number in range(4)]
    failed = {name: raised((faulty.root / name).touch) for name in names}
    assert {name for name, error in failed.items() if error == "ENOSPC"} == {"a/1", "a/2"}


def test_bytes_before_a_bad_one_are_read_and_written(faulty: FaultFilesystem) -> None:
    whole = os.urandom(300_000)
    (faulty.behind / "a").write_bytes(whole)
    faulty.rules(
        Rule("read", error="EIO", from_byte=150_001), Rule("write", error="ENOSPC", from_byte=7)
    )
    handle = os.open(faulty.root / "a", os.O_RDONLY)
    got = b"".join(iter(lambda: os.read(handle, min(4096, 150_001 - os.lseek(handle, 0, 1))), b""))
    assert got == whole[:150_001]
    assert raised(lambda: os.read(handle, 1)) == "EIO"
    os.close(handle)
    handle = os.open(faulty.root / "b", os.O_WRONLY | os.O_CREAT)
    assert os.write(handle, b"0123456789") == 7
    assert raised(lambda: os.write(handle, b"789")) == "ENOSPC"
    os.close(handle)
    assert (faulty.behind / "b").read_bytes() == b"0123456"


def test_a_flipped_byte_is_not_told(faulty: FaultFilesystem) -> None:
    (faulty.behind / "a").write_bytes(b"\x00" * 10)
    faulty.rules(Rule("read", "/a", from_byte=3, flips=True, times=1))
    assert (faulty.root / "a").read_bytes() == b"\x00\x00\x00\xff" + b"\x00" * 6
    assert (faulty.root / "a").read_bytes() == b"\x00" * 10


def test_every_reading_of_every_byte_is_counted(faulty: FaultFilesystem) -> None:
    (faulty.behind / "a").write_bytes(bytes(300_000))
    (faulty.behind / "b").write_bytes(bytes(5))
    for name in "aab":
        (faulty.root / name).read_bytes()
    assert [faulty.read_bytes(path) for path in ("/a", "/b", "*")] == [600_000, 5, 600_005]
    assert [faulty.calls("open", path) for path in ("/a", "*")] == [2, 3]
    faulty.forget()
    assert faulty.read_bytes() == faulty.calls("open") == 0


def test_a_full_filesystem_gets_room_again(faulty: FaultFilesystem) -> None:
    faulty.free(3 * 4096)
    assert os.statvfs(faulty.root).f_bavail * os.statvfs(faulty.root).f_frsize == 3 * 4096
    with (faulty.root / "a").open("wb", buffering=0) as file:
        assert file.write(bytes(20_000)) == 3 * 4096
        assert raised(lambda: file.write(b"x")) == "ENOSPC"
        assert os.statvfs(faulty.root).f_bfree == 0
        faulty.free(None)
        assert file.write(bytes(20_000)) == 20_000
    assert os.statvfs(faulty.root).f_bfree > 3


def test_while_one_call_is_held_others_go_on(faulty: FaultFilesystem) -> None:
    for name in "ab":
        (faulty.behind / name).write_bytes(bytes(10))
    faulty.rules(Rule("read", "/a", holds=True, error="ETIMEDOUT"))
    ended: list[str] = []
    reader = threading.Thread(
        target=lambda: ended.append(raised((faulty.root / "a").read_bytes)), daemon=True
    )
    reader.start()
    faulty.wait_held()
    assert (faulty.root / "b").read_bytes() == bytes(10)
    assert not ended
    faulty.rules()
    reader.join()
    assert ended == ["ETIMEDOUT"]


def test_what_is_slow_takes_as_long_as_it_is_said(faulty: FaultFilesystem) -> None:
    (faulty.behind / "a").touch()
    faulty.rules(Rule("open", delay_seconds=0.05))
    start = time.monotonic()
    (faulty.root / "a").read_bytes()
    assert time.monotonic() - start >= 0.05


def test_what_is_still_held_at_the_end_fails(tmp_path: Path) -> None:
    for name in ("behind", "root"):
        (tmp_path / name).mkdir()
    (tmp_path / "behind" / "a").touch()
    with fault_filesystem(tmp_path / "behind", tmp_path / "root") as filesystem:
        filesystem.rules(Rule("open", holds=True))
        command = children.command("import sys; open(sys.argv[1])", filesystem.root / "a")
        reader = subprocess.Popen(command, stderr=subprocess.PIPE)
        filesystem.wait_held()
    assert b"ConnectionAbortedError" in reader.communicate()[1]
    assert names(tmp_path / "root") == []


def test_a_dead_filesystem_is_not_connected(faulty: FaultFilesystem) -> None:
    faulty.kill()
    assert raised(lambda: names(faulty.root)) == "ENOTCONN"
    with pytest.raises(FilesystemFailed):
        faulty.rules()


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_mounted_however_the_tests_end(tmp_path: Path, ending: signal.Signals) -> None:
    tests = Path(__file__).parent.parent
    with subprocess.Popen(
        children.command(RUN, tests, tmp_path), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"there\n"
        assert os.path.ismount(tmp_path / "root")
        process.send_signal(ending)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and bytes(tmp_path) in Path("/proc/mounts").read_bytes():
        time.sleep(0.02)
    assert names(tmp_path / "root") == []
    assert names(tmp_path / "behind") == ["there"]


def test_what_cannot_be_mounted_is_told(tmp_path: Path) -> None:
    with (
        pytest.raises(FilesystemFailed, match="absent"),
        fault_filesystem(tmp_path, tmp_path / "absent"),
    ):
        pass
    assert sys.modules.get("mfusepy") is None  # it would load libfuse into the tests
