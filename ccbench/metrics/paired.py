"""Paired tests of two methods on the same conditions: means of pair metrics, Frechet and kernel distances."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from ccbench.metrics.frechet_grams import FrechetGrams
from ccbench.metrics.intervals import LEVEL, bootstrap_mean, cluster_index
from ccbench.metrics.kernel import Kernel, prepare_both
from ccbench.metrics.manifold import RealFamily
from ccbench.metrics.reached import Reached
from ccbench.metrics.shares import (
    Array,
    Clusters,
    Features,
    Groups,
    ShareFunction,
    Shares,
    average_shares,
    frechet_shares,
    kernel_shares,
    mean_shares,
    reached_shares,
)
from ccbench.types import Interval

_KIND = "jackknife-less-exchange-t"
_MIXED = 12  # exchanges whose jackknife is taken to learn by how much it is too wide


@dataclass(frozen=True)
class Difference:
    """The difference of two methods, first less second, on the same conditions.

    Attributes:
        value: in the metric's unit. error: its standard error.
        interval: of `value`, level 0.95; None where it cannot be had.
        p: two-sided, of a random exchange of the two methods' images, (1 + count) / (1 + permutations).
        effect: `value` over the standard deviation of one condition's share in it; for a mean that is Cohen's d_z.
            None without spread.
        n: conditions. clusters: independent groups of them.
    """

    value: float
    error: float
    interval: Interval | None
    p: float
    effect: float | None
    n: int
    clusters: int

    def fields(self) -> dict[str, Any]:
        """Return what records keep of it: `difference`, the interval's `low` and `high`, `p`, `effect` and `n`."""
        low, high = (self.interval.low, self.interval.high) if self.interval else (None, None)
        return {"difference": self.value, "low": low, "high": high, "p": self.p, "effect": self.effect, "n": self.n}


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
    sums = np.bincount(cluster_index(len(differences), clusters), weights=differences).astype(np.float64)
    value, spread = float(differences.mean()), float(differences.std(ddof=1))
    return Difference(
        value,
        mean_shares(differences, clusters).error,
        bootstrap_mean(differences, seed, clusters, resamples),
        _sign_flip_p(sums, seed, permutations),
        value / spread if spread else None,
        len(differences),
        len(sums),
    )


def compare_kernel(
    first: Features,
    second: Features,
    reference: Features,
    kernel: Kernel,
    seed: int,
    clusters: Clusters | None = None,
    permutations: int = 10_000,
) -> Difference:
    """Compare the kernel distances (KID: `CUBIC`, CMMD: `GAUSSIAN`) of two methods to the same reference (m, D).

    As `compare_frechet`, and cheap: in the difference of the two U-statistics the pairs within a set enter linearly
    when images are exchanged, since the sum over all pairs of both sets stays. So each condition has a fixed part that
    an exchange gives the other sign, and the exchange test is a sign-flip test of these parts.

    Raises:
        ValueError: as `compare_frechet`, or a row of zeros where the kernel needs directions.
    """
    sets, group = _pair_up(first, second, clusters)
    parts = np.mean([_exchange_parts(a, b, reference, kernel) for a, b in zip(*sets, strict=True)], axis=0)
    sums = np.bincount(group, weights=parts).astype(np.float64)
    stays = _draw_stays(seed, _MIXED, group)
    share = partial(kernel_shares, kernel=kernel)
    value, error = _value_and_error(sets, reference, group, share, stays, float(sums @ sums))
    return _difference(value, error, _sign_flip_p(sums, seed, permutations), group)


