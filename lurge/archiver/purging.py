"""
Out of the bin for good: exactly what the manifest names, if it is still what was put there.

The copies are looked up once more before. From then on the unit is `deleting`: there is no way back
by renaming, so whoever held it before and wakes up deletes nothing that lies in its place again.
"""

import errno
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lurge.archiver.binning import Place, clear
from lurge.archiver.handles import opened
from lurge.archiver.looking import absent
from lurge_types.archive import Entry
from utils import manifests, trees
from utils.differences import changed, differences
from utils.handles import Opener, TreeUnfit
from utils.manifests import ManifestBroken
from utils.paths import text

if TYPE_CHECKING:
    from lurge.archiver.steps import Step


def purge(step: "Step") -> "Step":
    """
    Delete a unit that is in the bin; its next state. Where anything of it has changed, or a copy is
    not there, it stays, with the reason.

    Raises LeaseLost, ManifestBroken, OSError, TargetFailed where that cannot be told.
    """
    place = Place(step.unit.bin or b"")
    if step.unit.state == "binned":
        if why := _refused(step, place):
            return step.moved("binned", reason=why)
        step = step.moved("deleting")
    if place.is_filled() and (why := _deleted(step, place)):
        return step.moved("deleting", reason=why)
    clear(place)
    return step.moved("deleted")


def _refused(step: "Step", place: Place) -> str | None:
    """Why a unit in the bin must not be deleted."""
    known = step.copies()
    for target, copy, manifest in known:
        if copy.lost_at or not copy.verified_at:
            return f"its copy at {copy.target} is not verified"
        for missing in absent(target, manifest, step.patience(), step.works.table.workers):
            return f"its copy at {copy.target} is not whole: {missing}"
    if len(known) < len(step.run.policy.targets):
        return "not all of its copies are known"
    try:
        with opened(place.tree) as tree:
            device = os.fstat(tree).st_dev
            members = step.members() if step.unit.kind == "files" else None
            found = trees.entries(tree, members)
            for difference in differences(_entries(place), found, device=device):
                return f"in the bin, {difference}"
    except (FileNotFoundError, ManifestBroken, TreeUnfit) as error:
        return f"the bin has not what was put there: {error}"
    return None


def _entries(place: Place) -> Iterator[Entry]:
    with place.manifest.open("rb") as file:
        yield from manifests.read(file)[1]


def _deleted(step: "Step", place: Place) -> str | None:
    """Delete what is left of a unit; why not all of it, if so."""
    with opened(place.tree) as root, Opener(root) as opener:
        device = os.fstat(root).st_dev
        above: list[Entry] = []
        for entry in _entries(place):
            while above and not _lies_in(entry.path, above[-1].path):
                if why := _remove(opener, above.pop(), device):
                    return why
            step.claim.check()
            if entry.fingerprint.kind == "d":
                above.append(entry)
            elif why := _remove(opener, entry, device):
                return why
        while above and above[-1].path:
            if why := _remove(opener, above.pop(), device):
                return why
    return None


def _lies_in(path: bytes, directory: bytes) -> bool:
    return not directory or path.startswith(directory + b"/")


def _remove(opener: Opener, entry: Entry, device: int) -> str | None:
    """Delete an entry, if it is there and as it was put there; why not."""
    above, name = opener.place(entry.path)
    try:
        found = os.stat(name, dir_fd=above, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if facts := changed(entry, found, device=device, deleting=True):
        return f"in the bin, {text(entry.path)}: different ({', '.join(facts)})"
    try:
        if entry.fingerprint.kind == "d":
            os.rmdir(name, dir_fd=above)
        else:
            os.unlink(name, dir_fd=above)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return f"in the bin, {text(entry.path)}: it holds what nobody has put there"
    return None
