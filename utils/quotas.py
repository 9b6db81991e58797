"""Quotas of groups on volumes: from a CSV file, from several sources in turn, or none at all."""

import csv
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from lurge_types.names import Group, Limits
from lurge_types.scans import Volume

HEADER = ["group", "volume", "limit_bytes", "limit_inodes"]
HIGHEST = 2**63 - 1
MOST_TOLD = 3


class QuotasWrong(Exception):
    """What is wrong with a file of quotas: every problem a line."""


class Answer(NamedTuple):
    """
    What groups may use of a volume.

    limits: by gid; a group that nobody knows of is missing. remarks: what a reader should know.
    """

    limits: Mapping[int, Limits]
    remarks: tuple[str, ...] = ()


class Quotas(Protocol):
    """Whoever knows what groups may use."""

    def limits(self, volume: Volume, groups: Sequence[Group]) -> Answer:
        """The limits of groups on a volume."""


class FirstThatKnows:
    """Some sources or none; the first that knows a group counts, if only that it has no limit."""

    def __init__(self, sources: Sequence[Quotas]) -> None:
        self._sources = sources

    def limits(self, volume: Volume, groups: Sequence[Group]) -> Answer:
        """The limits of groups on a volume, with what every source remarks."""
        found: dict[int, Limits] = {}
        remarks: list[str] = []
        for source in self._sources:
            answer = source.limits(volume, [group for group in groups if group.gid not in found])
            found |= answer.limits
            remarks += answer.remarks
        return Answer(found, tuple(remarks))


class CsvQuotas:
    """
    The limits in a file with the columns of `HEADER`; a limit of 0 or nothing means none.

    A line's group is a gid or a name; a line with the gid goes before one with the name. Lines of
    groups that have nothing on a volume are passed over. volumes: the names of all there are, if
    that is known; lines of any other are told of with the first answer.

    Raises QuotasWrong.
    """

    def __init__(self, file: Path, volumes: Collection[str] = ()) -> None:
        self._limits: dict[tuple[str, str], Limits] = {}
        try:
            # Spreadsheets write a byte order mark in front.
            with file.open(encoding="utf-8-sig", newline="") as lines:
                problems = self._read(csv.reader(lines, strict=True))
        except OSError as error:
            raise QuotasWrong(f"quotas.csv_file: {file}: {error.strerror}") from error
        except (UnicodeDecodeError, csv.Error) as error:
            raise QuotasWrong(f"quotas.csv_file: {file}: {error}") from error
        if problems:
            raise QuotasWrong("\n".join(f"quotas.csv_file: {file}, {each}" for each in problems))
        self._untold = tuple(self._elsewhere(volumes)) if volumes else ()

    def limits(self, volume: Volume, groups: Sequence[Group]) -> Answer:
        """The limits of groups on a volume."""
        found = {group.gid: self._of(volume.name, group) for group in groups}
        remarks, self._untold = self._untold, ()
        return Answer({gid: limits for gid, limits in found.items() if limits}, remarks)

    def _elsewhere(self, volumes: Collection[str]) -> Iterator[str]:
        """What to say of the lines of other volumes than these."""
        lines = Counter(volume for _, volume in self._limits if volume not in volumes)
        if lines:
            names = [volume or '""' for volume, _ in lines.most_common(MOST_TOLD)]
            names += ["..."] if len(lines) > MOST_TOLD else []
            count = lines.total()
            yield (
                f"quotas.csv_file: {count} {'line is' if count == 1 else 'lines are'} of volumes "
                f"that are not configured ({', '.join(names)})"
            )

    def _of(self, volume: str, group: Group) -> Limits | None:
        by_gid = self._limits.get((str(group.gid), volume))
        return by_gid or self._limits.get((group.name, volume))

    def _read(self, rows: Any) -> list[str]:
        """Take the limits; what is wrong with the file, a problem a line."""
        header: list[str] = next(rows, [])
        if header != HEADER:
            return [f"line 1: the header is {','.join(header)}, not {','.join(HEADER)}"]
        problems = []
        for row in rows:
            try:
                group, volume, limit_bytes, limit_inodes = row
                limits = Limits(_limit(limit_bytes), _limit(limit_inodes))
            except ValueError:
                problems.append(f"line {rows.line_num}: not group,volume,number,number")
                continue
            if (group, volume) in self._limits:
                problems.append(f"line {rows.line_num}: {group} on {volume} a second time")
            self._limits[group, volume] = limits
        return problems


def _limit(text: str) -> int | None:
    """
    The number in a cell; None for no limit.

    >>> _limit("5"), _limit("0"), _limit("")
    (5, None, None)
    """
    if text and not (text.isascii() and text.isdigit()):
        raise ValueError(text)
    limit = int(text or 0)
    if limit > HIGHEST:
        raise ValueError(text)
    return limit or None
