"""
What is made again from a manifest is what there was; nothing is replaced, nothing untold.

Other people's rsync compares. What needs fewer rights than root's happens in a process of its own.
"""

import gzip
import hashlib
import os
import stat
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import oddities
import pytest

from lurge_types.archive import Entry, Fingerprint, Header, Segment
from utils import manifests
from utils.differences import differences
from utils.handles import Opener, PathRefused, open_root
from utils.remaking import ContentWrong, Maker, NameTaken, PartnerGone, Remaking
from utils.trees import entries, order

AS_ROOT = os.geteuid() == 0
WITHOUT_RIGHTS = ["setpriv", "--bounding-set=-all"] if AS_ROOT else []
RESTORE = Path(__file__).parent.parent.parent / "docs" / "restore.py"
HEADER = Header("unit", "directory", "s1", b"/s1/unit", datetime(2026, 1, 2, tzinfo=UTC))
PRINT = Fingerprint(1, 2, "f", 5, 10**18 + 7, 4)
FILE = Entry(b"file", PRINT, 0o640, os.geteuid(), os.getegid(), -3)
FOLDER = replace(FILE, path=b"in", fingerprint=PRINT._replace(kind="d"), mode=0o750)
SHA256 = hashlib.sha256(b"hello").hexdigest()
READ = 100_000
"""Bytes of a file at a time: neither segments nor holes end where they do."""


@contextmanager
def opened(path: Path) -> Iterator[int]:
    handle = open_root(os.fsencode(path))
    try:
        yield handle
    finally:
        os.close(handle)


@dataclass
class Site:
    """A folder to make entries in, and what is told meanwhile."""

    folder: Path
    told: list[tuple[bytes, str]] = field(default_factory=list)

    @property
    def names(self) -> set[str]:
        return {str(path.relative_to(self.folder)) for path in self.folder.rglob("*")}

    def make(self, *entries: Entry, content: Iterable[bytes] = (b"hello",), **how: Any) -> None:
        def tell(path: bytes, what: str) -> None:
            self.told.append((path, what))

        with opened(self.folder) as root, Remaking(root, tell, **how) as remaking:
            for entry in entries:
                remaking.make(entry, content if entry.has_bytes else ())


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "site").mkdir()
    return Site(tmp_path / "site")


def test_what_others_had_begun_to_make_of_a_unit_is_removed_where_more_of_it_is_made(
    site: Site,
) -> None:
    unit, other = "0123456789ab-000001", "0123456789ab-000002"
    digits = "0123456789abcdef"
    for folder in ("", "in/", "beside/"):
        (site.folder / folder).mkdir(exist_ok=True)
        for left in (f"{unit}.6.{digits}", f"{unit}.10.{digits}"):
            (site.folder / f"{folder}.lurge-{left}.part").write_bytes(b"h")
        (site.folder / f"{folder}.lurge-{unit}.5.{digits}.part").symlink_to("nowhere")
    stays = {
        f".lurge-{unit}.7.{digits}.part",
        f".lurge-{other}.6.{digits}.part",
        f".lurge-{unit}.6.{digits}.part.bam",
        f".lurge-{digits}.part",
        ".lurge-word-1",
    }
    for name in stays:
        (site.folder / "in" / name).touch()
    (site.folder / "in" / f".lurge-{unit}.1.{digits}.part").mkdir()
    inner = replace(FILE, path=b"in/file")
    site.make(inner, replace(inner, path=b"in/other"), maker=Maker(unit, 7))
    there = {f".lurge-{unit}.1.{digits}.part", f".lurge-{unit}.10.{digits}.part", *stays}
    assert {path.name for path in (site.folder / "in").iterdir()} == {"file", "other", *there}
    assert len([*(site.folder / "beside").iterdir()]) == 3


@dataclass
class Archive:
    """A tree of oddities with its manifest, and the bytes of its files under a key of each."""

    source: Path
    manifest: Path
    objects: Path

    def write(self) -> None:
        with opened(self.source) as root, Opener(root) as opener:
            manifests.write(self.manifest, HEADER, self._entries(root, opener))

    def _entries(self, root: int, opener: Opener) -> Iterator[Entry]:
        for number, entry in enumerate(entries(root)):
            yield self._stored(entry, number, opener) if entry.has_bytes else entry

    def _stored(self, entry: Entry, number: int, opener: Opener) -> Entry:
        """Every third behind other bytes, as in a pack; of two segments."""
        content = b"".join(chunks(opener, entry))
        half = len(content) // 2
        parts = (content[:half], content[half:]) if half else (content,)
        offset = 1000 if number % 3 == 0 else 0
        key = f"data/{number % 7}/{number}"
        (self.objects / key).parent.mkdir(parents=True, exist_ok=True)
        (self.objects / key).write_bytes(bytes(offset) + content + b"more")
        segments = tuple(
            Segment(len(part), hashlib.sha256(part).hexdigest(), None) for part in parts
        )
        return replace(entry, segments=segments, key=key, offset=offset)

    def read(self) -> Iterator[Entry]:
        with self.manifest.open("rb") as file:
            yield from manifests.read(file)[1]


