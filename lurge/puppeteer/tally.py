"""What a pass finds in vaults: the files of each action, and how much else lies there."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from lurge.bins import Bins
from lurge.puppeteer.rows import FILE_COLUMNS, NO_DAY, Fault, Faults, Question, Rows
from lurge.tallies.tally import Piece
from lurge_types.batch import DIRECTORY, FILE, Batch
from utils.path_loops import in_vaults
from utils.paths import text
from utils.vaults import Key, KeyBroken, Place, decode, place

DAY = 86_400
NOT_A_FILE = "not a file"
PIECE_BYTES = 1_000_000
MOST_LINKS = 2**63 - 1
"""The largest number that a database has: told of lines that say more."""

FILES, REST = "files", "rest"

Marked = tuple[int, int, bytes]
"""A marked file: its entry in the batch, its action, its real path."""


class VaultTally:
    """
    Finds the files in the branches that are called like one of some actions, and counts the others.

    A file takes 50 bytes and those of its path: it is an object only when somebody asks for it.

    actions: as the database calls them. symlinks: pattern of the real path → the path that people
    use. bins: whatever vaults are in them, nobody marks anything there any more.
    """

    def __init__(
        self,
        scan_time: int,
        actions: Sequence[str],
        symlinks: Mapping[bytes, bytes],
        bins: Bins | None = None,
    ) -> None:
        self._scan_time = scan_time
        self._actions = actions
        self._symlinks = symlinks
        self._bins = bins or Bins()
        self._numbers = {action.encode().lower(): n for n, action in enumerate(actions)}
        self._files = bytearray()  # rows of `FILE_COLUMNS`
        self._paths = bytearray()  # their real paths, one behind the other
        self._broken = Faults()
        self._copied = Faults()
        self._others: Counter[bytes] = Counter()
        self._rows: Rows | None = None

    def add(self, batch: Batch) -> None:
        """Look at what lies in vaults."""
        entries = in_vaults(batch.paths, batch.offsets)
        entries = entries[batch.type[entries] != DIRECTORY]
        marked = []
        facts = batch.type[entries].tolist(), batch.inode[entries].tolist()
        for entry, kind, number in zip(entries.tolist(), *facts, strict=True):
            path = batch.path(entry)
            found = place(path)
            if found is None or self._bins.hold(found.root):
                continue
            inode = number if kind == FILE else None
            action = self._numbers.get(found.action)
            if action is not None:
                if real := self._real_path(path, found, inode):
                    marked.append((entry, action, real))
            elif inode is not None and found.key:  # else it is the vault's own, such as its log
                self._others[found.branch] += 1
        if marked:
            self._keep(batch, marked)

    def _real_path(self, path: bytes, found: Place, inode: int | None) -> bytes | None:
        """Where a file was when it was marked; None if nothing tells that, which is counted."""
        try:
            key = _key(found, is_file=inode is not None)
        except KeyBroken as error:
            self._broken = self._broken.merge(Faults(1, (Fault(text(path), str(error)),)))
            return None
        if key.inode != inode:
            fault = Fault(text(path), f"the key is that of inode {key.inode}, the file is {inode}")
            self._copied = self._copied.merge(Faults(1, (fault,)))
            return None
        return found.root + b"/" + key.path

    def _keep(self, batch: Batch, marked: Sequence[Marked]) -> None:
        entries = [entry for entry, _, _ in marked]
        modified = batch.mtime[entries]
        known = (modified > 0) & (modified <= self._scan_time)
        files = np.empty(len(marked), FILE_COLUMNS)
        files["inode"] = batch.inode[entries]
        files["device"] = batch.device[entries]
        files["size"] = batch.size[entries]
        files["links"] = np.minimum(batch.links[entries], MOST_LINKS)
        files["day"] = np.where(known, modified // DAY, NO_DAY)
        files["uid"] = batch.uid[entries]
        files["gid"] = batch.gid[entries]
        files["action"] = [action for _, action, _ in marked]
        files["length"] = [len(path) for _, _, path in marked]
        self._files += files.tobytes()
        self._paths += b"".join(path for _, _, path in marked)

    def pieces(self) -> Iterator[Piece]:
        """All that was found."""
        lengths = np.frombuffer(self._files, FILE_COLUMNS)["length"].astype(np.int64)
        ends = np.concatenate([[0], np.cumsum(lengths)])
        weights = ends + FILE_COLUMNS.itemsize * np.arange(len(ends))
        first = 0
        while first < len(lengths):
            fitting = np.searchsorted(weights, weights[first] + PIECE_BYTES, side="right") - 1
            last = max(first + 1, int(fitting))
            files = slice(first * FILE_COLUMNS.itemsize, last * FILE_COLUMNS.itemsize)
            yield FILES, bytes(self._files[files]), bytes(self._paths[ends[first] : ends[last]])
            first = last
        yield REST, self._broken, self._copied, self._others

    def merge(self, pieces: Iterable[Piece]) -> None:
        """Take over what another tally has found."""
        for kind, *parts in pieces:
            if kind == FILES:
                files, paths = parts
                self._files += files
                self._paths += paths
            else:
                broken, copied, others = parts
                self._broken = self._broken.merge(broken)
                self._copied = self._copied.merge(copied)
                self._others.update(others)

    def tell(self, question: Question) -> object:
        """Answer a question about what was found, for which nothing is looked at any more."""
        if self._rows is None:
            self._rows = Rows(
                self._actions,
                self._symlinks,
                self._files,
                self._paths,
                self._broken,
                self._copied,
                self._others,
            )
        return self._rows.tell(question)


def _key(found: Place, *, is_file: bool) -> Key:
    """What the key of an entry says. Raises KeyBroken."""
    if not is_file:
        raise KeyBroken(NOT_A_FILE)
    return decode(found.key)
