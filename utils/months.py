"""Calendar months before and after a day."""

from datetime import date, timedelta

from dateutil.relativedelta import relativedelta

A_DAY = timedelta(1)


def months_before(day: date, months: int) -> date:
    """
    The same day some months earlier, or that month's last.

    >>> months_before(date(2020, 3, 31), 1), months_before(date(2026, 1, 5), 36)
    (datetime.date(2020, 2, 29), datetime.date(2023, 1, 5))
    """
    before: date = day - relativedelta(months=months)
    return before


def first_reached(day: date, months: int) -> date:
    """
    The first day that is at least so many months after another, as `months_before` counts.

    >>> first_reached(date(2025, 8, 31), 6), months_before(date(2026, 2, 28), 6)
    (datetime.date(2026, 3, 1), datetime.date(2025, 8, 28))
    """
    reached: date = day + relativedelta(months=months)
    while months_before(reached, months) < day:
        reached += A_DAY
    return reached
