"""Frechet distances of resampled sets from Gram matrices: re-indexed and re-centred, whatever the features' width."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ccbench.metrics.intervals import check_features

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FrechetGrams:
    """Inner products of images, and of images with a reference, all less the reference's mean.

    Attributes:
        within: (N, N). across: (N, M).
    """

    within: Array
    across: Array

    @classmethod
    def of(cls, features: NDArray[np.floating], reference: NDArray[np.floating]) -> "FrechetGrams":
        """Return the matrices of features (N, D) and a reference (M, D).

        Raises:
            ValueError: fewer than two images in a set, other widths, or features that are not finite.
        """
        x, y = check_features(features, "images"), check_features(reference, "reference")
        if x.shape[1] != y.shape[1]:
            raise ValueError(f"features are {x.shape[1]} and {y.shape[1]} wide; they must come from one encoder")
        x, y = x - y.mean(axis=0), y - y.mean(axis=0)
        return cls(x @ x.T, x @ y.T)

    def distance(self, rows: Array, columns: Array) -> float:
        """Return the Frechet distance of images taken `rows` (N,) times each to references `columns` (M,) times each.

        The reference's own trace and squared mean are left out: they cancel in differences at equal `columns`.
        """
        i, j = np.flatnonzero(rows), np.flatnonzero(columns)  # an image taken twice is one row of double weight
        w, v = rows[i], columns[j]
        n, m = float(w.sum()), float(v.sum())
        within, across = self.within[np.ix_(i, i)], self.across[np.ix_(i, j)]
        squared_mean = float(w @ within @ w) / n**2
        trace = (float(w @ np.diagonal(within)) - n * squared_mean) / (n - 1)
        centred = across - (w @ across) / n
        centred -= (centred @ v)[:, None] / m
        centred *= np.sqrt(w)[:, None] * np.sqrt(v)
        gram = centred @ centred.T if len(i) <= len(j) else centred.T @ centred
        nuclear = float(np.sqrt(np.maximum(np.linalg.eigvalsh(gram), 0.0)).sum()) / math.sqrt((n - 1) * (m - 1))
        return squared_mean - 2 * float(w @ across @ v) / (n * m) + trace - 2 * nuclear
