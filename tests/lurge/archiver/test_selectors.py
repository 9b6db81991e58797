"""Selectors propose what is there, with all of its names, and tell why all else is left out."""

import io
import os
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers import nights

from db import candidates as candidate_rows
from db import pages
from db import vaults as vault_rows
from db.database import Database
from lurge.archiver.selectors.candidates import candidates
from lurge.archiver.selectors.paths import paths
from lurge.archiver.selectors.vault import vault
from lurge_types.archive import Missed, Proposal, Skipped
from lurge_types.candidates import Candidate
from lurge_types.scans import Volume
from lurge_types.vaults import VaultFile
from utils.paths import text
from utils.trees import order
from utils.vaults import Key, encode

Results = Iterable[Proposal | Skipped | Missed]
ODD = b"a caf\xe9\twith\nall \\ of it"


def proposed(results: Results) -> list[bytes]:
    return [each.root for each in results if isinstance(each, Proposal)]


def left_out(results: Results) -> dict[bytes, str]:
    return {each.root: each.reason for each in results if isinstance(each, Skipped)}


def folder(tmp_path: Path, *names: bytes) -> list[bytes]:
    made = [tmp_path / os.fsdecode(name) for name in names]
    for path in made:
        path.mkdir(parents=True)
    return list(map(bytes, made))


# A list of paths.


def listed(*lines: bytes, null: bool = False) -> list[Proposal | Skipped]:
    end = b"\0" if null else b"\n"
    return list(paths(io.BytesIO(end.join(lines) + end), null=null))


@pytest.mark.parametrize("null", [False, True])
def test_directories_of_a_list_are_proposed_in_its_order(tmp_path: Path, null: bool) -> None:
    there = folder(tmp_path, b"b", ODD, b"# no comment", b"a", b" ")
    lines = there if null else [text(path).encode() for path in there]
    assert proposed(listed(*lines, null=null)) == there


def test_what_is_no_directory_is_left_out_with_the_reason(tmp_path: Path) -> None:
    [there, _, outside] = folder(tmp_path, b"a", b"a/b", b"outside")
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "loop").symlink_to("loop")
    below = bytes(tmp_path) + b"/"
    reasons = {
        b"a/b": "is no absolute path",
        b"#": "is no absolute path",
        b" ": "is no absolute path",
        below + b"a/../a": "is no straight path: it has a . or .. in it",
        below + b"a/./b": "is no straight path: it has a . or .. in it",
        below + b"a//b": "is no straight path: it is / or has an empty component",
        b"/": "is no straight path: it is / or has an empty component",
        b"//": "is no straight path: it is / or has an empty component",
        below + b"gone": "absent",
        below + b"file/x": "absent",
        below + b"file": "is no directory",
        below + b"link": "is a symbolic link",
        below + b"loop/x": "absent",
        below + b"a" * 256: "cannot be looked at: File name too long",
        below + b"a/" * 3000: "is no path: it has a NUL, or is too long",
        below + b"a\r": "is not in the form in which Lurge shows paths",
        below + b"a\\": "is not in the form in which Lurge shows paths",
        below + b"\\x61": "is not in the form in which Lurge shows paths",
        below + b"caf\xe9": "is not in the form in which Lurge shows paths",
        below + b"a\\x00": "is no path: it has a NUL, or is too long",
    }
    assert [each.reason for each in listed(*reasons) if isinstance(each, Skipped)] == list(
        reasons.values()
    )
    assert proposed(listed(*reasons, there, outside)) == [there, outside]


def test_a_directory_is_named_once_by_whatever_path_leads_to_it(tmp_path: Path) -> None:
    [there] = folder(tmp_path, b"a/b")
    (tmp_path / "link").symlink_to("a")
    other = bytes(tmp_path) + b"/link/b"
    found = listed(other, b"", there, there + b"/")
    assert proposed(found) == [there]
    assert left_out(found) == {there: "is in the list above"}


def test_what_has_no_end_is_cut_and_no_path(tmp_path: Path) -> None:
    [there] = folder(tmp_path, b"a")
    found = listed(b"/" + b"x" * 200_000, there)
    assert proposed(found) == [there]
    assert [len(root) < 20_000 for root in left_out(found)] == [True]


@given(st.lists(st.binary(min_size=1, max_size=30)))
def test_each_item_of_any_list_is_told(items: list[bytes]) -> None:
    whole = [item.replace(b"\0", b"") for item in items]
    assert len(listed(*whole, null=True)) == len(list(filter(None, whole)))


# Candidates.


