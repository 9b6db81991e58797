"""What the puppeteer finds in vaults."""

import pickle
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inspector_twin import best, components
from site_of_tests import entry, text

from lurge.puppeteer.rows import (
    At,
    Counts,
    Fault,
    Faults,
    Files,
    Largest,
    Owned,
    Owners,
    Put,
    States,
)
from lurge.puppeteer.tally import PIECE_BYTES, VaultTally
from lurge_types.batch import Block, Entry
from lurge_types.vaults import VaultFile
from utils import paths, vaults
from utils.vaults import Key, KeyBroken
from utils.wrstat import Parser

DAY = 86_400
SCAN_TIME = 20_000 * DAY + 5
ALL = 10**6
ACTIONS = ("Keep", "Archive")
LAYOUT = {b"/s/mdt*/projects": b"/s/projects"}


def show(tally: VaultTally, entries: Sequence[Entry], size: int = ALL) -> VaultTally:
    """Show entries to a tally, so many in a batch; each batch is void when the next one comes."""
    parser = Parser()
    for start in range(0, len(entries), size):
        some = entries[start : start + size]
        raw = np.frombuffer(bytearray(text(some)), np.uint8)
        batch, bad = parser.parse(Block(raw, len(raw), 1, len(some)))
        assert bad.count == 0
        tally.add(batch)
    return tally


def ask(tally: VaultTally, question: object) -> Any:
    return tally.tell(question)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Told:
    """All that a tally tells; files in the order they were put in, and in that of their states."""

    owned: Owned
    counts: Counts
    files: list[VaultFile]
    largest: list[VaultFile]
    states: list[bytes]
    by_state: list[VaultFile]


def all_told(tally: VaultTally, *, backwards: bool = False) -> Told:
    owned = ask(tally, Owners())
    step = -1 if backwards else 1
    counts = ask(tally, Put(owned.gids[::step], owned.uids[::step]))
    return Told(
        owned,
        counts,
        ask(tally, Files(0, counts.files)),
        ask(tally, Largest()),
        ask(tally, States(0, counts.files)),
        ask(tally, At(tuple(range(counts.files)))),
    )


def tally_of(
    *entries: Entry, actions: Sequence[str] = ACTIONS, symlinks: Mapping[bytes, bytes] = LAYOUT
) -> VaultTally:
    return show(VaultTally(SCAN_TIME, actions, symlinks), entries)


def found(*entries: Entry) -> list[VaultFile]:
    return all_told(tally_of(*entries)).files


def only(each: Entry) -> VaultFile:
    """The one file that is found."""
    (file,) = found(each)
    return file


def counts(*entries: Entry) -> Counts:
    return all_told(tally_of(*entries)).counts


def in_vault(
    path: str | bytes = "data/x",
    inode: int = 7,
    branch: str = "keep",
    root: str = "/a",
    **facts: Any,
) -> Entry:
    """An entry as it is in a vault."""
    name = path.encode() if isinstance(path, str) else path
    key = vaults.encode(Key(inode, name))
    return entry(f"{root}/.vault/{branch}/".encode() + key, **{"inode": inode, "links": 2, **facts})


# The plain rule.


