"""Recall and coverage of many choices among a pool of images."""

import numpy as np
from numpy.typing import NDArray

from ccbench.metrics.sets.manifold import NEIGHBOURS, RealFamily, centred, kth_smallest, squares_of

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
        self._reach = kth_smallest(self._within, k)

    def parts(self, chosen: Rows) -> NDArray[np.bool_]:
        """Return the parts (M,) of the score of the images with these different numbers in the pool.

        Raises:
            ValueError: at most k of them.
        """
        if len(chosen) <= self._k:
            raise ValueError(f"{len(chosen)} images, more than k = {self._k} are needed for {self._k} neighbours")
        reach = self._reach if self._of_real else kth_smallest(self._within[np.ix_(chosen, chosen)], self._k)[:, None]
        return np.asarray((self._across[chosen] < reach).any(axis=0))
