"""Mean and scatter of features, streamed and merged: memory is one D x D matrix, whatever the number of images."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class FeatureStatistics:
    """What a Gaussian fitted to features needs; made by `of` or `empty`, grown by `update` and `merge`.

    Attributes:
        n: rows seen.
        mean: (D,) float64.
        scatter: (D, D) float64, sum of (x - mean)(x - mean)^T, undivided.
    """

    n: int
    mean: NDArray[np.float64]
    scatter: NDArray[np.float64]

    @classmethod
    def empty(cls, width: int) -> "FeatureStatistics":
        """Return the statistics of no rows of `width` features."""
        return cls(0, np.zeros(width), np.zeros((width, width)))

    @classmethod
    def of(cls, features: NDArray[np.floating]) -> "FeatureStatistics":
        """Return the statistics of features (N, D), N >= 1, computed in float64.

        Raises:
            ValueError: not two-dimensional, no rows, or a row that is not finite.
        """
        if features.ndim != 2 or not len(features):
            raise ValueError(f"features have shape {features.shape}, wanted (N, D) with at least one row")
        bad = int((~np.isfinite(features)).any(axis=1).sum())
        if bad:
            raise ValueError(f"{bad} of {len(features)} feature rows are not finite; leave these images out and say so")
        rows = np.asarray(features, dtype=np.float64)
        mean = rows.mean(axis=0)
        rows = rows - mean
        return cls(len(rows), mean, rows.T @ rows)

    def update(self, batch: NDArray[np.floating]) -> "FeatureStatistics":
        """Return the statistics of the rows seen before and of `batch` (B, D); raises as `of` and `merge`."""
        return self.merge(FeatureStatistics.of(batch))

    def merge(self, other: "FeatureStatistics") -> "FeatureStatistics":
        """Return the statistics of both sets of rows (Chan, Golub and LeVeque 1979, equation 2.1).

        Raises:
            ValueError: other width.
        """
        if self.mean.shape != other.mean.shape:
            raise ValueError(f"statistics of {len(self.mean)} and {len(other.mean)} features; use one encoder")
        n = self.n + other.n
        shift, share = other.mean - self.mean, other.n / max(1, n)
        between = self.n * share * np.outer(shift, shift)
        return FeatureStatistics(n, self.mean + share * shift, self.scatter + other.scatter + between)
