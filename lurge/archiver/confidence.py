"""
How sure one can be that all copies are whole, of which some were read back.

Those were drawn by chance, none twice, so how many of them are bad is distributed
hypergeometrically. With none bad of n at most about 3/n of all are: the rule of three.
"""

from decimal import ROUND_CEILING, Decimal
from math import exp, lgamma

from utils import show

CONFIDENCE = 0.95
ROUNDING = 1e-9
"""By how much a probability may be off by rounding: rather a larger bound than one too small."""

DIGITS = 2


def most_bad(files: int, read: int, bad: int, confidence: float = CONFIDENCE) -> int:
    """
    The most files that can be bad, of all, if chance brought so many into the sample.

    The largest number with which as few bad ones, or fewer, are drawn with a probability of
    `1 - confidence` at least.

    >>> most_bad(120_000, 1_200, 0), most_bad(10, 10, 2), most_bad(10, 0, 0)
    (297, 2, 10)
    """
    if not 0 <= bad <= read <= files:
        raise ValueError(f"{bad} of {read} of {files}")
    least, most = bad, files - (read - bad)
    while least < most:
        middle = (least + most + 1) // 2
        if _at_most(files, middle, read, bad) * (1 + ROUNDING) >= 1 - confidence:
            least = middle
        else:
            most = middle - 1
    return least


def in_words(files: int, read: int, bad: int) -> str:
    """
    The same for people.

    >>> print(in_words(120_000, 1_200, 0))
    of 120,000 files 1,200 were read back, all whole: with 95 % confidence fewer than 0.25 % are not
    >>> print(in_words(5, 5, 0))
    of 5 files all were read back, all whole
    >>> print(in_words(5, 0, 0))
    of 5 files none was read back
    """
    if not read:
        return f"of {show.count(files, 'file')} none was read back"
    found = f"{bad:,} of them not whole" if bad else "all whole"
    if read == files:
        return f"of {show.count(files, 'file')} all were read back, {found}"
    share = _percent(most_bad(files, read, bad) + 1, files)
    return (
        f"of {files:,} files {read:,} were read back, {found}: with {CONFIDENCE * 100:.0f} % "
        f"confidence fewer than {share} % are not"
    )


def _percent(part: int, whole: int) -> Decimal:
    """
    In two digits, rounded up.

    >>> print(_percent(298, 120_000), _percent(1, 3), _percent(7, 7))
    0.25 34 100
    """
    percent = Decimal(100 * part) / whole
    if percent >= 100:
        return Decimal(100)
    return percent.quantize(Decimal(1).scaleb(percent.adjusted() - DIGITS + 1), ROUND_CEILING)


def _at_most(files: int, all_bad: int, read: int, bad: int) -> float:
    """How probable it is that at most so many of those that are bad are drawn."""
    good = files - all_bad
    least = max(0, read - good)
    return sum(
        exp(_log_ways(all_bad, drawn) + _log_ways(good, read - drawn) - _log_ways(files, read))
        for drawn in range(least, min(bad, all_bad) + 1)
    )


def _log_ways(of: int, drawn: int) -> float:
    """The logarithm of the ways to draw so many."""
    return lgamma(of + 1) - lgamma(drawn + 1) - lgamma(of - drawn + 1)
