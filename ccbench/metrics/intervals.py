"""Confidence intervals: the two-sample jackknife and the seeded, clustered bootstrap of a mean."""

import math
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from ccbench.types import Interval

LEVEL = 0.95
NORMAL_QUANTILE = 1.959963984540054  # of LEVEL, two-sided


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


def jackknife_error(*deleted: NDArray[np.float64]) -> float:
    """Return the delete-one jackknife standard error of a statistic of independent samples.

    Args:
        deleted: for each sample, (n,) values of the statistic with element i of that sample left out.

    Efron and Stein 1981, summed over the samples: sqrt(sum_k (n_k - 1) / n_k sum_i (t_ki - mean t_k)^2).
    """
    return math.sqrt(sum((len(t) - 1) / len(t) * float(np.sum((t - t.mean()) ** 2)) for t in deleted))


def normal_interval(value: float, error: float, kind: str, lowest: float = -math.inf) -> Interval:
    """Return `value` plus and minus 1.96 standard errors, cut off at `lowest`."""
    reach = NORMAL_QUANTILE * error
    return Interval(low=max(lowest, value - reach), high=value + reach, level=LEVEL, kind=kind)


def bootstrap_mean(
    values: NDArray[np.floating],
    seed: int,
    clusters: Sequence[Hashable | None] | None = None,
    resamples: int = 2000,
) -> Interval | None:
    """Return the percentile bootstrap interval of the mean of `values` (n,).

    Args:
        clusters: one label a value, such as a video: whole clusters are resampled, since frames of one video are not
            independent. None, as a whole or for one value, means that it stands alone.

    Returns:
        None when there are fewer than two clusters.
    """
    return bootstrap_ratio(values, np.ones(len(values)), seed, clusters, resamples)


def bootstrap_ratio(
    above: NDArray[np.floating],
    below: NDArray[np.floating],
    seed: int,
    clusters: Sequence[Hashable | None] | None = None,
    resamples: int = 2000,
) -> Interval | None:
    """Return the interval of sum(above) / sum(below), both (n,), over resamples as of `bootstrap_mean`.

    Returns:
        None when there are fewer than two clusters, or when a resample can have nothing below.
    """
    group = cluster_index(len(above), clusters)
    count = int(group.max(initial=-1)) + 1
    tops, bottoms = (np.bincount(group, weights=np.asarray(part, dtype=np.float64)) for part in (above, below))
    if count < 2 or not bottoms.all():
        return None
    rng = np.random.default_rng(seed)
    draws = rng.integers(count, size=(resamples, count))
    ratios = tops[draws].sum(axis=1) / bottoms[draws].sum(axis=1)
    low, high = np.quantile(ratios, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    kind = "bootstrap" if count == len(group) else "cluster-bootstrap"
    return Interval(low=float(low), high=float(high), level=LEVEL, kind=f"{kind}-percentile-{resamples}")


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