def store_candidates(database: Database, volume: Volume, rows: Sequence[Candidate]) -> None:
    run = nights.run(volume=volume, report="candidates")
    groups = {gid: nights.group(gid) for each in rows for gid in each.gids}
    filling = candidate_rows.begin(database, run, volume, len(rows), replace=True)
    filling.add(rows, groups)
    filling.finish()


def candidate(rank: int, root: bytes, kind: str | None = "now", *gids: int) -> Candidate:
    facts = (kind, "cold" if kind else "vault", "a", None, 9, 9, 1, Decimal(900))
    path = text(root)
    return Candidate(rank, *facts, path, path, None, gids or (1,))


def test_candidates_are_proposed_by_rank_of_the_classes_and_groups_that_are_wanted(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "PAGE_ROWS", 2)
    z, y, x, w, v = folder(tmp_path, b"z", ODD, b"x", b"w", b"v")
    gone = bytes(tmp_path) + b"/gone"
    rows = [
        candidate(1, z, "now", 1, 2),
        candidate(2, gone),
        candidate(3, y, "soon"),
        candidate(4, x, "watch", 3),
        candidate(5, w, None),
    ]
    other = Volume("scratch2", b"/lustre/scratch2")
    store_candidates(database, nights.VOLUME, rows)
    store_candidates(database, other, [candidate(1, v)])
    one, every = [nights.VOLUME.name], ("now", "soon", "watch")
    found = list(candidates(database, one, every))
    assert (proposed(found), left_out(found)) == ([z, y, x], {gone: "absent"})
    assert proposed(candidates(database, ["scratch2", "scratch1"], ["now"])) == [v, z]
    assert proposed(candidates(database, one, ["soon", "watch"])) == [y, x]
    assert proposed(candidates(database, one, every, ["team2", "team3"])) == [z, x]
    assert proposed(candidates(database, one, every, ["nobody"])) == []


def test_a_volume_without_candidates_is_told(database: Database) -> None:
    [missed] = candidates(database, ["scratch9"], ["now"])
    assert isinstance(missed, Missed)
    assert (missed.what, missed.is_failure) == ("scratch9", True)


# Vaults.


class Marked:
    """Files that are marked in vaults below a folder, as a night stores them."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.root = bytes(folder)
        self._folder = folder
        self._database = database
        self._rows: list[VaultFile] = []

    def path(self, name: bytes) -> Path:
        return self._folder / os.fsdecode(name)

    def file(self, name: bytes) -> Path:
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name)
        return path

    def mark(
        self, name: bytes, below: bytes = b"", branch: bytes = b"archive", at: bytes | None = None
    ) -> bytes:
        """Link a file below a vault's root into it; the link, below that root."""
        root = self.path(below)
        path = root / os.fsdecode(at or name)
        inode = path.lstat().st_ino
        link = b".vault/" + branch + b"/" + encode(Key(inode, name))
        to = root / os.fsdecode(link)
        to.parent.mkdir(parents=True, exist_ok=True)
        to.hardlink_to(path)
        action = "Keep" if branch.lower().endswith(b"keep") else "Archive"
        real = text(bytes(root) + b"/" + name)
        row = nights.vault_file(len(self._rows), inode=inode, action=action)
        self._rows.append(row._replace(real_path=real, shown=real))
        return link

    def found(self, most: int = 10_000) -> list[Proposal | Skipped]:
        """What the selector tells once a night has stored all this."""
        rows = sorted(self._rows, key=VaultFile.state)
        run = nights.run(report="puppeteer")
        filling = vault_rows.begin(self._database, run, nights.VOLUME, len(rows), replace=True)
        new = filling.changes(row.state() for row in rows)
        users = {uid: nights.user(uid) for uid in range(1, 41)}
        groups = {gid: nights.group(gid) for gid in range(1, 31)}
        filling.add([rows[place] for place in new], users, groups)
        filling.finish()
        return list(vault(self._database, [nights.VOLUME.name], most))


@pytest.fixture
def marked(tmp_path: Path, database: Database) -> Marked:
    (tmp_path / "vaults").mkdir()
    return Marked(tmp_path / "vaults", database)


def sorted_members(*names: bytes) -> tuple[bytes, ...]:
    return tuple(sorted(names, key=order))


def members(results: Results) -> dict[bytes, tuple[bytes, ...]]:
    return {each.root: each.members for each in results if isinstance(each, Proposal)}


@pytest.mark.parametrize("branch", [b"archive", b".Archive"])
@pytest.mark.parametrize("name", [b"f", b"d/e/f", ODD, b"long/" * 60 + b"name"])
def test_a_marked_file_goes_with_its_link_in_the_vault(
    marked: Marked, name: bytes, branch: bytes
) -> None:
    marked.file(name)
    link = marked.mark(name, branch=branch)
    [unit] = marked.found()
    assert unit == Proposal(marked.root, "files", sorted_members(name, link), text(marked.root))