@dataclass
class Twin:
    """What is found, one entry at a time: lists of components, objects, everything sorted."""

    actions: Sequence[str]
    symlinks: Mapping[bytes, bytes]
    files: list[VaultFile] = field(default_factory=list)
    broken: list[Fault] = field(default_factory=list)
    copied: list[Fault] = field(default_factory=list)
    others: Counter[bytes] = field(default_factory=Counter)

    def see(self, each: Entry) -> None:
        parts = each.path.split(b"/")
        if b".vault" not in parts[:-1] or each.type == "d":
            return
        at = parts.index(b".vault")
        branch = parts[at + 1]
        called = (branch[1:] if branch.startswith(b".") else branch).lower()
        action = [name for name in self.actions if name.lower().encode() == called]
        if action:
            self.mark(each, action[0], b"/".join(parts[:at]), b"/".join(parts[at + 2 :]))
        elif each.type == "f" and parts[at + 2 :]:
            self.others[branch] += 1

    def mark(self, each: Entry, action: str, root: bytes, name: bytes) -> None:
        shown = paths.text(each.path)
        if each.type != "f":
            self.broken.append(Fault(shown, "not a file"))
            return
        try:
            key = vaults.decode(name)
        except KeyBroken as error:
            self.broken.append(Fault(shown, str(error)))
            return
        if key.inode != each.inode:
            reason = f"the key is that of inode {key.inode}, the file is {each.inode}"
            self.copied.append(Fault(shown, reason))
            return
        self.files.append(self.file(each, action, root + b"/" + key.path))

    def file(self, each: Entry, action: str, real: bytes) -> VaultFile:
        known = 0 < each.mtime <= SCAN_TIME
        return VaultFile(
            action=action,
            real_path=paths.text(real),
            shown=paths.text(self.shown(real)),
            inode=each.inode,
            size_bytes=each.size,
            uid=each.uid,
            gid=each.gid,
            last_modified=datetime.fromtimestamp(each.mtime, UTC).date() if known else None,
            links=min(each.links, 2**63 - 1),
        )

    def shown(self, real: bytes) -> bytes:
        rule = best(list(self.symlinks), components(real))
        if rule is None:
            return real
        pattern, people = list(self.symlinks.items())[rule]
        return b"/".join([people.rstrip(b"/"), *real.split(b"/")[1 + len(components(pattern)) :]])

    def told(self, *, backwards: bool = False) -> Told:
        sign = -1 if backwards else 1
        files = sorted(
            self.files,
            key=lambda file: (
                file.action.encode(),
                sign * file.gid,
                sign * file.uid,
                file.shown.encode(),
                file.real_path.encode(),
                file.inode,
                file.size_bytes,
                file.links,
                file.last_modified or date.max,
            ),
        )
        by_state = sorted(files, key=VaultFile.state)
        return Told(
            Owned(
                tuple(sorted({file.gid for file in files})),
                tuple(sorted({file.uid for file in files})),
            ),
            Counts(
                len(files),
                Faults(len(self.broken), tuple(sorted(self.broken)[:5])),
                Faults(len(self.copied), tuple(sorted(self.copied)[:5])),
                tuple((paths.text(name), self.others[name]) for name in sorted(self.others)),
            ),
            files,
            sorted(files, key=lambda file: -file.size_bytes)[:10],
            [file.state() for file in by_state],
            by_state,
        )


def told(
    entries: Iterable[Entry],
    symlinks: Mapping[bytes, bytes] = LAYOUT,
    *,
    backwards: bool = False,
) -> Told:
    twin = Twin(ACTIONS, symlinks)
    for each in entries:
        twin.see(each)
    return twin.told(backwards=backwards)


any_name = st.binary(min_size=1, max_size=12).map(
    lambda name: name.replace(b"/", b"_").replace(b"\0", b"\n").replace(b".", b"\xff")
)
names = any_name | st.sampled_from([b"a", b"b", b"projects", b"users", b".vault", b"keep"])
long_names = st.integers(150, 255).map(lambda length: b"x" * length)
relative = st.one_of(
    st.lists(names, min_size=1, max_size=4).map(b"/".join),
    st.lists(long_names, min_size=1, max_size=5).map(b"/".join),
)
roots = st.lists(names, max_size=3) | st.builds(
    lambda number, below: [b"s", b"mdt%d" % number, b"projects", *below],
    st.integers(1, 3),
    st.lists(names, max_size=1),
)
branches = st.sampled_from(
    [b"keep", b"archive", b"Keep", b".ARCHIVE", b".keep", b".staged", b".limbo", b"..keep", b"\xff"]
)
inodes = st.integers(0, 3) | st.integers(1, 8).flatmap(lambda size: st.integers(0, 256**size - 1))
times = st.sampled_from([-1, 0, 1, DAY - 1, DAY, SCAN_TIME, SCAN_TIME + 1, 2**40]) | st.integers(
    0, SCAN_TIME
)


