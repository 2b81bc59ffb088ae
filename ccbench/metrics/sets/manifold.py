"""Precision, recall, density and coverage: where two sets lie in each other's nearest-neighbour balls."""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ccbench.metrics.statistics.intervals import check_both

Array = NDArray[np.float64]

NEIGHBOURS = 5
"""k of all four."""

ImageFamily = Literal["precision", "density"]
"""Means of one value for each synthetic image."""

RealFamily = Literal["recall", "coverage"]
"""Means of one value for each real image, which all synthetic images together decide."""


class ManifoldScores(NamedTuple):
    """The parts of four scores, whose means are the scores.

    Attributes:
        precision: (N,) 1 = the synthetic image lies in a real image's ball.
        density: (N,) such balls, divided by k.
        recall: (M,) 1 = the real image lies in a synthetic image's ball.
        coverage: (M,) 1 = the real image's own ball holds a synthetic image.
    """

    precision: Array
    recall: Array
    density: Array
    coverage: Array


def manifold_scores(
    synthetic: NDArray[np.floating], real: NDArray[np.floating], k: int = NEIGHBOURS, block: int = 512
) -> ManifoldScores:
    """Return the parts of the four scores for features (N, D) and (M, D).

    Kynkaanniemi et al. 2019, equations 1 and 2 (precision, recall), Naeem et al. 2020, equations 3 and 4 (density,
    coverage). An image's ball reaches to its k-th nearest neighbour of its own set, itself not counted. All four
    depend on n: compare at equal n and m. Memory is `block` x (N + M).

    Differs from Kynkaanniemi et al.: k = 5 in place of 3 and open balls, as in Naeem et al. and their package `prdc`.

    Raises:
        ValueError: a set has at most k images, other widths, or features that are not finite.
    """
    x, y = centred(synthetic, real, k)
    reach_x, reach_y = reach_of(x, k, block), reach_of(y, k, block)
    balls, recall, coverage = np.empty(len(x)), np.zeros(len(y), dtype=bool), np.zeros(len(y), dtype=bool)
    for start in range(0, len(x), block):
        part = slice(start, start + block)
        squares = squares_of(x[part], y)  # (block, M)
        inside = squares < reach_y
        balls[part] = inside.sum(axis=1)
        coverage |= inside.any(axis=0)  # the nearest synthetic image is nearer than the k-th real neighbour
        recall |= (squares < reach_x[part, None]).any(axis=0)
    return ManifoldScores((balls > 0).astype(float), recall.astype(float), balls / k, coverage.astype(float))


def centred(synthetic: NDArray[np.floating], real: NDArray[np.floating], k: int) -> tuple[Array, Array]:
    """Return features (N, D) and (M, D) less the real ones' mean: squares of short vectors lose fewer digits.

    Raises:
        ValueError: see `manifold_scores`.
    """
    x, y = check_both(synthetic, real, "synthetic set", "real set")
    if k < 1:
        raise ValueError(f"k is {k}, wanted at least 1 neighbour")
    for name, rows in (("synthetic set", x), ("real set", y)):
        if len(rows) <= k:
            raise ValueError(f"{name}: {len(rows)} images, more than k = {k} are needed for {k} nearest neighbours")
    centre = y.mean(axis=0)
    return x - centre, y - centre


def reach_of(x: Array, k: int, block: int) -> Array:
    """Return the squared distance (N,) of each row to its k-th nearest other row."""
    reach = np.empty(len(x))
    for start in range(0, len(x), block):
        squares = squares_of(x[start : start + block], x)
        squares[np.arange(len(squares)), start + np.arange(len(squares))] = np.inf
        reach[start : start + block] = kth_smallest(squares, k)
    return reach


def kth_smallest(squares: Array, k: int) -> Array:
    """Return the k-th smallest of each row, (N,)."""
    return np.asarray(np.partition(squares, k - 1, axis=1)[:, k - 1])


def squares_of(x: Array, y: Array) -> Array:
    """Return the squared distances (N, M) of rows (N, D) to rows (M, D)."""
    products = np.sum(x**2, axis=1)[:, None] + np.sum(y**2, axis=1) - 2 * (x @ y.T)
    return np.asarray(np.maximum(products, 0.0))
