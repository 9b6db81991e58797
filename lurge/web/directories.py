"""
What lies where: the volumes, the base directories of one, the directories of one of those.

Each is a table, and the same as a tree map, whose tiles a script asks for.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import zip_longest
from typing import Any, Literal, NamedTuple

from flask import Flask, render_template, request, url_for
from sqlalchemy.engine import Connection
from werkzeug.exceptions import NotFound

from db.sight import directories
from db.sight.directories import Area, DirectoriesWanted, DirectoryUse, Siblings, Tile, VolumeOrBase
from db.sight.paging import Part, Rows
from lurge.web.columns import Column, for_json, shown
from lurge.web.downloads import add_forms
from lurge.web.listing import Asked, FewWords, Listing, Words, parse
from lurge.web.site import Site
from lurge_types.reports import AGE_CLASSES, DIRECTLY, FOLDED, NOWHERE
from lurge_types.sight import Sight

MOST_TILES = 250
LONGEST_NAME = 120
"""Of a tile, in characters."""

MOST_OWNERS = 6
"""How many groups a cell names to people."""

AREAS: Mapping[str, Area] = {"bytes": "size_bytes", "files": "files"}

CALLED = {
    NOWHERE: "above every base directory",
    DIRECTLY: "files directly in it",
    FOLDED: "smaller ones, folded",
}
"""What people read instead of the names of what is no directory."""

COLOURED_FROM = AGE_CLASSES[:7]
"""From how many days since the last use on a tile has the next colour."""

KEPT = ("area", "group")
"""What is asked for on the way down and up again."""


class DirectoriesAsked(Asked):
    """What counts, and by what tiles are large."""

    group: Words | None = None
    words: FewWords = ""
    area: Literal["bytes", "files"] = "bytes"

    @property
    def wanted(self) -> DirectoriesWanted:
        """The same, as the database is asked."""
        return DirectoriesWanted(self.group, self.words)


class Crumb(NamedTuple):
    """A step from all volumes to here, and its address."""

    words: str
    href: str


class Colour(NamedTuple):
    """A colour of tiles, in words, and from how many days on; None where nobody knows."""

    words: str
    days: int | None


@dataclass(frozen=True, slots=True)
class Layer:
    """
    What is shown on one page.

    name: the page's endpoint, and the table's name. path: the page's address. folder: where the
    table's downloads are. unseen: columns for programs only. siblings: what the database is asked.
    """

    name: str
    path: str
    folder: str
    title: str
    columns: Sequence[Column]
    unseen: frozenset[str]
    siblings: Callable[[Sight, DirectoriesWanted, Any, date], Siblings]


def add(app: Flask, site: Site) -> None:
    """The pages, their tables in other forms, and the tiles of their tree maps."""
    for layer in LAYERS:
        _add(app, site, layer)


def _add(app: Flask, site: Site, layer: Layer) -> None:
    def listing_of(**names: Any) -> Listing:
        def read(
            connection: Connection, sight: Sight, asked: DirectoriesAsked, part: Part
        ) -> Rows[DirectoryUse]:
            place = find(connection, sight, **names)
            siblings = layer.siblings(sight, asked.wanted, place, site.today())
            return directories.read(connection, siblings, part)

        return Listing(layer.columns, DirectoriesAsked, "-size_bytes", read)

    def page(**names: Any) -> str:
        asked = parse(DirectoriesAsked, request.args)

        def read(connection: Connection, sight: Sight) -> dict[str, Any]:
            place = find(connection, sight, **names)
            table = listing_of(**names).shown(connection, sight, asked)
            return {"place": place, "crumbs": list(crumbs(place)), "table_shown": table}

        on_page = {column.key for column in layer.columns} - layer.unseen
        return render_template(
            "directories.html",
            **site.look(read),
            layer=layer,
            names=names,
            on_page=on_page,
            areas=list(AREAS),
            colours=list(colours()),
        )

    def tiles(**names: Any) -> dict[str, object]:
        asked = parse(DirectoriesAsked, request.args)
        area = AREAS[asked.area]

        def read(connection: Connection, sight: Sight) -> dict[str, object]:
            place = find(connection, sight, **names)
            siblings = layer.siblings(sight, asked.wanted, place, site.today())
            found = directories.tiles(connection, siblings, area, MOST_TILES)
            return {"area": area, "tiles": [tile_of(place, area, each) for each in found]}

        return site.look(read)

    app.add_url_rule(layer.path, layer.name, page)
    app.add_url_rule(f"/api{layer.path}/tiles", f"{layer.name}.tiles", tiles)
    add_forms(app, site, layer.name, listing_of, layer.folder)


def find(
    connection: Connection,
    sight: Sight,
    volume: str | None = None,
    base_directory_id: int | None = None,
) -> VolumeOrBase | None:
    """
    What is looked at; None: all volumes.

    Raises NotFound.
    """
    if volume is None:
        return None
    place = directories.find(connection, volume)
    if place is None:
        raise NotFound("no such volume")
    if base_directory_id is None:
        return place
    place = directories.find_base(connection, sight, place, base_directory_id)
    if place is None:
        raise NotFound("no such base directory on this volume, or nothing of yours in it")
    return place


def crumbs(place: VolumeOrBase | None) -> Iterator[Crumb]:
    """The steps from all volumes to a place."""
    yield Crumb("volumes", url_for("directories", **_kept()))
    if place:
        yield Crumb(place.volume, _page_of_volume(place.volume))
    if place and place.base_directory_id is not None:
        words = called(place.base_directory or "", above=True)
        yield Crumb(words, _page_of_base(place.volume, place.base_directory_id))


def colours() -> Iterator[Colour]:
    """
    The legend.

    >>> [colour.words for colour in colours()][:3]
    ['below 30 days', '30 to 89', '90 to 179']
    """
    for first, end in zip_longest(COLOURED_FROM, COLOURED_FROM[1:]):
        words = f"{first} to {end - 1}" if end else f"{first} or more"
        yield Colour(words if first else f"below {end} days", first)
    yield Colour("unknown", None)


def tile_of(place: VolumeOrBase | None, area: Area, tile: Tile) -> dict[str, object]:
    """A tile as JSON; shown: what people read on it, a line each."""
    name = called(tile.name, folded=tile.folded, above=place is not None and _is_top(place))
    if tile.smaller:
        name = f"{tile.smaller:,} smaller ones"
    size, files = shown("bytes", tile.size_bytes), f"{tile.files:,} files"
    used = "last used: unknown"
    if tile.last_used_days is not None:
        used = f"last used {shown('days', tile.last_used_days)} before the scan"
    return {
        "name": short(name),
        "page": None if tile.smaller else _page_of(place, tile.name, tile.base_directory_id),
        "size_bytes": tile.size_bytes,
        "files": tile.files,
        "last_modified_days": for_json(tile.last_modified_days),
        "last_used_days": for_json(tile.last_used_days),
        "shown": [size, files, used] if area == "size_bytes" else [files, size, used],
    }


def called(name: str, *, folded: bool = False, above: bool = False) -> str:
    """
    What people read for a name.

    folded: it stands for the smallest ones. above: a "-" is what lies above, and not a name.

    >>> called("."), called("*other*"), called("*other*", folded=True), called("-")
    ('files directly in it', '*other*', 'smaller ones, folded', '-')
    """
    is_none = name == DIRECTLY or (name == FOLDED and folded) or (name == NOWHERE and above)
    return CALLED[name] if is_none else name


def short(name: str) -> str:
    """
    A name that fits on a tile.

    >>> len(short("a" * 1000)), short("abc")
    (120, 'abc')
    """
    if len(name) <= LONGEST_NAME:
        return name
    half = LONGEST_NAME // 2
    return f"{name[: half - 1]}…{name[-half:]}"


def _is_top(place: VolumeOrBase) -> bool:
    """Whether a "-" there is what lies above every base directory."""
    return place.base_directory in {None, NOWHERE}


def _page_of(place: VolumeOrBase | None, volume: str, base_directory_id: int | None) -> str | None:
    """The page of a tile, if there is one."""
    if place is None:
        return _page_of_volume(volume)
    if place.base_directory_id is None and base_directory_id is not None:
        return _page_of_base(place.volume, base_directory_id)
    return None


def _page_of_volume(volume: str) -> str:
    return url_for("base_directories", volume=volume, **_kept())


def _page_of_base(volume: str, base_directory_id: int) -> str:
    place: dict[str, Any] = {"volume": volume, "base_directory_id": base_directory_id}
    return url_for("subdirectories", **place, **_kept())


def _kept() -> dict[str, Any]:
    return {key: request.args[key] for key in KEPT if request.args.get(key)}


def _base(row: Any) -> Iterator[tuple[str, str | None]]:
    yield called(row.base_directory, above=True), _page_of_base(row.volume, row.base_directory_id)


def _directory(row: Any) -> Iterator[tuple[str, str | None]]:
    above = row.base_directory == NOWHERE
    yield called(row.directory, folded=row.folded, above=above), None


def _owners(row: Any) -> Iterator[tuple[str, str | None]]:
    for owner in row.owners[:MOST_OWNERS]:
        page = url_for("group", volume=row.volume, gid=owner.gid) if owner.is_recorded else None
        yield owner.group, page
    if more := row.owners[MOST_OWNERS:]:
        yield f"and {len(more):,} more", None


DIRECTORIES = Column(
    "directories", "directories", "count", hint="each counts for each of its groups"
)
AMOUNTS = (
    Column("size_bytes", "size", "bytes"),
    Column("files", "files", "count"),
    Column("last_modified_days", "last modified", "days", hint="days before the scan"),
    Column("last_used_days", "last used", "days", hint="days before the scan"),
    Column("kept_files", "kept files", "count", hint="files that a vault keeps"),
)
VOLUME = Column("volume", "volume", link=lambda row: _page_of_volume(row.volume))
BASE = Column("base_directory", "base directory", "path", shows=_base)
DIRECTORY = Column("directory", "directory", "path", shows=_directory)
GROUPS = Column("groups", "groups", shows=_owners, sortable=False)
DATE = Column("record_date", "data of", "date")
HERE = (
    Column("volume", "volume", sortable=False),
    Column("record_date", "data of", "date", sortable=False),
    Column("base_directory_id", "number", sortable=False),
)

OF_VOLUME = "/directories/<volume>"
OF_BASE = f"{OF_VOLUME}/<int(max=2147483647):base_directory_id>"

LAYERS = (
    Layer(
        "directories",
        "/directories",
        "",
        "Volumes",
        (VOLUME, DIRECTORIES, *AMOUNTS, DATE),
        frozenset(),
        lambda sight, wanted, _, today: directories.volumes(sight, wanted, today),
    ),
    Layer(
        "base_directories",
        OF_VOLUME,
        OF_VOLUME,
        "Base directories",
        (*HERE, BASE, GROUPS, DIRECTORIES, *AMOUNTS),
        frozenset(column.key for column in HERE),
        lambda sight, wanted, place, _: directories.bases(sight, wanted, place),
    ),
    Layer(
        "subdirectories",
        OF_BASE,
        OF_BASE,
        "Directories",
        (*HERE, replace(BASE, sortable=False), DIRECTORY, GROUPS, *AMOUNTS),
        frozenset({"base_directory", *(column.key for column in HERE)}),
        lambda sight, wanted, place, _: directories.below(sight, wanted, place),
    ),
)