def chunks(opener: Opener, entry: Entry) -> Iterator[bytes]:
    handle = opener.open(entry.path)
    try:
        while chunk := os.read(handle, READ):
            yield chunk
    finally:
        os.close(handle)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    folder = tmp_path_factory.mktemp("archive")
    archive = Archive(folder / "source", folder / "manifest.gz", folder / "objects")
    oddities.make(archive.source, 2000)
    archive.write()
    yield archive
    for tree in folder.iterdir():
        oddities.remove(tree)


def is_the_same(archive: Archive, copy: Path) -> None:
    with opened(copy) as root:
        assert read_last(entries(root)) == read_last(archive.read())
    compare = ["rsync", "-aHAXnc", "--itemize-changes", "--delete", "--8-bit-output"]
    done = subprocess.run(
        [*compare, f"{archive.source}/", f"{copy}/"], check=True, capture_output=True
    )
    assert done.stdout.splitlines() == []
    with opened(archive.source) as one, opened(copy) as other:
        made = (replace(entry, extents=None) for entry in entries(other))
        facts: set[str] = set()
        for difference in differences(entries(one), made):
            assert difference.kind == "different"
            facts.update(difference.facts)
    # What a directory or a link takes is its filesystem's matter.
    assert facts <= {"inode", "ctime_ns", "size"}


def read_last(entries: Iterable[Entry]) -> dict[bytes, int]:
    """When; not of links, whose times change as they are looked at."""
    return {e.path: e.atime_ns for e in entries if e.fingerprint.kind != "l"}


def test_a_tree_of_oddities_is_made_again(archive: Archive, site: Site) -> None:
    with opened(archive.source) as root, Opener(root) as opener:
        with opened(site.folder) as into:
            told: list[bytes] = []
            with Remaking(into, lambda path, _: told.append(path)) as remaking:
                for entry in archive.read():
                    remaking.make(entry, chunks(opener, entry) if entry.has_bytes else ())
        assert told == []
    is_the_same(archive, site.folder)
    is_as_sparse(archive, site.folder)
    oddities.remove(site.folder)


def is_as_sparse(archive: Archive, copy: Path) -> None:
    with opened(copy) as root:
        made = {entry.path: entry.extents for entry in entries(root)}
    sparse = {e.path: e.extents for e in archive.read() if e.extents is not None and e.has_bytes}
    assert len(sparse) > 50
    assert {path: made[path] for path in sparse} == sparse


def restore(*arguments: Path, under: Iterable[str] = ()) -> subprocess.CompletedProcess[bytes]:
    command = [*under, sys.executable, "-I", str(RESTORE), *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True)


def test_the_program_that_stands_alone_makes_the_same(archive: Archive, tmp_path: Path) -> None:
    os.setxattr(tmp_path, "system.posix_acl_default", oddities.acl(7))  # which must not be kept
    done = restore(archive.manifest, archive.objects, tmp_path / "copy")
    assert (done.returncode, done.stderr) == (0, b"")
    is_the_same(archive, tmp_path / "copy")
    was, made = (blocks_of_sparse(archive, root) for root in (archive.source, tmp_path / "copy"))
    assert made < 1.1 * was  # a block of zeros may lie across two of the filesystem's
    oddities.remove(tmp_path / "copy")


def blocks_of_sparse(archive: Archive, root: Path) -> int:
    sparse = (e.path for e in archive.read() if e.extents is not None and e.has_bytes)
    return sum((root / os.fsdecode(path)).stat().st_blocks for path in sparse)


def test_the_program_that_stands_alone_is_short() -> None:
    assert len(RESTORE.read_text(encoding="utf-8").splitlines()) < 100