def cut_anywhere(key: bytes, places: Sequence[int]) -> bytes:
    """The same key, cut into other folders."""
    whole = key.replace(b"/", b"")
    bounds = sorted({place % len(whole) for place in places} - {0})
    parts = zip([0, *bounds], [*bounds, len(whole)], strict=True)
    return b"/".join(whole[start:end] for start, end in parts)


good_keys = st.builds(
    lambda inode, path, places: (
        cut_anywhere(vaults.encode(Key(inode, path)), places or [])
        if places is not None
        else vaults.encode(Key(inode, path))
    ),
    inodes,
    relative,
    st.none() | st.lists(st.integers(0, 2000), max_size=4),
)
bad_keys = st.sampled_from([b"", b"01", b"01-", b"-eA==", b"01-eA=", b"01-L2V0Yw==", b".log"])
keys = good_keys | good_keys | bad_keys | any_name


def placed(root: Sequence[bytes], branch: bytes, key: bytes, inode: int | None) -> Entry:
    path = b"/".join([b"", *root, b".vault", branch, *([key] if key else [])])
    if inode is None:  # the one that the key tells, if it tells any
        try:
            inode = vaults.decode(key).inode
        except KeyBroken:
            inode = 1
    return entry(path, inode=inode)


facts = st.fixed_dictionaries(
    {
        "size": st.integers(0, 3) | st.integers(0, 2**63 - 1),
        "uid": st.integers(0, 2) | st.just(2**32 - 1),
        "gid": st.integers(0, 2) | st.just(2**32 - 1),
        "mtime": times,
        "links": st.integers(0, 3) | st.just(2**64 - 1),
        "type": st.sampled_from("ffffffdls"),
    }
)
in_vaults = st.builds(placed, roots, branches, keys, st.none() | st.none() | inodes)
elsewhere = st.lists(names, min_size=1, max_size=4).map(
    lambda parts: entry(b"/" + b"/".join(parts))
)
one_entry = st.builds(
    lambda each, facts: each._replace(**facts), in_vaults | in_vaults | elsewhere, facts
)
all_entries = st.lists(one_entry, max_size=10) | st.lists(one_entry, min_size=20, max_size=50)
layouts = st.sampled_from([{}, LAYOUT, {b"/a": b"/b", b"/s/mdt*": b"/z/y", b"/s/mdt1/*": b"/"}])


@given(all_entries, layouts, st.booleans(), st.integers(1, 51))
@settings(max_examples=300)
def test_what_is_told_is_what_the_plain_rule_tells(
    entries: list[Entry], symlinks: dict[bytes, bytes], backwards: bool, batch_size: int
) -> None:
    tally = show(VaultTally(SCAN_TIME, ACTIONS, symlinks), entries, batch_size)
    expected = told(entries, symlinks, backwards=backwards)
    assert all_told(tally, backwards=backwards) == expected
    assert all_told(tally) == told(entries, symlinks)


@given(all_entries, st.integers(1, 6), st.randoms(use_true_random=False))
@settings(max_examples=150)
def test_parts_merged_in_any_order_are_the_whole(
    entries: list[Entry], parts: int, order: random.Random
) -> None:
    make = pickle.loads(pickle.dumps(partial(VaultTally, SCAN_TIME, ACTIONS, LAYOUT)))
    tallies = [make() for _ in range(parts)]
    for each in entries:
        show(order.choice(tallies), [each])
    while len(tallies) > 1:
        one, other = (tallies.pop(order.randrange(len(tallies))) for _ in range(2))
        sent = pickle.dumps(list(other.pieces()))
        one.merge(pickle.loads(sent))
        tallies.append(one)
    assert all_told(tallies[0]) == told(entries)


