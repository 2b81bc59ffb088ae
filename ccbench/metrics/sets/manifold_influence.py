"""What each cluster of images moves precision, recall, density and coverage by: where their intervals come from."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ccbench.metrics import SetFamily
from ccbench.metrics.sets.manifold import NEIGHBOURS, Array, centred, kth_smallest, squares_of
from ccbench.metrics.statistics.influence import Groups, Shares, mean_shares
from ccbench.metrics.statistics.intervals import jackknife_influence

Features = NDArray[np.floating]

MOST_IMAGES = 6000
"""Of a set, for its shares: the distances of all pairs are held in memory."""

_COUNTED = {"precision": 2.5, "recall": 2.5, "density": 1.5, "coverage": 2.5}
"""How often the jackknife counts what one set moves through its balls; see `ManifoldShares`."""


class _Moved(NamedTuple):
    """A set's balls without one cluster: who is out and left, which balls grew, and their new reach."""

    out: NDArray[np.int64]
    left: NDArray[np.int64]
    grown: NDArray[np.int64]
    reach: Array


class ManifoldShares:
    """The four scores of one set of images and a reference, by the clusters of both.

    A score is the mean of one value for each image of one set, given the balls of a set. The mean's own part is that of
    any mean. Through the balls a score has hardly a linear part: whether a ball is missed depends on the images near
    it, and a jackknife counts a term of k images k times (Efron and Stein 1981). So that part of the variance is
    divided by 1.5 for density, which counts balls, and by 2.5 for the shares, which ask for any ball. The divisors are
    calibrated: benchmarks/README.md has the coverage of the intervals.

    A cluster is left out as a whole: its frames lie in each other's balls, and one frame less would move nothing.
    """

    def __init__(
        self, images: Features, reference: Features, group: Groups, reference_group: Groups, k: int = NEIGHBOURS
    ) -> None:
        """Measure all distances of features (N, D) and (M, D).

        Args:
            group, reference_group: (N,) and (M,) number of each image's cluster, of `cluster_index`.

        Raises:
            ValueError: as `manifold_scores`, or a set is too large, or has at most k images without some cluster.
        """
        x, y = centred(images, reference, k)
        for rows, numbers in ((x, group), (y, reference_group)):
            if len(rows) > MOST_IMAGES:
                raise ValueError(f"{len(rows)} images: an interval of this score is computed up to {MOST_IMAGES}")
            if len(rows) - int(np.bincount(numbers).max()) <= k:
                raise ValueError(f"{len(rows)} images, no more than {k} without one of their clusters")
        self._k, self._group, self._reference_group = k, group, reference_group
        self._across = squares_of(x, y)  # (N, M)
        self._within = [squares_of(rows, rows) for rows in (x, y)]
        for one in self._within:
            np.fill_diagonal(one, np.inf)
        self._reach = [kth_smallest(one, k) for one in self._within]
        self._in_real, self._in_made = self._across < self._reach[1], self._across < self._reach[0][:, None]

    def of(self, family: SetFamily) -> Shares:
        """Return the shares of `precision`, `recall`, `density` or `coverage`."""
        if family == "recall":
            parts, balls = self._in_made.any(axis=0), jackknife_influence(self._recall_without_images())
        elif family == "coverage":
            parts, balls = self._in_real.any(axis=0), jackknife_influence(self._coverage_without_images())
        elif family == "precision":
            parts, balls = self._in_real.any(axis=1), jackknife_influence(self._counts_without_reals()[0])
        else:
            parts, balls = self._in_real.sum(axis=1) / self._k, jackknife_influence(self._counts_without_reals()[1])
        less = math.sqrt(1 / _COUNTED[family])
        if family == "precision" or family == "density":
            own = mean_shares(parts.astype(float), self._group.tolist())
            return Shares(own.value, own.conditions, less * balls)
        own = mean_shares(parts.astype(float), self._reference_group.tolist())
        reals = own.conditions
        if family == "coverage":  # whose balls are those of the set that the mean is over
            reals = reals + less * (jackknife_influence(self._coverage_without_reals()) - reals)
        return Shares(own.value, less * balls, reals)

    def _recall_without_images(self) -> Array:
        held, values = self._in_made.sum(axis=0), []
        for one in self._without(0):
            grown = self._across[one.grown] < one.reach[:, None]
            more = grown.sum(axis=0) - self._in_made[one.grown].sum(axis=0)
            values.append((held - self._in_made[one.out].sum(axis=0) + more > 0).mean())
        return np.array(values)

    def _coverage_without_images(self) -> Array:
        held = self._in_real.sum(axis=0)
        return np.array(
            [(held > self._in_real[self._group == g].sum(axis=0)).mean() for g in range(self._group.max() + 1)]
        )

    def _coverage_without_reals(self) -> Array:
        nearest = self._across.min(axis=0)
        parts, values = nearest < self._reach[1], []
        for one in self._without(1):
            held = parts.copy()
            held[one.grown] = nearest[one.grown] < one.reach
            values.append(held[one.left].mean())
        return np.array(values)

    def _counts_without_reals(self) -> tuple[Array, Array]:
        """Return precision and density (C,) without each cluster of real images."""
        held, values = self._in_real.sum(axis=1), []
        for one in self._without(1):
            grown = self._across[:, one.grown] < one.reach
            more = grown.sum(axis=1) - self._in_real[:, one.grown].sum(axis=1)
            counts = held - self._in_real[:, one.out].sum(axis=1) + more
            values.append(((counts > 0).mean(), counts.mean() / self._k))
        precision, density = np.array(values).T
        return precision, density

    def _without(self, side: int) -> Iterator[_Moved]:
        """Yield, for each cluster of one set (0 = images, 1 = reference), how its balls are without it."""
        within, group = self._within[side], (self._group, self._reference_group)[side]
        near = within <= self._reach[side][:, None]
        for g in range(int(group.max()) + 1):
            out, left = np.flatnonzero(group == g), np.flatnonzero(group != g)
            grown = left[near[np.ix_(left, out)].any(axis=1)]
            yield _Moved(out, left, grown, kth_smallest(within[np.ix_(grown, left)], self._k))
