"""What a table of methods may claim: Holm's correction, tie groups and rank stability."""

from collections.abc import Sequence
from dataclasses import dataclass

import networkx
import numpy as np
from numpy.typing import NDArray

from ccbench.metrics import Direction
from ccbench.metrics.statistics.influence import Shares

Array = NDArray[np.float64]

ALPHA = 0.05
"""Corrected p-values up to this are significant."""


@dataclass(frozen=True, eq=False)
class RankStability:
    """Ranks of K methods over resamples.

    Attributes:
        low, high: (K,) ranks that hold the central 95 % of a method's resamples.
    """

    low: NDArray[np.int64]
    high: NDArray[np.int64]


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


def tie_groups(apart: NDArray[np.bool_]) -> list[tuple[int, ...]]:
    """Return the groups of methods without a significant difference: two share one exactly when they are not `apart`.

    `apart` (K, K) says which pairs a corrected p-value separates; its upper triangle is read. A method may be in
    several groups: if A ties with B and B with C, but A differs from C, the groups are (A, B) and (B, C).

    Returns:
        Rows in rising order, groups ordered by their rows.

    Raises:
        ValueError: not a square matrix.
    """
    if apart.ndim != 2 or apart.shape[0] != apart.shape[1]:
        raise ValueError(f"the table of pairs has shape {apart.shape}, wanted (K, K)")
    ties = networkx.Graph(zip(*np.nonzero(np.triu(~apart, k=1)), strict=True))
    ties.add_nodes_from(range(len(apart)))
    return sorted(tuple(sorted(int(row) for row in clique)) for clique in networkx.find_cliques(ties))


def rank_stability(resampled: Array, direction: Direction) -> RankStability:
    """Return how the ranks of K methods vary over values (B, K) that were resampled together; ties go to the earlier.

    Raises:
        ValueError: not (B, K) or not finite.
    """
    if resampled.ndim != 2 or not resampled.size or not np.isfinite(resampled).all():
        raise ValueError(f"values have shape {resampled.shape} or are not finite, wanted finite (B, K)")
    better_first = {"up": -resampled, "down": resampled, "zero": np.abs(resampled)}[direction]
    ranks = np.argsort(np.argsort(better_first, axis=1, kind="stable"), axis=1)
    low, high = np.quantile(ranks, [0.025, 0.975], axis=0, method="inverted_cdf").astype(np.int64)
    return RankStability(low, high)


def resample_values(methods: Sequence[Sequence[Shares]], seed: int, resamples: int = 2000) -> Array:
    """Return values (resamples, K) of one metric of K methods, each with the shares of its trainings, for ranks.

    Conditions and references are drawn with replacement, the same for every method, and each method's trainings are
    drawn on their own. A draw moves a value by the shares of what was drawn, to first order: repeated images in a
    resampled set would move a Frechet distance by more than the sampling does.
    """
    rng = np.random.default_rng(seed)
    one = methods[0][0]
    rows, columns = (
        rng.multinomial(size, np.full(size, 1 / size), resamples) - 1.0 if size else np.empty((resamples, 0))
        for size in (len(one.conditions), len(one.reference))
    )
    values = np.empty((resamples, len(methods)))
    for k, trainings in enumerate(methods):
        moved = np.array([part.value + rows @ part.conditions + columns @ part.reference for part in trainings])
        drawn = rng.multinomial(len(trainings), np.full(len(trainings), 1 / len(trainings)), resamples)
        values[:, k] = np.sum(drawn.T * moved, axis=0) / len(trainings)
    return values
