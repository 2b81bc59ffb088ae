"""Confidence intervals from what each cluster of images moves, and when there are too few clusters for one."""

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from ccbench.types import Interval

LEVEL = 0.95
NORMAL_QUANTILE = 1.959963984540054  # of LEVEL, two-sided
FEWEST_CLUSTERS = 8
"""Below so many videos, patients or images that stand alone there is no interval, but the reason."""

KIND = "cluster-jackknife-t"
EARLIER_KINDS = ("jackknife-normal", "bootstrap-percentile", "cluster-bootstrap-percentile")
"""How the kinds of intervals begin that records of earlier versions hold."""


def check_features(features: NDArray[np.floating], name: str) -> NDArray[np.float64]:
    """Return `features` (N, D) as float64.

    Raises:
        ValueError: not two-dimensional, fewer than two rows, or a value that is not finite.
    """
    if features.ndim != 2:
        raise ValueError(f"{name}: features have shape {features.shape}, wanted (N, D)")
    if len(features) < 2:
        raise ValueError(f"{name}: {len(features)} image(s), at least 2 are needed")
    bad = int((~np.isfinite(features)).any(axis=1).sum())
    if bad:
        raise ValueError(f"{name}: {bad} of {len(features)} feature rows are not finite")
    return np.asarray(features, dtype=np.float64)


def check_both(
    first: NDArray[np.floating], second: NDArray[np.floating], name_1: str = "first set", name_2: str = "second set"
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return two sets of features (N, D) and (M, D) as float64.

    Raises:
        ValueError: as `check_features`, or other widths.
    """
    x, y = check_features(first, name_1), check_features(second, name_2)
    check_widths(x.shape[1], y.shape[1])
    return x, y


def check_widths(first: int, second: int) -> None:
    """Raise `ValueError` unless two sets of features are equally wide."""
    if first != second:
        raise ValueError(f"features are {first} and {second} wide; they must come from one encoder")


class Jackknife(NamedTuple):
    """A distance of two sets, and its values without each cluster of the first (C1,) and of the second set (C2,)."""

    value: float
    without_1: NDArray[np.float64]
    without_2: NDArray[np.float64]


class Estimate(NamedTuple):
    """An interval, or the reason why there is none."""

    interval: Interval | None
    reason: str | None


def jackknife_influence(without: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (C,) by how much each cluster moves a statistic, from its values (C,) without each cluster in turn.

    The squares sum to the jackknife variance, sum_c (C - 1) / C (t_c - mean t)^2 (Efron and Stein 1981); those of
    independent samples add up.
    """
    count = len(without)
    return np.asarray((without.mean() - without) * math.sqrt((count - 1) / count)) if count else np.empty(0)


def influence_interval(
    value: float,
    *influences: NDArray[np.float64],
    lowest: float = -math.inf,
    highest: float = math.inf,
) -> Estimate:
    """Return Student's interval of a value from the jackknife influences of each sample's clusters.

    The degrees of freedom are Satterthwaite's, estimated from the influences u as 3 (sum u^2)^2 / sum u^4 - 2, at most
    one less than the clusters of each sample: where a few large videos make most of the variance, all clusters are
    worth no more than those few. Equal clusters have C - 1 on average. The centre is moved by the skewness of the
    value, sum u^3 / (sum u^2)^(3/2), in standard errors: two thirds of the second-order term of Hall 1992 (for 95 %),
    whose estimate from 20 clusters scatters too much to be taken whole. Rare events, such as a missed polyp in one of
    ten frames, need it.

    Args:
        influences: of one sample or more, (C,) each; an empty one is of no sample.
        lowest, highest: where the interval is cut off.
    """
    samples = [one for one in influences if len(one)]
    moved = np.concatenate(samples)
    squares, variance = moved**2, float(moved @ moved)
    reason = too_few_clusters(*map(len, samples)) or no_spread(variance, value)
    if reason:
        return Estimate(None, reason)
    most = len(squares) - len(samples)
    error, centre = math.sqrt(variance), value + float(np.sum(moved**3)) / variance
    return t_interval(centre, error, influence_degrees(squares, most), KIND, lowest, highest)


def influence_degrees(squares: NDArray[np.float64], most: int) -> float:
    """Return the degrees of freedom of a variance that is the sum of `squares`; see `influence_interval`."""
    fourth = float(np.sum(squares**2))
    return max(1.0, min(most, 3 * float(squares.sum()) ** 2 / fourth - 2 if fourth else most))


def t_interval(
    value: float, error: float, degrees: float, kind: str, lowest: float = -math.inf, highest: float = math.inf
) -> Estimate:
    """Return `value` plus and minus Student's quantile times its standard error, cut off at `lowest` and `highest`."""
    reach = float(stdtrit(degrees, (1 + LEVEL) / 2)) * error
    return Estimate(Interval(max(lowest, value - reach), min(highest, value + reach), LEVEL, kind), None)


def too_few_clusters(*counts: int) -> str | None:
    """Return why samples of so many clusters (videos, patients, or images that stand alone) have no interval."""
    few = min(counts)
    return f"{few} clusters: too few for an interval, {FEWEST_CLUSTERS} are needed" if few < FEWEST_CLUSTERS else None


def no_spread(variance: float, value: float) -> str | None:
    """Return why a value whose clusters are all alike has no interval: one of no width would claim certainty."""
    return "no spread between clusters to take an interval from" if variance <= (1e-12 * value) ** 2 else None


def cluster_index(n: int, clusters: Sequence[Hashable | None] | None = None) -> NDArray[np.int64]:
    """Return the number (n,) of each value's cluster, 0.. in order of appearance; None stands alone.

    Raises:
        ValueError: not one label a value.
    """
    if clusters is not None and len(clusters) != n:
        raise ValueError(f"{len(clusters)} cluster labels for {n} values; wanted one for each")
    labels: list[Hashable] = [
        ("alone", i) if clusters is None or clusters[i] is None else ("cluster", clusters[i]) for i in range(n)
    ]
    index = {label: k for k, label in enumerate(dict.fromkeys(labels))}
    return np.array([index[label] for label in labels], dtype=np.int64)
