"""Calendar months before a day."""

from calendar import monthrange
from datetime import date


def months_before(day: date, months: int) -> date:
    """
    The same day some months earlier, or that month's last.

    >>> months_before(date(2020, 3, 31), 1), months_before(date(2026, 1, 5), 36)
    (datetime.date(2020, 2, 29), datetime.date(2023, 1, 5))
    """
    year, month = divmod(day.year * 12 + day.month - 1 - months, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))
