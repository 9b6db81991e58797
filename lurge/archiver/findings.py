"""What a check has found: which unit, where, why, and what a person may do."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from rich.table import Table

from db import leases, ledger
from lurge.archiver.works import Works
from lurge_types.archive import UnitNow
from utils import show

Kind = Literal[
    "lost", "found", "target", "bin", "taken", "tombstone", "left", "unknown", "broken", "nothing"
]
"""
lost: a copy is not whole. found: one that was noted as lost is. target: it cannot be asked. bin:
what is in a bin is not what was put there. taken: something is in the place of what is in the bin.
tombstone: none is there. left: something is in a bin that the ledger has elsewhere. unknown:
something is in a bin that the ledger does not know. broken: an act was broken off. nothing: of what
was asked about nothing was looked at.
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """
    Something that is not as the ledger says.

    unit: its name, if it is about one. where: a path in text form, or a target's URL. todo: what a
    person may do.
    """

    kind: Kind
    unit: str | None
    where: str
    why: str
    todo: str


def rests(works: Works, unit: UnitNow) -> bool:
    """Whether nobody works on a unit, and nobody has moved it since it was read."""
    lease = partial(leases.holder, name=ledger.lease_of(unit))
    if works.database.read(lease) is not None:
        return False
    again = works.database.read(partial(ledger.unit, unit_id=unit.unit_id))
    return again.moves == unit.moves


def as_table(found: Iterable[Finding]) -> Table:
    """Findings for people."""
    return show.table(
        "What is not as it should be",
        ("what", "unit", "where", "why", "what to do"),
        ((each.kind, each.unit or "-", each.where, each.why, each.todo) for each in found),
        give=("where", "why", "what to do"),
    )


def as_json(of: Finding) -> str:
    """A finding, as one line of JSON in ASCII."""
    return json.dumps(
        {
            "kind": of.kind,
            "unit": of.unit,
            "where": of.where,
            "why": of.why,
            "todo": of.todo,
        }
    )
