"""What belongs to nobody known, as lines of TSV or JSON, or as a table for people."""

import json
from collections.abc import Iterator, Mapping, Sequence

from rich.table import Table
from rich.text import Text

from lurge.orphans import By, Orphans, Row
from lurge_types.reports import NOWHERE
from utils import show, tsv

LARGEST_SHOWN = 20

OWNER = ("kind", "owner", "number", "never_known", "absent_since")
GROUP = ("group", "gid", "pi")
FIGURES = ("used_bytes", "inodes", "last_modified")

COLUMNS: Mapping[By, tuple[str, ...]] = {
    "owner": ("volume", *OWNER, *GROUP, *FIGURES),
    "user": ("volume", *OWNER, *FIGURES),
    "group": ("volume", *GROUP, "group_known", "users", *FIGURES),
    "pi": ("volume", "pi", "groups", "users", *FIGURES),
    "directory": (
        "volume",
        *OWNER,
        *GROUP,
        "base_directory",
        "directory",
        "used_bytes",
        "files",
        "last_modified",
    ),
}
"""Of the TSV, and of JSON."""

SHOWN_OWNER = ("owner", "kind", "absent since")
SHOWN_FIGURES = ("used", "inodes", "modified")

SHOWN: Mapping[By, tuple[str, ...]] = {
    "owner": (*SHOWN_OWNER, "volume", "group", "PI", *SHOWN_FIGURES),
    "user": (*SHOWN_OWNER, "volume", *SHOWN_FIGURES),
    "group": ("group", "known", "volume", "PI", "users", *SHOWN_FIGURES),
    "pi": ("PI", "volume", "groups", "users", *SHOWN_FIGURES),
    "directory": ("owner", "absent since", "used", "files", "modified", "directory"),
}
"""At a terminal."""


def as_tsv(found: Orphans) -> Iterator[str]:
    """The lines of a TSV."""
    return tsv.lines(
        COLUMNS[found.by], (list(_cells(found.by, row).values()) for row in found.rows)
    )


def as_json(found: Orphans) -> Iterator[str]:
    """A line of JSON in ASCII for each row."""
    for row in found.rows:
        yield json.dumps(_cells(found.by, row), default=str)


def _cells(by: By, row: Row) -> Mapping[str, object]:
    owner, group = row.owner, row.group
    cells = {
        "volume": row.volume,
        "kind": owner and owner.kind,
        "owner": owner and owner.name,
        "number": owner and owner.number,
        "never_known": owner and owner.never_known,
        "absent_since": owner and owner.absent_since,
        "group": group and group.name,
        "gid": group and group.gid,
        "pi": row.pi,
        "group_known": group and group.known,
        "users": row.users,
        "groups": row.groups,
        "base_directory": row.base_directory,
        "directory": row.directory,
        "used_bytes": row.used_bytes,
        "inodes": row.inodes,
        "files": row.inodes,
        "last_modified": row.last_modified,
    }
    return {column: cells[column] for column in COLUMNS[by]}


def as_table(found: Orphans, most: int | None) -> Table:
    """The rows for people, and their sum; `most`: how many are shown, the largest; all, if None."""
    table = show.table(
        "What belongs to nobody known",
        SHOWN[found.by],
        (_shown(found.by, row) for row in found.rows[:most]),
        right=("used", "inodes", "files", "users", "groups"),
    )
    table.caption = Text(_total(found))
    table.caption_justify = "left"
    return table


def _total(found: Orphans) -> str:
    inodes = "files" if found.by == "directory" else "inodes"
    return (
        f"Unknown users: {found.users:,}, unknown groups: {found.groups:,}; "
        f"in all {show.size(found.total_bytes)} in {found.total_inodes:,} {inodes}"
    )


def _shown(by: By, row: Row) -> Sequence[str]:
    owner, group = row.owner, row.group
    cells = {
        "owner": owner and owner.name,
        "kind": owner and owner.kind,
        "absent since": owner and owner.since,
        "volume": row.volume,
        "group": group and group.name,
        "PI": row.pi,
        "known": group and group.known,
        "users": f"{row.users:,}",
        "groups": f"{row.groups:,}",
        "directory": row.directory
        if row.base_directory == NOWHERE
        else f"{row.base_directory}/{row.directory}",
        "used": show.size(row.used_bytes),
        "inodes": f"{row.inodes:,}",
        "files": f"{row.inodes:,}",
        "modified": row.last_modified,
    }
    return [tsv.text_of(cells[column]) for column in SHOWN[by]]