def test_the_program_that_stands_alone_says_what_it_wants(tmp_path: Path) -> None:
    manifest, objects, there = (tmp_path / name for name in ("m.gz", "objects", "there"))
    there.mkdir()
    manifests.write(manifest, HEADER, [])
    told = {
        (): b"restore.py MANIFEST OBJECTS DESTINATION",
        (manifest,): b"DESTINATION: a new folder",
        (manifest, objects, there): b"there is there already: name a new folder",
        (objects, objects, tmp_path / "new"): b"objects cannot be read, or is damaged",
        (RESTORE, objects, tmp_path / "new"): b"restore.py cannot be read, or is damaged",
    }
    for arguments, words in told.items():
        done = restore(*arguments)
        assert (done.returncode, words in done.stderr) == (1, True), done.stderr
        assert b"Traceback" not in done.stderr
    assert not list(there.iterdir())
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("damage", ["cut short", "object", "no object"])
def test_the_program_that_stands_alone_makes_nothing_of_what_is_damaged(
    tmp_path: Path, damage: str
) -> None:
    manifest, objects, copy = tmp_path / "m.gz", tmp_path / "objects", tmp_path / "copy"
    objects.mkdir()
    (objects / "good").write_bytes(b"hello")
    if damage != "no object":
        (objects / "key").write_bytes(b"jello" if damage == "object" else b"hello")
    one = replace(FILE, segments=(Segment(5, SHA256, None),), key="key")
    manifests.write(manifest, HEADER, [one, replace(one, path=b"other", key="good")])
    if damage == "cut short":
        manifest.write_bytes(manifest.read_bytes()[:-20])
    done = restore(manifest, objects, copy)
    assert done.returncode == 1
    assert done.stderr
    made = sorted(path.name for path in copy.iterdir()) if copy.exists() else []
    assert made == ([] if damage == "cut short" else ["other"])


def test_the_program_that_stands_alone_writes_nowhere_else(tmp_path: Path) -> None:
    """Through a link of the manifest's own, and below a folder that is there."""
    manifest, objects = tmp_path / "m.gz", tmp_path / "objects"
    objects.mkdir()
    (tmp_path / "outside").mkdir()
    link = replace(
        FILE,
        path=b"a",
        fingerprint=PRINT._replace(kind="l"),
        link=os.fsencode(tmp_path / "outside"),
    )
    through = replace(FILE, path=b"a/file", fingerprint=PRINT._replace(size=0))
    manifests.write(manifest, HEADER, [link, through])
    done = restore(manifest, objects, tmp_path / "copy")
    assert done.returncode == 1
    assert b"a/file: " in done.stderr
    assert list((tmp_path / "outside").iterdir()) == []
    assert restore(manifest, objects, tmp_path / "outside").returncode == 1
    assert list((tmp_path / "outside").iterdir()) == []


def test_the_program_that_stands_alone_gives_other_names_their_file(tmp_path: Path) -> None:
    """Also below other folders, however deep, and if the first is not there."""
    manifest, objects, copy = tmp_path / "m.gz", tmp_path / "objects", tmp_path / "copy"
    objects.mkdir()
    (objects / "key").write_bytes(b"hello")
    first = replace(FILE, links=2, segments=(Segment(5, SHA256, None),), key="key")
    deep = b"/".join([b"n" * 200] * 50) + b"/"
    others = [replace(FILE, path=deep + b"other", links=2, same_as=deep + b"first")]
    others += [replace(FILE, path=b"z", links=2, same_as=b"gone")]
    them = [replace(first, path=deep + b"first"), *others]
    manifests.write(manifest, HEADER, sorted(them, key=lambda entry: order(entry.path)))
    done = restore(manifest, objects, copy)
    assert (done.returncode, done.stderr[:3]) == (1, b"z: ")
    with opened(copy) as root:
        made = {entry.path: entry.same_as for entry in entries(root)}
    assert made[deep + b"other"] == deep + b"first"
    oddities.remove(copy)


def test_the_program_that_stands_alone_takes_any_names_but_ways_out(tmp_path: Path) -> None:
    """A manifest of somebody's making, which Lurge itself would not read."""
    lines = manifests.format_header(HEADER), manifests.format_entry(replace(FILE, path=b"XX/file"))
    hostile = b"\n".join([*lines, manifests.format_end(1)]).replace(b"XX", b"..")
    (tmp_path / "m.gz").write_bytes(gzip.compress(hostile))
    done = restore(tmp_path / "m.gz", tmp_path, tmp_path / "in" / "copy")
    assert b"would leave its folder" in done.stderr
    assert not (tmp_path / "in" / "file").exists()


