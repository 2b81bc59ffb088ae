"""What a table of methods may claim: Holm's correction, tie groups, rank stability and the spread over seeds."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ccbench.metrics import Direction

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RankStability:
    """Ranks of K methods over resamples.

    Attributes:
        shares: (K, K), share of resamples in which method i is of rank j, best = 0.
        low, high: (K,) ranks that hold the central 95 % of a method's resamples.
    """

    shares: Array
    low: NDArray[np.int64]
    high: NDArray[np.int64]


@dataclass(frozen=True)
class SeedSpread:
    """One metric over several seeds of a method.

    Attributes:
        between: standard deviation of the seeds' values (n - 1); None for one seed.
        within: root mean square of the seeds' own standard errors.
    """

    mean: float
    between: float | None
    within: float
    seeds: int


def holm(p: Sequence[float] | Array) -> Array:
    """Return Holm's adjusted p-values (K,) (Holm 1979), in the order given: at most alpha = rejected at alpha.

    Raises:
        ValueError: a p-value is not in 0..1.
    """
    values = np.asarray(p, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"p-values {values}, wanted each in 0..1")
    order = np.argsort(values, kind="stable")
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)), 1.0)
    return adjusted


def tie_groups(p: Array, alpha: float = 0.05) -> list[tuple[int, ...]]:
    """Return the groups of methods that cannot be told apart: two share a group exactly when p does not separate them.

    p (K, K) holds uncorrected pairwise p-values, of which the upper triangle is read and Holm-corrected. A method may
    be in several groups: if A ties with B and B with C, but A differs from C, the groups are (A, B) and (B, C).

    Returns:
        Rows of p in rising order, groups ordered by their rows.

    Raises:
        ValueError: not a square matrix, or a p-value is not in 0..1.
    """
    if p.ndim != 2 or p.shape[0] != p.shape[1]:
        raise ValueError(f"p-values have shape {p.shape}, wanted (K, K)")
    upper = np.triu_indices(len(p), k=1)
    tied = np.zeros(p.shape, dtype=bool)
    tied[upper] = holm(p[upper]) > alpha
    tied |= tied.T
    return sorted(_cliques(tied, (), list(range(len(p))), []))


def _cliques(
    tied: NDArray[np.bool_], clique: tuple[int, ...], candidates: list[int], done: list[int]
) -> Iterator[tuple[int, ...]]:
    """Yield every maximal set of rows that are tied with each other (Bron and Kerbosch 1973, without pivots)."""
    if clique and not candidates and not done:
        yield tuple(sorted(clique))
    while candidates:
        row = candidates.pop(0)
        yield from _cliques(
            tied, (*clique, row), [c for c in candidates if tied[row, c]], [d for d in done if tied[row, d]]
        )
        done = [*done, row]


def rank_stability(resampled: Array, direction: Direction) -> RankStability:
    """Return how the ranks of K methods vary over values (B, K) that were resampled together; ties go to the earlier.

    Raises:
        ValueError: not (B, K) or not finite.
    """
    if resampled.ndim != 2 or not resampled.size or not np.isfinite(resampled).all():
        raise ValueError(f"values have shape {resampled.shape} or are not finite, wanted finite (B, K)")
    better_first = resampled if direction == "down" else -resampled
    ranks = np.argsort(np.argsort(better_first, axis=1, kind="stable"), axis=1)
    shares = np.stack([np.mean(ranks == rank, axis=0) for rank in range(resampled.shape[1])], axis=1)
    low, high = np.quantile(ranks, [0.025, 0.975], axis=0, method="inverted_cdf").astype(np.int64)
    return RankStability(shares, low, high)


def seed_spread(values: Sequence[float], errors: Sequence[float]) -> SeedSpread:
    """Return mean and spread of one metric over seeds, from each seed's value and standard error.

    Raises:
        ValueError: no values, or not one error a value.
    """
    if not values or len(values) != len(errors):
        raise ValueError(f"{len(values)} values and {len(errors)} standard errors; wanted one of each for every seed")
    between = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return SeedSpread(float(np.mean(values)), between, math.sqrt(float(np.mean(np.square(errors)))), len(values))
