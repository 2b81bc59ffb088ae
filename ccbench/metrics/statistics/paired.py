"""Paired tests of two methods on the same conditions: means of pair metrics, Frechet and kernel distances."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import stdtrit

from ccbench.metrics.sets.frechet_grams import FrechetGrams
from ccbench.metrics.sets.kernel import Kernel, prepare_both
from ccbench.metrics.sets.manifold import ImageFamily, RealFamily, manifold_scores
from ccbench.metrics.sets.manifold_influence import ManifoldShares
from ccbench.metrics.sets.pooled_manifold import Reached
from ccbench.metrics.statistics.influence import (
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
)
from ccbench.metrics.statistics.intervals import (
    LEVEL,
    Estimate,
    cluster_index,
    influence_degrees,
    no_spread,
    t_interval,
    too_few_clusters,
)
from ccbench.types import Interval

_KIND = "cluster-jackknife-less-exchange-t"
_LEAST_P = 2.0**-52  # below it 1 - p / 2 is 1
_MIXED = 12  # exchanges whose jackknife is taken to learn by how much it is too wide


@dataclass(frozen=True)
class Difference:
    """The difference of two methods, first less second, on the same conditions.

    Attributes:
        value: in the metric's unit.
        error: its standard error.
        interval: of `value`, level 0.95; None where `no_interval` says why.
        p: two-sided, of a random exchange of the two methods' images, (1 + count) / (1 + permutations).
        effect: `value` over the standard deviation of one condition's share in it; for a mean that is Cohen's d_z. None
            without spread.
        n: conditions.
        clusters: independent groups of them.
        degrees: degrees of freedom of `error`; None = one less than `clusters`.
    """

    value: float
    error: float
    interval: Interval | None
    p: float
    effect: float | None
    n: int
    clusters: int
    degrees: float | None = None
    no_interval: str | None = None

    def fields(self) -> dict[str, Any]:
        """Return what records keep of it, under the names that it has there."""
        low, high = (self.interval.low, self.interval.high) if self.interval else (None, None)
        return {
            "difference": self.value,
            "low": low,
            "high": high,
            "no_interval": self.no_interval,
            "p": self.p,
            "effect": self.effect,
            "n": self.n,
            "clusters": self.clusters,
        }


def compare_means(
    first: Features,
    second: Features,
    seed: int,
    clusters: Clusters | None = None,
    permutations: int = 10_000,
) -> Difference:
    """Compare the means of a pair metric, such as CLIP-score, of two methods on the same conditions, (n,) each.

    Sign-flip test (Fisher 1935) and jackknife of whole clusters.

    Raises:
        ValueError: the values do not pair up, are fewer than two or not finite, or labels do not fit.
    """
    if first.shape != second.shape or first.ndim != 1 or len(first) < 2:
        raise ValueError(f"values have shapes {first.shape} and {second.shape}, wanted two equal (n,), n >= 2")
    differences = np.asarray(first, dtype=np.float64) - second
    if not np.isfinite(differences).all():
        raise ValueError(f"{int((~np.isfinite(differences)).sum())} pairs are not finite; leave them out and say so")
    sums = np.bincount(cluster_index(len(differences), clusters), weights=differences).astype(np.float64)
    shares, spread = mean_shares(differences, clusters), float(differences.std(ddof=1))
    return _found(
        shares,
        shares.error,
        shares.interval(),
        _sign_flip_p(sums, seed, permutations),
        shares.value / spread if spread else None,
        len(differences),
    )


def compare_kernel(
    first: Features,
    second: Features,
    reference: Features,
    kernel: Kernel,
    seed: int,
    clusters: Clusters | None = None,
    permutations: int = 10_000,
    reference_clusters: Clusters | None = None,
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
    share = partial(kernel_shares, kernel=kernel, own=False)
    groups = group, cluster_index(len(reference), reference_clusters)
    own, error = _less_excess(sets, reference, groups, share, stays, float(sums @ sums))
    return _difference(own, error, _sign_flip_p(sums, seed, permutations), len(group))


def compare_frechet(
    first: Features,
    second: Features,
    reference: Features,
    seed: int,
    clusters: Clusters | None = None,
    permutations: int = 1000,
    reference_clusters: Clusters | None = None,
) -> Difference:
    """Compare the Frechet distances of two methods' features to the same reference (m, D).

    Features are (n, D), row i of both sets made from condition i, or (S, n, D) of S trainings, whose mean distances are
    compared. p exchanges the two images of a condition (of a cluster of them) at random, with the reference held:
    exact at any n where it is chance which method made which image.

    The interval is Student's, of the difference at these n and m, over conditions and references drawn anew, whole
    clusters of both. The jackknife counts the statistic's second-order terms twice and higher ones more often (Efron
    and Stein 1981), and they are large in so many dimensions: alone it covers 99 % and more. For exchanged sets the
    spread over exchanges is the true variance, so what their jackknife has too much is taken off, down to a third of
    the jackknife's variance.

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
    groups = group, cluster_index(len(reference), reference_clusters)
    own, error = _less_excess(sets, reference, groups, frechet_shares, stays, variance)
    return _difference(own, error, _exchange_p(own.value, exchanged[:permutations]), len(group))