def test_a_file_has_its_bytes_and_facts(site: Site) -> None:
    site.make(replace(FILE, segments=(Segment(5, SHA256, None),)))
    found = (site.folder / "file").stat()
    assert (site.folder / "file").read_bytes() == b"hello"
    assert (found.st_mtime_ns, found.st_mode & 0o7777) == (10**18 + 7, 0o640)
    assert site.told == []


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ([b"hell"], "has 4 bytes, not 5"),
        ([b"hello", b"!"], "more than 5 bytes|SHA-256"),
        ([b"jel", b"lo"], "SHA-256"),
        ([], "has 0 bytes"),
    ],
)
def test_wrong_bytes_leave_nothing(site: Site, content: list[bytes], why: str) -> None:
    with pytest.raises(ContentWrong, match=why):
        site.make(replace(FILE, segments=(Segment(5, SHA256, None),)), content=content)
    assert site.names == set()


@pytest.mark.parametrize("cut", [1, 2, 3, 5])
def test_each_segment_is_compared(site: Site, cut: int) -> None:
    first, second = (
        Segment(len(part), hashlib.sha256(part).hexdigest(), None) for part in (b"he", b"llo")
    )
    content = [b"hello"[at : at + cut] for at in range(0, 5, cut)]
    site.make(replace(FILE, segments=(first, second)), content=content)
    with pytest.raises(ContentWrong, match="SHA-256"):
        site.make(
            replace(FILE, path=b"other", segments=(first, replace_sha(second))), content=content
        )
    assert site.names == {"file"}


def replace_sha(segment: Segment) -> Segment:
    return segment._replace(sha256="ab" * 32)


def test_what_is_no_zero_in_a_hole_is_written(site: Site) -> None:
    size = 3 << 20
    content = b"x" * 4096 + bytes(size - 4100) + b"tail"
    entry = replace(FILE, fingerprint=PRINT._replace(size=size), extents=((0, 4096),))
    site.make(entry, content=[content[at : at + READ] for at in range(0, size, READ)])
    made = site.folder / "file"
    assert made.read_bytes() == content
    assert made.stat().st_blocks * 512 < 2 * READ + 8192


def other_kinds() -> Iterator[Entry]:
    yield replace(FILE, path=b"x")
    yield replace(FILE, path=b"x", fingerprint=PRINT._replace(kind="l"), link=b"to")
    yield replace(FILE, path=b"x", fingerprint=PRINT._replace(kind="F"))


@pytest.mark.parametrize("entry", [*other_kinds()], ids=lambda entry: entry.fingerprint.kind)
@pytest.mark.parametrize("there", ["file", "link", "directory"])
def test_nothing_is_replaced_unless_it_is_told_so(site: Site, entry: Entry, there: str) -> None:
    x = site.folder / "x"
    match there:
        case "file":
            x.write_bytes(b"precious")
        case "link":
            x.symlink_to("file")
        case "directory":
            (x / "in").mkdir(parents=True)
    before = x.lstat()
    with pytest.raises(NameTaken, match="x is there already"):
        site.make(entry)
    assert x.lstat() == before
    if there == "directory":
        with pytest.raises(NameTaken, match="move it away"):
            site.make(entry, overwrite=True)
        assert x.lstat() == before
    else:
        site.make(entry, overwrite=True)
        assert x.lstat().st_ino != before.st_ino
    assert site.names <= {"x", "x/in"}


