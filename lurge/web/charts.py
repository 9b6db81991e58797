"""What a chart over time may be asked for, and the links that ask for something else."""

from collections.abc import Mapping
from datetime import date
from typing import Literal, NamedTuple, get_args

from db.sight.history import Of
from lurge.web.listing import Parameters
from utils.months import months_before

Months = Literal["1", "3", "6", "12", "36", "all"]

MONTHS: Mapping[Months, str] = {
    "1": "1 month",
    "3": "3 months",
    "6": "6 months",
    "12": "1 year",
    "36": "3 years",
    "all": "all",
}
"""In words."""

EVER = date(1970, 1, 1)


class ChartAsked(Parameters):
    """Which of the quotas, and how many months up to the newest date."""

    of: Of = "bytes"
    months: Months = "12"

    def chart(self) -> dict[str, object]:
        """Those that the chart's data is asked for with."""
        return self.model_dump(include=set(ChartAsked.model_fields), exclude_defaults=True)

    def since(self, newest: date) -> date:
        """The first day that is shown."""
        return EVER if self.months == "all" else months_before(newest, int(self.months))


class Choice(NamedTuple):
    """A link to the same chart of something else. chosen: it is what is shown."""

    words: str
    query: Mapping[str, object]
    chosen: bool


def of_choices(asked: ChartAsked) -> list[Choice]:
    """Of bytes or of inodes."""
    return [Choice(of, asked.query(of=of), of == asked.of) for of in get_args(Of)]


def months_choices(asked: ChartAsked) -> list[Choice]:
    """How long a time."""
    return [
        Choice(words, asked.query(months=months), months == asked.months)
        for months, words in MONTHS.items()
    ]
