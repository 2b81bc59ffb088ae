"""Frechet distances of many choices of images from Gram matrices: re-indexed and re-centred, at any feature width."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ccbench.metrics.statistics.intervals import check_both

Array = NDArray[np.float64]

_HELD = 4_000_000  # numbers of the Gram matrices that are held at a time, 32 MB


@dataclass(frozen=True, eq=False)
class FrechetGrams:
    """Inner products of images, and of images with a reference, all less the reference's mean.

    Attributes:
        within: (N, N).
        across: (N, M).
    """

    within: Array
    across: Array

    @classmethod
    def of(cls, features: NDArray[np.floating], reference: NDArray[np.floating]) -> "FrechetGrams":
        """Return the matrices of features (N, D) and a reference (M, D).

        Raises:
            ValueError: fewer than two images in a set, other widths, or features that are not finite.
        """
        x, y = check_both(features, reference, "images", "reference")
        x, y = x - y.mean(axis=0), y - y.mean(axis=0)
        return cls(x @ x.T, x @ y.T)

    @cached_property
    def _products(self) -> Array:
        return self.across @ self.across.T  # (N, N): the reference enters only through it, its mean being zero

    def distances(self, choices: NDArray[np.int64]) -> Array:
        """Return the Frechet distances (P,) of the images in each row of `choices` (P, n) to the whole reference.

        The reference's own trace is left out: it cancels in differences. P eigenvalue problems of n rows.
        """
        n, m = choices.shape[1], self.across.shape[1]
        at_once = max(1, _HELD // n**2)
        values = np.empty(len(choices))
        for start in range(0, len(choices), at_once):
            part = choices[start : start + at_once]
            rows, columns = part[:, :, None], part[:, None, :]
            within, gram = self.within[rows, columns], self._products[rows, columns]  # (P, n, n)
            squared_mean = within.mean(axis=(1, 2))
            trace = (np.trace(within, axis1=1, axis2=2) - n * squared_mean) / (n - 1)
            gram -= gram.mean(axis=1, keepdims=True)
            gram -= gram.mean(axis=2, keepdims=True)
            roots = np.sqrt(np.maximum(np.linalg.eigvalsh(gram), 0.0)).sum(axis=1)
            values[start : start + at_once] = squared_mean + trace - 2 * roots / math.sqrt((n - 1) * (m - 1))
        return values