def test_files_are_grouped_by_vault_in_units_that_are_bounded(marked: Marked) -> None:
    names = [b"p/%d" % number for number in range(5)]
    for name in [*names, b"q/x", b"p/in/y"]:
        marked.file(name)
    for name in names:
        marked.mark(name.removeprefix(b"p/"), b"p")
    marked.mark(b"x", b"q")
    marked.mark(b"y", b"p/in")
    units = [each for each in marked.found(most=2) if isinstance(each, Proposal)]
    below = [(each.root.removeprefix(marked.root), len(each.members) // 2) for each in units]
    assert below == [(b"/p", 2), (b"/p", 2), (b"/p", 1), (b"/p/in", 1), (b"/q", 1)]
    everything = [each.root + b"/" + name for each in units for name in each.members]
    assert len(set(everything)) == len(everything) == 14


def test_of_what_only_the_vault_has_the_link_goes_alone(marked: Marked) -> None:
    path = marked.file(b"f")
    link = marked.mark(b"f")
    path.unlink()
    assert members(marked.found()) == {marked.root: (link,)}


def test_all_links_of_a_file_that_is_marked_twice_go_once(marked: Marked) -> None:
    path = marked.file(b"f")
    first = marked.mark(b"f")
    path.rename(marked.path(b"renamed"))
    second = marked.mark(b"renamed")
    third = marked.mark(b"renamed by then", branch=b".archive", at=b"renamed")
    found = marked.found()
    assert members(found) == {marked.root: sorted_members(b"renamed", first, second, third)}
    assert left_out(found) == {}


def rename(marked: Marked) -> None:
    marked.path(b"f").rename(marked.path(b"g"))


def replace(marked: Marked) -> None:
    rename(marked)
    marked.file(b"f")


def replace_all(marked: Marked) -> None:
    """Not by a file that gets the inode that has just become free: the vault still has it."""
    marked.path(b"f").unlink()
    marked.file(b"f")


def link_elsewhere(marked: Marked) -> None:
    marked.path(b"g").hardlink_to(marked.path(b"f"))


def keep(marked: Marked) -> None:
    marked.mark(b"f", branch=b"keep")


def make_a_link_of_it(marked: Marked) -> None:
    rename(marked)
    marked.path(b"f").symlink_to("g")


def move_away(marked: Marked) -> None:
    marked.path(b".vault").rename(marked.path(b"vault"))


def stage(marked: Marked) -> None:
    marked.path(b".vault/archive").rename(marked.path(b".vault/.staged"))


def swap_in_a_link(marked: Marked) -> None:
    move_away(marked)
    marked.path(b".vault").symlink_to("vault")


UNKNOWN = "has {0} names, of which {1} are known: it is renamed, or has links elsewhere"


@pytest.mark.parametrize(
    ("happens", "reason"),
    [
        (rename, UNKNOWN.format(2, 1)),
        (replace, "another file is where it was when it was marked"),
        (replace_all, "another file is where it was when it was marked"),
        (make_a_link_of_it, "another file is where it was when it was marked"),
        (link_elsewhere, UNKNOWN.format(3, 2)),
        (keep, "is marked to be kept, too"),
    ],
)
def test_a_file_whose_names_are_not_all_known_is_left_out(
    marked: Marked, happens: Callable[[Marked], None], reason: str
) -> None:
    marked.file(b"f")
    marked.mark(b"f")
    marked.file(b"other")
    other = marked.mark(b"other")
    happens(marked)
    found = marked.found()
    assert left_out(found) == {marked.root + b"/f": reason}
    assert members(found) == {marked.root: sorted_members(b"other", other)}


@pytest.mark.parametrize("happens", [move_away, stage, swap_in_a_link])
def test_what_no_vault_has_any_more_is_left_out(
    marked: Marked, happens: Callable[[Marked], None]
) -> None:
    marked.file(b"f")
    marked.mark(b"f")
    happens(marked)
    found = marked.found()
    assert left_out(found) == {marked.root + b"/f": "no vault has it any more"}
    assert members(found) == {}


def test_files_whose_paths_begin_alike_are_told_once_over_several_pages(
    marked: Marked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vault_rows, "PAGE_ROWS", 2)
    names = [b"x" * 200 + b"/" + b"y" * 100 + b"%d" % number for number in range(7)]
    for name in names:
        marked.file(name)
        marked.mark(name)
    assert sum(len(each) for each in members(marked.found()).values()) == 14