def compare_frechet(
    first: Features,
    second: Features,
    reference: Features,
    seed: int,
    clusters: Clusters | None = None,
    permutations: int = 1000,
) -> Difference:
    """Compare the Frechet distances of two methods' features to the same reference (m, D).

    Features are (n, D), row i of both sets made from condition i, or (S, n, D) of S trainings, whose mean distances are
    compared. p exchanges the two images of a condition (of a cluster of them) at random, with the reference held:
    exact at any n where it is chance which method made which image.

    The interval is Student's, of the difference at these n and m, over conditions and references drawn anew. The
    jackknife counts the statistic's second-order terms twice and higher ones more often (Efron and Stein 1981), and
    they are large in so many dimensions: alone it covers 99 % and more. For exchanged sets the spread over exchanges is
    the true variance, so what their jackknife has too much is taken off, down to a third of the jackknife's variance.

    Cost: 2 S `permutations` eigenvalue problems of n rows, whatever D.

    Raises:
        ValueError: the sets do not pair up, fewer than three images or clusters, other widths, or features that are
            not finite.
    """
    sets, group = _pair_up(first, second, clusters)
    stays = _draw_stays(seed, max(permutations, _MIXED), group)
    grams = [FrechetGrams.of(np.vstack(pair), reference) for pair in zip(*sets, strict=True)]
    exchanged = np.mean([_exchanged(one, stays) for one in grams], axis=0)
    variance = float(np.mean(exchanged**2))
    value, error = _value_and_error(sets, reference, group, frechet_shares, stays, variance)
    return _difference(value, error, _exchange_p(value, exchanged[:permutations]), group)


def compare_reached(
    first: Features,
    second: Features,
    reference: Features,
    family: RealFamily,
    seed: int,
    clusters: Clusters | None = None,
    permutations: int = 1000,
) -> Difference:
    """Compare recall or coverage of two methods by the same reference (m, D); see `compare_frechet` for the rest.

    Raises:
        ValueError: as `compare_frechet`, or no more images than neighbours.
    """
    sets, group = _pair_up(first, second, clusters)
    stays, (own, other) = _draw_stays(seed, max(permutations, _MIXED), group), np.arange(2 * len(group)).reshape(2, -1)
    exchanged = []
    for pair in zip(*sets, strict=True):
        reached = Reached(np.vstack(pair), reference, family)
        picked = ((np.where(row, own, other), np.where(row, other, own)) for row in stays)
        exchanged.append([reached.parts(one).mean() - reached.parts(two).mean() for one, two in picked])
    mean, share = np.mean(exchanged, axis=0), partial(reached_shares, family=family)
    value, error = _value_and_error(sets, reference, group, share, stays, float(np.mean(mean**2)))
    return _difference(value, error, _exchange_p(value, mean[:permutations]), group)


def across_seeds(difference: Difference, by_seed: Sequence[float]) -> Difference:
    """Return the difference of two methods from that of the mean of S >= 2 trainings, and each training's (S,).

    `difference` speaks of these trained models on other conditions; the result also of other trainings. The squared
    reach of the interval is the sum of both sources' own: the trainings' differences with S - 1 degrees of freedom and
    the conditions with one less than their clusters (Graybill and Wang 1980). Welch and Satterthwaite's degrees of
    freedom covered 91 % with three trainings: they are many just where the spread is underestimated. p is where the
    interval would end at zero. What depends on both sources is counted twice, so both are on the wide side.

    Of conditions that are all of one cluster nothing can be said: the difference is returned as it is, p 1.
    """
    seeds = len(by_seed)
    parts = np.array([float(np.var(by_seed, ddof=1)) / seeds, difference.error**2])
    if not parts.any() or difference.clusters < 2:
        return difference
    degrees = np.array([seeds - 1, difference.clusters - 1])

    def reach(p: float) -> float:
        return math.sqrt(float(np.sum(parts * stdtrit(degrees, 1 - p / 2) ** 2)))

    value, half = difference.value, reach(1 - LEVEL)
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if reach(middle) > abs(value) else (low, middle)
    interval = Interval(value - half, value + half, LEVEL, f"conditions-and-{seeds}-trainings-t")
    return replace(difference, error=math.sqrt(float(parts.sum())), interval=interval, p=high)


