"""The arithmetic: medians of ratios within a round, percentiles, slopes.

A machine that is busy now and idle later changes all arms of a round alike, so only what
is compared within one round means anything.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import linear_regression, median

Round = Mapping[str, float]
"""One number for each arm, all measured one right after the other."""


def ratio(rounds: Sequence[Round], arm: str, base: str) -> float:
    """The median of what an arm costs in relation to another in the same round."""
    return median(each[arm] / each[base] for each in rounds)


def spread(rounds: Sequence[Round], arm: str, base: str) -> tuple[float, float]:
    """The smallest and the largest ratio of a round."""
    found = [each[arm] / each[base] for each in rounds]
    return min(found), max(found)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share (0 to 1) of all values do not exceed."""
    return sorted(values)[max(math.ceil(share * len(values)) - 1, 0)]


def slope(points: Sequence[tuple[float, float]], *, per: float) -> float:
    """How much y grows while x grows by `per`, by least squares."""
    xs, ys = zip(*points, strict=True)
    return linear_regression(xs, ys).slope * per


def turns(arms: Sequence[str], number: int) -> list[str]:
    """The order of the arms in a round: each begins as often as the others."""
    start = number % len(arms)
    return [*arms[start:], *arms[:start]]