def test_a_link_where_a_directory_is_to_be_is_not_followed(site: Site, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (site.folder / "in").symlink_to(tmp_path / "outside")
    below = replace(FILE, path=b"in/file")
    for overwrite in (False, True):
        with pytest.raises(NameTaken):
            site.make(FOLDER, below, overwrite=overwrite)
        with pytest.raises(PathRefused, match="in is a link"):
            site.make(below, overwrite=overwrite)
    assert list((tmp_path / "outside").iterdir()) == []


def test_directories_get_their_times_when_all_in_them_is_made(site: Site) -> None:
    below = [replace(FILE, path=path) for path in (b"in/a", b"in/b", b"in/deep/c")]
    deep = replace(FOLDER, path=b"in/deep", mode=0o555)
    root = replace(FOLDER, path=b"", mode=0o700)
    site.make(root, FOLDER, *below[:2], deep, below[2], replace(FILE, path=b"z"))
    for name in ("", "in", "in/deep"):
        assert (site.folder / name).stat().st_mtime_ns == FOLDER.fingerprint.mtime_ns
    assert (site.folder / "in" / "deep").stat().st_mode & 0o7777 == 0o555


def test_a_directory_that_is_there_is_left_as_it_is(site: Site) -> None:
    (site.folder / "in").mkdir(0o711)
    site.make(FOLDER, replace(FILE, path=b"in/file"))
    assert (site.folder / "in").stat().st_mode & 0o7777 == 0o711
    assert site.told == [(b"in", "is there already: mode, owner and times stay as they are")]
    site.make(FOLDER, overwrite=True)
    assert (site.folder / "in").stat().st_mode & 0o7777 == 0o750


def test_directories_that_no_entry_is_of_are_made_and_told(site: Site) -> None:
    site.make(replace(FILE, path=b"a/b/file"), replace(FILE, path=b"a/c"))
    assert site.names == {"a", "a/b", "a/b/file", "a/c"}
    assert [path for path, _ in site.told] == [b"a", b"a/b"]


def test_further_names_are_names_of_the_same_file(site: Site) -> None:
    other = replace(FILE, path=b"in/other", same_as=b"file")
    site.make(FILE, FOLDER, other)
    assert (site.folder / "file").samefile(site.folder / "in" / "other")
    site.make(other, overwrite=True)
    assert site.names == {"file", "in", "in/other"}
    with pytest.raises(NameTaken):
        site.make(other)


def test_a_further_name_of_something_else_is_refused(site: Site) -> None:
    other = replace(FILE, path=b"other", same_as=b"file")
    with pytest.raises(PartnerGone, match="not there"):
        site.make(other)
    (site.folder / "file").write_bytes(b"other")
    with pytest.raises(PartnerGone, match="something else"):
        site.make(other)


def test_a_socket_is_one_again(site: Site) -> None:
    site.make(replace(FILE, fingerprint=PRINT._replace(kind="s")))
    assert stat.S_ISSOCK((site.folder / "file").stat().st_mode)
    assert site.told == []


def test_what_comes_from_the_directory_above_is_not_kept(site: Site) -> None:
    os.setxattr(site.folder, "system.posix_acl_default", oddities.acl(7))
    site.make(FILE)
    assert os.listxattr(site.folder / "file") == []
    assert (site.folder / "file").stat().st_mode & 0o7777 == 0o640


def test_what_was_killed_half_way_has_no_name_of_its_own(site: Site) -> None:
    def breaks_off() -> Iterator[bytes]:
        yield b"he"
        assert {name[:7] for name in site.names} == {".lurge-"}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        site.make(FILE, content=breaks_off())
    assert site.names == set()


AS_ANOTHER = """
import os, sys
from dataclasses import replace
from lurge_types.archive import Entry, Fingerprint
from utils.handles import open_root
from utils.remaking import Remaking
root = open_root(os.fsencode(sys.argv[1]))
known = Fingerprint(1, 2, "f", 0, 3, 4)
with Remaking(root, lambda path, what: print(path.decode(), what)) as remaking:
    remaking.make(Entry(b"a", known._replace(kind="c"), 0o600, 0, 0, 0, rdev=259))
    remaking.make(Entry(b"b", known._replace(kind="c"), 0o600, 0, 0, 0, rdev=259, same_as=b"a"))
    remaking.make(Entry(b"c", known, 0o6755, 12345, 12345, 0))
    remaking.make(Entry(b"d", known, 0o400, os.getuid(), os.getgid(), 0,
        attributes=((b"security.odd", b"?"), (b"user.a", b"kept"))))
"""


def test_what_only_root_may_do_is_told(site: Site) -> None:
    command = [*WITHOUT_RIGHTS, sys.executable, "-c", AS_ANOTHER, str(site.folder)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "a is a device, which only root may make: left out",
        "b is the device a, too: left out",
        "c is not given to 12345:12345, which only root may do",
        "c has mode 0755, not 6755",
        "d cannot have security.odd: Operation not permitted",
    ]
    assert site.names == {"c", "d"}
    assert os.getxattr(site.folder / "d", "user.a") == b"kept"


def test_entries_are_made_at_any_depth_with_few_handles(tmp_path: Path, site: Site) -> None:
    name, levels = b"n" * 200, 200
    oddities.chain(tmp_path / "source", levels, name)
    with opened(tmp_path / "source") as source:
        site.make(*entries(source), content=())
        with opened(site.folder) as made:
            found = list(differences(entries(source), entries(made)))
            deepest = list(entries(made))[-1]
    assert {fact for each in found for fact in each.facts} <= {"inode", "ctime_ns"}
    assert deepest.path == b"/".join([name] * levels + [b"file"])
    oddities.remove(tmp_path / "source")
    oddities.remove(site.folder)


def test_oddities_are_the_same_for_one_seed(tmp_path: Path) -> None:
    for name in ("one", "other"):
        oddities.make(tmp_path / name, 200, seed=7)
    with opened(tmp_path / "one") as one, opened(tmp_path / "other") as other:
        facts = {fact for each in differences(entries(one), entries(other)) for fact in each.facts}
    assert facts <= {"inode", "ctime_ns", "size"}