def _pair_up(first: Features, second: Features, clusters: Clusters | None) -> tuple[tuple[Features, Features], Groups]:
    """Return both sides as (S, n, D), and the number of each condition's cluster."""
    if first.shape != second.shape or first.ndim not in (2, 3):
        raise ValueError(f"features have shapes {first.shape} and {second.shape}; paired sets have equal ones")
    sides = (first[None], second[None]) if first.ndim == 2 else (first, second)
    return sides, cluster_index(sides[0].shape[1], clusters)


def _draw_stays(seed: int, count: int, group: Groups) -> NDArray[np.bool_]:
    """Return (count, n), False where a condition exchanges its images; a cluster stays or goes as one."""
    rng = np.random.default_rng([seed, 1])
    return rng.integers(2, size=(count, int(group.max()) + 1), dtype=np.int8)[:, group] > 0


def _value_and_error(
    sets: tuple[Features, Features],
    reference: Features,
    group: Groups,
    share: ShareFunction,
    stays: NDArray[np.bool_],
    exchange_variance: float,
) -> tuple[float, float]:
    """Return the difference and its standard error: the jackknife's, less its excess; see `compare_frechet`."""

    def jackknife(sides: tuple[Features, Features]) -> Shares:
        first, second = (average_shares([share(one, reference, group) for one in side]) for side in sides)
        return first.less(second)

    own = jackknife(sets)
    mixed = [jackknife(_exchange(sets, row)).error ** 2 for row in stays[:_MIXED]]
    excess = max(float(np.mean(mixed)) - exchange_variance, 0.0)
    return own.value, math.sqrt(max(own.error**2 - excess, own.error**2 / 3))


def _exchange_parts(first: Features, second: Features, reference: Features, kernel: Kernel) -> Array:
    """Return (n,) what each condition adds to the difference of the U-statistics, and takes from it exchanged."""
    pooled, y = prepare_both(np.vstack([first, second]), reference, kernel)
    n, m = len(first), len(y)
    within = kernel.across(pooled, pooled)
    np.fill_diagonal(within, 0.0)
    of_image = within.sum(axis=1) / (n * (n - 1)) - 2 * kernel.across(pooled, y).sum(axis=1) / (n * m)
    return np.asarray(kernel.scale * (of_image[:n] - of_image[n:]))


def _exchanged(grams: FrechetGrams, stays: NDArray[np.bool_]) -> Array:
    """Return the difference (P,) of the distances when conditions exchange their images where not `stays` (P, n)."""
    n = stays.shape[1]
    own = np.arange(2 * n).reshape(2, n)
    return grams.distances(np.where(stays, own[0], own[1])) - grams.distances(np.where(stays, own[1], own[0]))


def _exchange(sets: tuple[Features, Features], stays: NDArray[np.bool_]) -> tuple[Features, Features]:
    return np.where(stays[:, None], sets[0], sets[1]), np.where(stays[:, None], sets[1], sets[0])


def _sign_flip_p(sums: Array, seed: int, permutations: int) -> float:
    rng = np.random.default_rng(seed)
    blocks = [min(1000, permutations - start) for start in range(0, permutations, 1000)]
    flipped = [(2.0 * rng.integers(2, size=(size, len(sums)), dtype=np.int8) - 1) @ sums for size in blocks]
    return _exchange_p(float(sums.sum()), np.concatenate([np.empty(0), *flipped]))


def _exchange_p(value: float, exchanged: Array) -> float:
    # An exchange of everything gives the same size but for rounding, and must count.
    slack = 1e-9 * float(np.max(np.abs(exchanged), initial=abs(value)))
    return (1 + int(np.sum(np.abs(exchanged) >= abs(value) - slack))) / (1 + len(exchanged))


def _difference(value: float, error: float, p: float, group: Groups) -> Difference:
    count = int(group.max()) + 1
    effect = value / (error * math.sqrt(count)) if error else None
    return Difference(value, error, _t_interval(value, error, count - 1, _KIND), p, effect, len(group), count)


def _t_interval(value: float, error: float, degrees: float, kind: str) -> Interval:
    reach = float(stdtrit(degrees, (1 + LEVEL) / 2)) * error
    return Interval(value - reach, value + reach, LEVEL, kind)
