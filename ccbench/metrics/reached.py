"""Recall and coverage of many choices among a pool of images, and without each condition or real image in turn."""

import numpy as np
from numpy.typing import NDArray

from ccbench.metrics.manifold import NEIGHBOURS, Array, RealFamily, centred, squares_of

Rows = NDArray[np.integer]


class Reached:
    """Which real images a pool of synthetic ones reaches; see `manifold_scores` for the two families."""

    def __init__(
        self, pool: NDArray[np.floating], real: NDArray[np.floating], family: RealFamily, k: int = NEIGHBOURS
    ) -> None:
        """Measure all distances of a pool's features (N, D) to (M, D), and those within the set that has the balls.

        Raises:
            ValueError: as `manifold_scores`.
        """
        x, y = centred(pool, real, k)
        self._k, self._of_real, self._across = k, family == "coverage", squares_of(x, y)
        self._within = squares_of(y, y) if self._of_real else squares_of(x, x)
        np.fill_diagonal(self._within, np.inf)
        self._nearest = np.argpartition(self._within, k, axis=1)[:, : k + 1] if self._of_real else None
        self._reach = self._kth(self._within, k)

    def parts(self, chosen: Rows) -> NDArray[np.bool_]:
        """Return the parts (M,) of the score of the images with these different numbers in the pool.

        Raises:
            ValueError: at most k of them.
        """
        if len(chosen) <= self._k:
            raise ValueError(f"{len(chosen)} images, more than k = {self._k} are needed for {self._k} neighbours")
        reach = self._reach if self._of_real else self._kth(self._within[np.ix_(chosen, chosen)], self._k)[:, None]
        return np.asarray((self._across[chosen] < reach).any(axis=0))

    def without_groups(self, group: Rows) -> Array:
        """Return the score (C,) of the whole pool without the images of each group, numbered in `group` (N,)."""
        count, everyone = int(group.max()) + 1, np.arange(len(group))
        if self._of_real:
            inside = self._across < self._reach
            return np.array([inside[group != g].any(axis=0).mean() for g in range(count)])
        reach = self._reach[:, None]
        inside, near = self._across < reach, self._within <= reach  # near: of the k neighbours
        held, values = inside.sum(axis=0), []
        for g in range(count):
            out = group == g
            left = everyone[~out]
            moved = left[near[np.ix_(left, everyone[out])].any(axis=1)]  # those that lose a neighbour reach farther
            wider = self._kth(self._within[np.ix_(moved, left)], self._k)
            more = (self._across[moved] < wider[:, None]).sum(axis=0) - inside[moved].sum(axis=0)
            values.append((held - inside[out].sum(axis=0) + more > 0).mean())
        return np.array(values)

    def without_reals(self) -> Array:
        """Return the score (M,) of the whole pool without each real image."""
        parts = self.parts(np.arange(len(self._across))).astype(float)
        lost = parts.copy()
        if self._nearest is not None:  # one that loses a neighbour reaches to its next one
            k = self._k
            order = np.take_along_axis(self._within, self._nearest, axis=1).argsort(axis=1)
            nearest = np.take_along_axis(self._nearest, order, axis=1)
            farther = np.take_along_axis(self._within, nearest[:, k:], axis=1)[:, 0]
            gained = (self._across.min(axis=0) < farther) - parts  # (M,), of each that loses a neighbour
            np.subtract.at(lost, nearest[:, :k].ravel(), gained.repeat(k))
        return np.asarray((parts.sum() - lost) / (len(parts) - 1))

    @staticmethod
    def _kth(squares: Array, k: int) -> Array:
        """Return the k-th smallest of each row."""
        return np.asarray(np.partition(squares, k - 1, axis=1)[:, k - 1])
