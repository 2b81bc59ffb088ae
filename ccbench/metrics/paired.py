"""Paired tests of two methods on the same conditions: the mean of a pair metric, and the Frechet distance."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ccbench.metrics.frechet import delete_one_distances
from ccbench.metrics.frechet_grams import FrechetGrams
from ccbench.metrics.intervals import bootstrap_mean, cluster_index, jackknife_error, normal_interval
from ccbench.types import Interval

Array = NDArray[np.float64]
Features = NDArray[np.floating]
Groups = NDArray[np.int64]
Clusters = Sequence[Hashable | None]


@dataclass(frozen=True)
class Difference:
    """The difference of two methods, first less second, on the same conditions.

    Attributes:
        value: in the metric's unit. interval: of `value`, level 0.95; None where it cannot be had.
        p: two-sided, of a random exchange of the two methods' images, (1 + count) / (1 + permutations).
        effect: `value` over the standard deviation of one condition's share in it; for a mean that is Cohen's d_z.
            None without spread.
        n: conditions. clusters: independent groups of them.
    """

    value: float
    interval: Interval | None
    p: float
    effect: float | None
    n: int
    clusters: int


def compare_means(
    first: Features,
    second: Features,
    seed: int,
    clusters: Clusters | None = None,
    resamples: int = 2000,
    permutations: int = 10_000,
) -> Difference:
    """Compare the means of a pair metric, such as CLIP-score, of two methods on the same conditions, (n,) each.

    Sign-flip test (Fisher 1935) of whole clusters, percentile bootstrap of whole clusters. Below some thirty clusters
    the interval is too narrow.

    Raises:
        ValueError: the values do not pair up, are fewer than two or not finite, or labels do not fit.
    """
    if first.shape != second.shape or first.ndim != 1 or len(first) < 2:
        raise ValueError(f"values have shapes {first.shape} and {second.shape}, wanted two equal (n,), n >= 2")
    differences = np.asarray(first, dtype=np.float64) - second
    if not np.isfinite(differences).all():
        raise ValueError(f"{int((~np.isfinite(differences)).sum())} pairs are not finite; leave them out and say so")
    group = cluster_index(len(differences), clusters)
    sums = np.bincount(group, weights=differences)
    rng = np.random.default_rng(seed)
    blocks = [min(1000, permutations - start) for start in range(0, permutations, 1000)]
    flipped = np.concatenate([rng.choice([-1.0, 1.0], size=(size, len(sums))) @ sums for size in blocks])
    value, spread = float(differences.mean()), float(differences.std(ddof=1))
    return Difference(
        value,
        bootstrap_mean(differences, seed, clusters, resamples),
        _exchange_p(float(sums.sum()), flipped),
        value / spread if spread else None,
        len(differences),
        len(sums),
    )


def compare_frechet(
    first: Features,
    second: Features,
    reference: Features,
    seed: int,
    clusters: Clusters | None = None,
    resamples: int = 1000,
    permutations: int = 1000,
) -> Difference:
    """Compare the Frechet distances of two methods' features (n, D) to the same reference (m, D).

    Row i of both sets was made from condition i. p exchanges the two images of a condition (of a cluster of them) at
    random, with the reference held: exact at any n where it is chance which method made which image.

    The interval is of the difference at these n and m, over conditions and references drawn anew. It is normal, its
    variance 2 jackknife - bootstrap: of the statistic's second-order terms, large in so many dimensions, the paired
    jackknife counts each twice and the paired bootstrap three times (Efron and Stein 1981), so either alone covers
    99 % and more between equal methods. Never less than half the jackknife's, which is the least that orders one and
    two allow.

    Cost: `resamples` + `permutations` eigenvalue problems of min(n, m) rows, whatever D.

    Raises:
        ValueError: the sets do not pair up, fewer than three images or clusters, other widths, or features that are
            not finite.
    """
    if first.shape != second.shape:
        raise ValueError(f"features have shapes {first.shape} and {second.shape}; paired sets have equal ones")
    group = cluster_index(len(first), clusters)
    n, count = len(first), int(group.max(initial=-1)) + 1
    if min(count, len(reference)) < 3:
        raise ValueError(f"{count} independent conditions and {len(reference)} references, at least 3 are needed")
    grams = FrechetGrams.of(np.vstack([first, second]), reference)
    own, every = np.repeat(np.eye(2), n, axis=1), np.ones(len(reference))
    value = _difference(grams, own[0], own[1], every)
    error = math.sqrt(_variance(grams, (first, second), reference, group, resamples, seed))
    rng = np.random.default_rng([seed, 1])
    exchanged = np.empty(permutations)
    for k in range(permutations):
        stays = rng.integers(2, size=count)[group]
        exchanged[k] = _difference(grams, np.r_[stays, 1 - stays], np.r_[1 - stays, stays], every)
    return Difference(
        value,
        normal_interval(value, error, f"jackknife-bootstrap-normal-{resamples}"),
        _exchange_p(value, exchanged),
        value / (error * math.sqrt(count)) if error else None,
        n,
        count,
    )


def resample_frechet(
    sets: Sequence[Features],
    reference: Features,
    seed: int,
    clusters: Clusters | None = None,
    resamples: int = 1000,
) -> Array:
    """Return Frechet distances (resamples, K) of K methods' features (n, D), all resampled together, for ranks.

    Conditions (whole clusters of them) and references are drawn with replacement, the same for every method. Each row
    lacks the reference's own part, equal for all its methods: only differences along a row have a meaning.

    Raises:
        ValueError: sets of unequal shape, or as `compare_frechet`.
    """
    if len({one.shape for one in sets}) != 1:
        raise ValueError(f"features have shapes {[one.shape for one in sets]}; methods are ranked on equal conditions")
    grams = [FrechetGrams.of(one, reference) for one in sets]
    group = cluster_index(len(sets[0]), clusters)
    rng = np.random.default_rng(seed)
    values = np.empty((resamples, len(sets)))
    for row in values:
        rows, columns = _draw(rng, group), _draw(rng, np.arange(len(reference)))
        row[:] = [one.distance(rows, columns) for one in grams]
    return values


def _variance(
    grams: FrechetGrams, sets: tuple[Features, Features], reference: Features, group: Groups, resamples: int, seed: int
) -> float:
    n, m, count = len(group), len(reference), int(group.max()) + 1
    (a_less, ref_a), (b_less, ref_b) = (delete_one_distances(one, reference) for one in sets)
    without = a_less - b_less
    if count < n:
        kept = [(group != k).astype(float) for k in range(count)]
        without = np.array([_difference(grams, *_both(rows), np.ones(m)) for rows in kept])
    jackknife = jackknife_error(without, ref_a - ref_b) ** 2
    rng = np.random.default_rng([seed, 0])
    draws = [_difference(grams, *_both(_draw(rng, group)), _draw(rng, np.arange(m))) for _ in range(resamples)]
    return max(2 * jackknife - float(np.var(draws, ddof=1)), jackknife / 2)


def _both(rows: Array) -> tuple[Array, Array]:
    """Return the counts of the pooled images that take the same conditions from either method."""
    nothing = np.zeros(len(rows))
    return np.r_[rows, nothing], np.r_[nothing, rows]


def _difference(grams: FrechetGrams, first: Array, second: Array, columns: Array) -> float:
    return grams.distance(first, columns) - grams.distance(second, columns)


def _draw(rng: np.random.Generator, group: Groups) -> Array:
    """Return how often each image is drawn when its clusters are drawn with replacement."""
    count = int(group.max()) + 1
    return np.bincount(rng.integers(count, size=count), minlength=count)[group].astype(float)


def _exchange_p(value: float, exchanged: Array) -> float:
    # An exchange of everything gives the same size but for rounding, and must count.
    slack = 1e-9 * float(np.max(np.abs(exchanged), initial=abs(value)))
    return (1 + int(np.sum(np.abs(exchanged) >= abs(value) - slack))) / (1 + len(exchanged))
