"""FD-infinity: the Frechet distance extrapolated to infinitely many synthetic images, or the reason why not."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ccbench.metrics.frechet import frechet_value
from ccbench.metrics.intervals import check_features

_LEAST_R2 = 0.95


class FrechetInfinity(NamedTuple):
    """An extrapolated distance; `value` is None where `reason` says why. `r2` is None where nothing was fitted."""

    value: float | None
    r2: float | None
    reason: str | None


def frechet_infinity(
    synthetic: NDArray[np.floating], reference: NDArray[np.floating], seed: int, points: int = 15
) -> FrechetInfinity:
    """Return the intercept of the Frechet distance of random subsets of features (N, D) against 1 / size.

    Chong and Forsyth 2020, section 3, with `points` sizes from max(N / 10, D) to N. The reference (M, D) is kept as it
    is, so the bias that comes from M stays. The value can be slightly negative.

    Refused below N = 2 D: with fewer images than features the distance is not linear in 1 / size. Then the intercept
    is far off (0.39 in place of 0.03 at N = 60, D = 256, simulated) although R2 stays near 0.97. Refused as well where
    R2 of the fit is below 0.95.

    Raises:
        ValueError: as `frechet_value`.
    """
    x, y = check_features(synthetic, "synthetic set"), check_features(reference, "reference")
    n, width = x.shape
    if n < 2 * width:
        reason = f"n too small: {n} images of {width} features, at least {2 * width} are needed to extrapolate in 1/n"
        return FrechetInfinity(None, None, reason)
    rng = np.random.default_rng(seed)
    sizes = np.linspace(max(n // 10, width), n, points).astype(int)
    values = np.array([frechet_value(x[rng.permutation(n)[:size]], y) for size in sizes])
    slope, intercept = np.polyfit(1 / sizes, values, 1)
    spread = float(np.sum((values - values.mean()) ** 2))
    r2 = 1 - float(np.sum((values - slope / sizes - intercept) ** 2)) / spread if spread else 0.0
    if r2 < _LEAST_R2:
        return FrechetInfinity(None, r2, f"poor fit: R2 = {r2:.3f} of the distance against 1/n, wanted {_LEAST_R2}")
    return FrechetInfinity(float(intercept), r2, None)
