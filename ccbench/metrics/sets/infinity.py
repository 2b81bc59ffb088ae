"""FD-infinity: the Frechet distance extrapolated to infinitely many synthetic images, or the reason why not."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ccbench.metrics.sets.frechet import frechet_distance
from ccbench.metrics.statistics.intervals import check_features

_LEAST_R2 = 0.95
_LEAST_RATIO = 2.5  # images a feature


class FrechetInfinity(NamedTuple):
    """An extrapolated distance; `value` is None where `reason` says why. `r2` is None where nothing was fitted."""

    value: float | None
    r2: float | None
    reason: str | None


def frechet_infinity(
    synthetic: NDArray[np.floating], reference: NDArray[np.floating], seed: int, points: int = 15
) -> FrechetInfinity:
    """Return the intercept of the Frechet distance of random subsets of features (N, D) against 1 / size.

    Chong and Forsyth 2020, section 3, with `points` sizes from max(N / 10, 2.5 D) to N; 2.5 D is their 5,000 images of
    Inception. The reference (M, D) is kept as it is, so the bias that comes from M stays. Can be slightly negative.

    Refused below N = 5 D: near D images and below, the distance is not linear in 1 / size, and R2 does not tell. On
    simulated equal distributions the intercept, 0 in truth, lies at 0.21 to 0.27 of the distance below 0 with sizes
    from D (R2 0.99). With sizes from 2.5 D its mean lies at -0.07 to 0.01 of the distance, and one intercept scatters
    around it by 0.04 (D 100) to 0.14 (D 40, steep spectrum); the largest of 175 was 0.42 off. Refused as well where R2
    is below 0.95.

    Raises:
        ValueError: as `frechet_distance`.
    """
    x, y = check_features(synthetic, "synthetic set"), check_features(reference, "reference")
    n, width = x.shape
    least = math.ceil(_LEAST_RATIO * width)
    if n < 2 * least:
        reason = f"n too small: {n} images of {width} features, at least {2 * least} are needed to extrapolate in 1/n"
        return FrechetInfinity(None, None, reason)
    rng = np.random.default_rng(seed)
    sizes = np.linspace(max(n // 10, least), n, points).astype(int)
    values = np.array([frechet_distance(x[rng.permutation(n)[:size]], y) for size in sizes])
    slope, intercept = np.polyfit(1 / sizes, values, 1)
    spread = float(np.sum((values - values.mean()) ** 2))
    r2 = 1 - float(np.sum((values - slope / sizes - intercept) ** 2)) / spread if spread else 0.0
    if r2 < _LEAST_R2:
        return FrechetInfinity(None, r2, f"poor fit: R2 = {r2:.3f} of the distance against 1/n, wanted {_LEAST_R2}")
    return FrechetInfinity(float(intercept), r2, None)
