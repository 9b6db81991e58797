"""Groups and paths as reports show them: by names that are known, pseudo groups, symlinks."""

from collections.abc import Iterable, Mapping

from lurge.tallies.owners import PseudoGroups
from lurge_types.config import Config
from lurge_types.names import Group
from utils.names import Names
from utils.path_rules import PathRules, real_paths
from utils.paths import raw, text


def symlinks(config: Config) -> dict[bytes, bytes]:
    """The pattern of each real path → the path that people use."""
    return {raw(real): raw(shown) for real, shown in config.symlinks.items()}


def pseudo_groups(config: Config) -> PseudoGroups | None:
    """The configured pseudo groups with the real paths of what counts to them."""
    paths: list[bytes] = []
    gids: list[int] = []
    for path, group in config.pseudo_groups.items():
        for real in real_paths(raw(path), symlinks(config)):
            paths.append(real)
            gids.append(group.gid)
    return PseudoGroups(PathRules(paths), tuple(gids)) if paths else None


def shown_groups(config: Config, names: Names, gids: Iterable[int]) -> Mapping[int, Group]:
    """The groups of some gids, and all pseudo groups."""
    pseudo = {
        group.gid: Group(group.gid, _text(group.name), group.pi and _text(group.pi))
        for group in config.pseudo_groups.values()
    }
    return names.groups(gid for gid in gids if gid not in pseudo) | pseudo


def _text(name: str) -> str:
    return text(name.encode("utf-8"))


def group_order(group: Group) -> tuple[bytes, int]:
    """What rows of TSV files are sorted by: the name's bytes."""
    return group.name.encode("utf-8"), group.gid