@given(all_entries, st.integers(0, 30), st.integers(1, 10))
@settings(max_examples=50)
def test_files_are_told_in_chunks_from_anywhere_as_all_at_once(
    entries: list[Entry], first: int, size: int
) -> None:
    tally = tally_of(*entries)
    expected = told(entries)
    owned = expected.owned
    ask(tally, Put(owned.gids, owned.uids))
    last = first + size
    assert ask(tally, Files(first, last)) == expected.files[first:last]
    assert ask(tally, States(first, last)) == expected.states[first:last]
    places = tuple(range(first, min(last, len(expected.files))))[::-1]
    assert ask(tally, At(places)) == [expected.by_state[place] for place in places]


def test_pieces_are_small_however_much_was_found() -> None:
    many = [in_vault("d" * 200 + f"/{i}", inode=i, size=i) for i in range(10_000)]
    one, other = tally_of(*many), tally_of()
    pieces = [pickle.dumps(piece) for piece in one.pieces()]
    assert len(pieces) > 2
    assert max(map(len, pieces)) < 1.1 * PIECE_BYTES
    other.merge(map(pickle.loads, pieces))
    assert all_told(other) == all_told(one) == told(many)


def test_nothing_shown_is_nothing_told() -> None:
    expected = Told(Owned((), ()), Counts(0, Faults(), Faults(), ()), [], [], [], [])
    assert all_told(tally_of()) == expected
    assert all_told(tally_of(entry("/a/keep/x"), entry("/a/.vault"))) == expected


# What a file in a vault says.


def test_a_file_is_told_with_all_that_its_entry_says() -> None:
    facts = {"inode": 2**64 - 1, "size": 5, "uid": 3, "gid": 4, "links": 2**64 - 1}
    marked = in_vault("data/\xff\n", branch="archive", root="/s/mdt7/projects/p", **facts)
    assert only(marked._replace(mtime=DAY * 365)) == VaultFile(
        action="Archive",
        real_path="/s/mdt7/projects/p/data/\xff\\n",
        shown="/s/projects/p/data/\xff\\n",
        inode=2**64 - 1,
        size_bytes=5,
        uid=3,
        gid=4,
        last_modified=date(1971, 1, 1),
        links=2**63 - 1,
    )


@pytest.mark.parametrize(
    ("mtime", "day"),
    [
        (1, date(1970, 1, 1)),
        (DAY - 1, date(1970, 1, 1)),
        (DAY, date(1970, 1, 2)),
        (SCAN_TIME, date(2024, 10, 4)),
        (SCAN_TIME + 1, None),
        (0, None),
        (-1, None),
        (2**62, None),
    ],
)
def test_a_day_is_told_of_times_that_can_be(mtime: int, day: date | None) -> None:
    assert only(in_vault(mtime=mtime)).last_modified == day


@pytest.mark.parametrize(
    ("branch", "action"),
    [("keep", "Keep"), ("KEEP", "Keep"), (".keep", "Keep"), (".Archive", "Archive")],
)
def test_an_action_is_called_like_its_branch_whatever_the_case(branch: str, action: str) -> None:
    assert only(in_vault(branch=branch)).action == action


def test_a_site_may_have_other_actions() -> None:
    tally = tally_of(in_vault(branch=".thaw"), in_vault(), actions=("Thaw",))
    assert [file.action for file in all_told(tally).files] == ["Thaw"]
    assert all_told(tally).counts.others == (("keep", 1),)


@pytest.mark.parametrize("root", ["", "/a", "/a/b c/d"])
def test_a_vault_may_be_anywhere(root: str) -> None:
    assert only(in_vault("x/y", root=root)).real_path == f"{root}/x/y"


def test_of_vaults_in_vaults_the_outermost_counts() -> None:
    nested = in_vault(root="/a/.vault/keep/b/.vault/archive")
    assert (
        counts(nested).broken.first[0].reason
        == "the inode is not one to eight bytes in hexadecimal"
    )
    nested = in_vault(root="/a/.vault/.stash")
    assert counts(nested).others == ((".stash", 1),)


def test_a_path_may_be_so_long_that_its_key_is_cut() -> None:
    path = "/".join(["d" * 250] * 5)
    assert only(in_vault(path)).real_path == f"/a/{path}"


# What says nothing of a file.


