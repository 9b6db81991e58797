"""A forecast in words."""

from collections.abc import Iterator, Mapping
from datetime import date

from lurge.web.columns import Kind, shown
from lurge_types.forecasts import Forecast, Method

METHODS: Mapping[Method, str] = {
    "theil-sen": "Theil-Sen, the median of all slopes of the last weeks",
    "two-point": "the line through two points",
}

WITHIN = "within five years"
NEVER = "in over five years or never"


def in_words(foretold: Forecast, kind: Kind, quota: int | None, today: date) -> str:
    """
    How fast a use grows, and when its quota is reached.

    kind: of the use, `bytes` or `count`. today: the record date.

    >>> day = date(2026, 1, 2)
    >>> in_words(Forecast("theil-sen", 2048, None, None, day, day, None), "bytes", 1, day)
    'Grows by 2.0 KiB a day (by Theil-Sen, the median of all slopes of the last weeks); the quota is reached.'
    """  # noqa: E501
    return f"{'; '.join(_parts(foretold, kind, quota, today))}."


def _parts(foretold: Forecast, kind: Kind, quota: int | None, today: date) -> Iterator[str]:
    if foretold.method == "-":
        yield "Nothing is foretold: there are too few records"
    elif foretold.method == "no-change":
        yield "No change is foretold, which has been the best forecast of this group's past"
    else:
        yield f"{_rate(foretold.rate, kind)} (by {METHODS[foretold.method]})"
    if not quota:
        yield "there is no quota"
    elif foretold.likely == today:
        yield "the quota is reached"
    elif foretold.method != "-":
        yield _full(foretold)


def _rate(rate: int, kind: Kind) -> str:
    """
    How fast a use grows.

    >>> _rate(-5, "count"), _rate(0, "bytes")
    ('Shrinks by 5 a day', 'Stays as it is')
    """
    if rate == 0:
        return "Stays as it is"
    return f"{'Grows' if rate > 0 else 'Shrinks'} by {shown(kind, abs(rate))} a day"


def _full(foretold: Forecast) -> str:
    """
    When the quota is reached.

    >>> _full(Forecast("theil-sen", 5, likely=date(2026, 3, 1), earliest=date(2026, 2, 1)))
    'the quota will be reached: likely on 2026-03-01, at the earliest on 2026-02-01, at the latest in over five years or never'
    """  # noqa: E501
    days = {
        "likely": foretold.likely,
        "at the earliest": foretold.earliest,
        "at the latest": foretold.latest,
    }
    if not any(days.values()):
        return f"the quota will not be reached {WITHIN}"
    told = (f"{name} {f'on {day}' if day else NEVER}" for name, day in days.items())
    return f"the quota will be reached: {', '.join(told)}"