def compare_manifold(
    first: Features,
    second: Features,
    reference: Features,
    family: ImageFamily | RealFamily,
    seed: int,
    clusters: Clusters | None = None,
    permutations: int = 1000,
    reference_clusters: Clusters | None = None,
) -> Difference:
    """Compare precision, recall, density or coverage of two methods by the same reference (m, D).

    Features as for `compare_frechet`. p exchanges the two images of a condition (of a cluster of them) at random: for
    precision and density, which are means over the images, a sign-flip test. The interval is that of `ManifoldShares`.

    Raises:
        ValueError: as `compare_frechet`, or no more images than neighbours.
    """
    sets, group = _pair_up(first, second, clusters)
    reference_group = cluster_index(len(reference), reference_clusters)
    if family == "precision" or family == "density":
        parts = [np.mean([getattr(manifold_scores(one, reference), family) for one in side], axis=0) for side in sets]
        sums = np.bincount(group, weights=parts[0] - parts[1]).astype(np.float64)
        p = _sign_flip_p(sums, seed, permutations)
    else:
        p = _reached_p(sets, reference, family, _draw_stays(seed, permutations, group))
    a, b = (
        average_shares([ManifoldShares(one, reference, group, reference_group).of(family) for one in side])
        for side in sets
    )
    own = a.less(b)
    effect = own.value / (own.error * math.sqrt(len(own.conditions))) if own.error else None
    return _found(own, own.error, own.interval(), p, effect, len(group))


def _reached_p(
    sets: tuple[Features, Features], reference: Features, family: RealFamily, stays: NDArray[np.bool_]
) -> float:
    n = stays.shape[1]
    own, other = np.arange(2 * n).reshape(2, n)
    values, exchanged = [], []
    for pair in zip(*sets, strict=True):
        reached = Reached(np.vstack(pair), reference, family)
        values.append(reached.parts(own).mean() - reached.parts(other).mean())
        picked = ((np.where(row, own, other), np.where(row, other, own)) for row in stays)
        exchanged.append([reached.parts(one).mean() - reached.parts(two).mean() for one, two in picked])
    return _exchange_p(float(np.mean(values)), np.mean(exchanged, axis=0))


def across_seeds(difference: Difference, by_seed: Sequence[float]) -> Difference:
    """Return the difference of two methods from that of the mean of S >= 2 trainings, and each training's (S,).

    `difference` speaks of these trained models on other conditions; the result also of other trainings. The squared
    reach of the interval is the sum of both sources' own: the trainings' differences with S - 1 degrees of freedom and
    the conditions with those of their clusters (Graybill and Wang 1980). Welch and Satterthwaite's degrees of
    freedom covered 91 % with three trainings: they are many just where the spread is underestimated. p is where the
    interval would end at zero. What depends on both sources is counted twice, so both are on the wide side.

    Of conditions that are all of one cluster nothing can be said: the difference is returned as it is, p 1.
    """
    seeds = len(by_seed)
    parts = np.array([float(np.var(by_seed, ddof=1)) / seeds, difference.error**2])
    if not parts.any() or difference.clusters < 2:
        return difference
    degrees = np.array([seeds - 1, difference.degrees or difference.clusters - 1])[parts > 0]
    parts = parts[parts > 0]

    def reach(p: float) -> float:
        return math.sqrt(float(np.sum(parts * stdtrit(degrees, 1 - p / 2) ** 2)))

    value, half = difference.value, reach(1 - LEVEL)
    p = (
        _LEAST_P
        if reach(_LEAST_P) <= abs(value)
        else brentq(lambda p: reach(p) - abs(value), _LEAST_P, 1.0, xtol=1e-15)
    )
    interval = Interval(value - half, value + half, LEVEL, f"conditions-and-{seeds}-trainings-t")
    few = too_few_clusters(difference.clusters)
    error, shown = math.sqrt(float(parts.sum())), None if few else interval
    return replace(difference, error=error, interval=shown, no_interval=few, p=p)


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


def _less_excess(
    sets: tuple[Features, Features],
    reference: Features,
    groups: tuple[Groups, Groups],
    share: ShareFunction,
    stays: NDArray[np.bool_],
    exchange_variance: float,
) -> tuple[Shares, float]:
    """Return the difference's shares and its standard error: the jackknife's, less its excess; see `compare_frechet`.

    Args:
        groups: numbers of the conditions' and of the reference's clusters.
    """

    def jackknife(sides: tuple[Features, Features]) -> Shares:
        first, second = (average_shares([share(one, reference, *groups) for one in side]) for side in sides)
        return first.less(second)

    own = jackknife(sets)
    mixed = [jackknife(_exchange(sets, row)).error ** 2 for row in stays[:_MIXED]]
    excess = max(float(np.mean(mixed)) - exchange_variance, 0.0)
    return own, math.sqrt(max(own.error**2 - excess, own.error**2 / 3))


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


def _difference(own: Shares, error: float, p: float, n: int) -> Difference:
    """Return the difference of two set distances with the standard error that its shares' excess was taken off."""
    counts = len(own.conditions), len(own.reference)
    reason = too_few_clusters(*counts) or no_spread(error**2, own.value)
    estimate = Estimate(None, reason) if reason else t_interval(own.value, error, _degrees(own), _KIND)
    effect = own.value / (error * math.sqrt(counts[0])) if error else None
    return _found(own, error, estimate, p, effect, n)


def _found(own: Shares, error: float, estimate: Estimate, p: float, effect: float | None, n: int) -> Difference:
    count = len(own.conditions)
    return Difference(own.value, error, estimate.interval, p, effect, n, count, _degrees(own), estimate.reason)


def _degrees(own: Shares) -> float:
    samples = [one for one in (own.conditions, own.reference) if len(one)]
    squares = np.concatenate(samples) ** 2
    return influence_degrees(squares, max(1, len(squares) - len(samples)))