def test_broken_keys_are_counted_and_the_first_few_told_with_the_reason() -> None:
    broken = [entry(f"/{name}/.vault/keep/07") for name in "gfedcba"]
    told = counts(*broken, in_vault()).broken
    assert told.count == 7
    assert told.first == tuple(
        Fault(f"/{name}/.vault/keep/07", "no - behind the inode") for name in "abcde"
    )


def test_what_is_called_like_an_action_but_is_no_branch_says_nothing() -> None:
    assert [fault.reason for fault in counts(entry("/a/.vault/keep")).broken.first] == [
        "no - behind the inode"
    ]


@pytest.mark.parametrize("kind", "lsbFcX")
def test_what_is_neither_file_nor_directory_is_broken(kind: str) -> None:
    told = counts(in_vault(type=kind))
    assert (told.files, told.broken.count, told.broken.first[0].reason) == (0, 1, "not a file")


def test_directories_in_vaults_count_nowhere() -> None:
    assert counts(in_vault(type="d"), entry("/a/.vault/.stash/x", type="d")) == Counts(
        0, Faults(), Faults(), ()
    )


def test_a_key_of_another_inode_is_that_of_a_copy_and_nothing_else() -> None:
    copies = [in_vault(f"x{number}", inode=7)._replace(inode=8) for number in range(7)]
    told = counts(*copies)
    assert (told.files, told.broken, told.copied.count, len(told.copied.first)) == (
        0,
        Faults(),
        7,
        5,
    )
    assert told.copied.first[0] == Fault(
        "/a/.vault/keep/07-eDA=", "the key is that of inode 7, the file is 8"
    )


def test_files_of_other_branches_are_counted_by_name_but_not_those_of_the_vault_itself() -> None:
    others = [
        entry(path)
        for path in (
            b"/a/.vault/.staged/x",
            b"/b/.vault/.staged/y/z",
            b"/a/.vault/.audit",
            b"/a/.vault/\xff/x",
            b"/a/.vault/Z/x",
        )
    ]
    told = counts(*others, entry("/a/.vault/.staged/l", type="l"))
    assert told.others == ((".staged", 2), ("Z", 1), ("\\xff", 1))


# Files in their order.


def test_files_are_in_the_order_of_actions_groups_users_and_shown_paths() -> None:
    real = ["/s/mdt2/projects/a", "/s/mdt1/projects/b", "/z", "/s/mdt1/projects/a"]
    files = [
        in_vault(root=root, branch=branch, gid=gid, uid=uid)
        for branch in ("keep", "archive")
        for gid in (1, 2)
        for uid in (5, 6)
        for root in real
    ]
    tally = tally_of(*files)
    put = ask(tally, Put((2, 1), (6, 5)))
    in_order = ["/s/mdt1/projects/a", "/s/mdt2/projects/a", "/s/mdt1/projects/b", "/z"]
    assert [
        (file.action, file.gid, file.uid, file.real_path.removesuffix("/data/x"))
        for file in ask(tally, Files(0, put.files))
    ] == [
        (action, gid, uid, root)
        for action in ("Archive", "Keep")
        for gid in (2, 1)
        for uid in (6, 5)
        for root in in_order
    ]


def test_the_largest_files_are_ten_and_as_large_ones_keep_their_order() -> None:
    sizes = [3, 7, 3, 9, 3, 3, 3, 3, 3, 3, 3, 3]
    files = [in_vault(f"{place:02}", size=size) for place, size in enumerate(sizes)]
    largest = [file.real_path for file in all_told(tally_of(*files)).largest]
    assert largest == [f"/a/{place:02}" for place in (3, 1, 0, 2, 4, 5, 6, 7, 8, 9)]


def test_two_vault_entries_that_say_the_same_are_two_files_of_one_state() -> None:
    one = in_vault("x")
    other = one._replace(path=one.path.replace(b"-", b"/-"))
    told = all_told(tally_of(one, other))
    assert told.files[0] == told.files[1]
    assert told.states == [told.files[0].state()] * 2


def test_a_question_that_nobody_asks_has_no_answer() -> None:
    assert ask(tally_of(), None) is None
