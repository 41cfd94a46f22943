"""Compute shares and odds with their 95 % intervals, in one place: plain Python."""

from __future__ import annotations

import math
from typing import NamedTuple

Z95 = 1.959963984540054  # standard normal quantile of a two-sided 95 % interval


def wilson(right: int, asked: int, z: float = Z95) -> tuple[float, float]:
    """Return Wilson's score interval of a share: within 0 and 1, and valid near both ends.

    Parameters
    ----------
    right, asked : int
        Successes and trials.
    z : float
        Quantile of the normal distribution; default: 95 %.

    Returns
    -------
    (low, high) : (float, float)
    """
    share, spread = right / asked, z * z / asked
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * (share * (1 - share) / asked + spread / (4 * asked)) ** 0.5
    # Where all are right, or none, rounding must not part the share from its interval.
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))


class OddsRatio(NamedTuple):
    """Hold an odds ratio and the ends of its 95 % interval."""

    ratio: float
    low: float
    high: float


def odds_ratio(a: int, b: int, c: int, d: int, z: float = Z95) -> OddsRatio | None:
    """Return how many times higher the odds are in the first row of a 2 x 2 table.

    Where a count is zero, one half is added to all four (Haldane and Anscombe). The interval is
    Woolf's, on the logarithm.

    Parameters
    ----------
    a, b : int
        Cases with and without the outcome in the first row, such as evidence lost: turned wrong,
        still right.
    c, d : int
        The same in the second row, such as evidence kept.
    z : float
        Quantile of the normal distribution; default: 95 %.

    Returns
    -------
    OddsRatio or None
        None where a row or a column is empty: nothing can then be compared.
    """
    if min(a + b, c + d, a + c, b + d) <= 0:
        return None
    half = 0.5 if min(a, b, c, d) == 0 else 0.0
    counts = [count + half for count in (a, b, c, d)]
    first, second, third, fourth = map(math.log, counts)
    log = first - second - third + fourth
    spread = z * math.sqrt(sum(1 / count for count in counts))
    return OddsRatio(math.exp(log), math.exp(log - spread), math.exp(log + spread))
