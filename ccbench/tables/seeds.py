"""A metric over the seeds of one row: mean, spread and interval, one rule for all tables."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ccbench.metrics.statistics.intervals import NORMAL_QUANTILE
from ccbench.types import Interval, Score


class SeedSummary(NamedTuple):
    """One metric over the seeds of a row.

    Attributes:
        mean: of the seeds' values.
        spread: standard deviation of the values (n - 1); None for one seed, and where all values are equal.
        within: root mean square of the seeds' own standard errors; None where a seed has no interval.
        low: mean of the lower ends of the seeds' own 95 % intervals; None where a seed has none.
        high: mean of the upper ends.
        n: seeds.
    """

    mean: float
    spread: float | None
    within: float | None
    low: float | None
    high: float | None
    n: int


def summarise(values: Sequence[float], intervals: Sequence[Interval | None] = ()) -> SeedSummary | None:
    """Return what the values of a row's seeds have in common, each with its interval; None without values."""
    if not values:
        return None
    spread = float(np.std(values, ddof=1)) if len(set(values)) > 1 else None
    ends = np.array([(one.low, one.high) for one in intervals if one is not None])  # (n, 2)
    if len(ends) != len(values):
        return SeedSummary(float(np.mean(values)), spread, None, None, None, len(values))
    errors = (ends[:, 1] - ends[:, 0]) / (2 * NORMAL_QUANTILE)
    low, high = (float(np.mean(side)) for side in ends.T)
    return SeedSummary(
        float(np.mean(values)), spread, math.sqrt(float(np.mean(np.square(errors)))), low, high, len(values)
    )


def summarise_scores(scores: Sequence[Score]) -> SeedSummary | None:
    """Return the summary of the scores that have a value; None where there is none."""
    known = [(score.value, score.interval) for score in scores if score.value is not None]
    return summarise([value for value, _ in known], [interval for _, interval in known])
