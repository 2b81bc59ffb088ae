"""Kernel distances: unbiased squared maximum mean discrepancy on the full sets, in blocks of bounded memory."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ccbench.metrics.intervals import check_features, jackknife_error, normal_interval
from ccbench.types import Interval

Array = NDArray[np.float64]

BLOCK = 1024  # rows of a kernel matrix held at a time


class KernelDistance(NamedTuple):
    """A kernel distance; `error` and `interval` are None below three images in either set."""

    value: float
    error: float | None
    interval: Interval | None


class Kernel(NamedTuple):
    """A kernel function and how its features are prepared.

    Attributes:
        prepare: features (N, D) -> rows (N, D). across: rows (N, D), (M, D) -> k of all pairs (N, M).
        itself: rows (N, D) -> k(x_i, x_i), (N,). scale: factor of the squared distance as it is printed.
    """

    prepare: Callable[[Array], Array]
    across: Callable[[Array, Array], Array]
    itself: Callable[[Array], Array]
    scale: float


def _unit_rows(x: Array) -> Array:
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    if not (lengths > 0).all():
        raise ValueError("features: a row is zero, so it has no direction")
    return np.asarray(x / lengths)


CUBIC = Kernel(
    prepare=lambda x: x,
    across=lambda x, y: (x @ y.T / x.shape[1] + 1) ** 3,
    itself=lambda x: (np.sum(x * x, axis=1) / x.shape[1] + 1) ** 3,
    scale=1.0,
)
"""k(x, y) = (x.y / D + 1)^3, of KID."""

CMMD_SIGMA = 10.0
GAUSSIAN = Kernel(
    prepare=_unit_rows,
    # exp(-|x - y|^2 / (2 sigma^2)) - 1 for unit rows: MMD does not see the constant, and no digits are lost next to 1.
    across=lambda x, y: np.expm1((x @ y.T - 1) / CMMD_SIGMA**2),
    itself=lambda x: np.zeros(len(x)),
    scale=1000.0,
)
"""Gaussian kernel with sigma 10 on features of unit length, times 1000, of CMMD."""


def kernel_distance(features_1: NDArray[np.floating], features_2: NDArray[np.floating]) -> KernelDistance:
    """Return the unbiased MMD^2 of features (N1, D) and (N2, D) under k(x, y) = (x.y / D + 1)^3, in float64.

    Binkowski et al. 2018, section 4: the U-statistic, whose expectation is zero for equal distributions at any n; it
    can be slightly negative. The interval comes from the delete-one jackknife (normal); between equal distributions,
    where the statistic is degenerate, it is on the wide side.

    Differs from the reference code, which averages over random subsets of 1000: here every image is used once, which
    has the same expectation, less variance and no seed.

    Raises:
        ValueError: fewer than two images in a set, other widths, or features that are not finite.
    """
    return squared_mmd(features_1, features_2, CUBIC)


def cmmd_distance(features_1: NDArray[np.floating], features_2: NDArray[np.floating]) -> KernelDistance:
    """Return CMMD of CLIP image features (N1, D) and (N2, D): 1000 times the unbiased MMD^2 under `GAUSSIAN`.

    Jayasumana et al. 2024, section 4. Zero in expectation for equal distributions; can be slightly negative.

    Differs from the reference code, which keeps the pairs of an image with itself (the V-statistic): its value is
    above zero between equal distributions, the more the fewer images there are.

    Raises:
        ValueError: as `kernel_distance`, or a row of zeros.
    """
    return squared_mmd(features_1, features_2, GAUSSIAN)


def squared_mmd(
    features_1: NDArray[np.floating], features_2: NDArray[np.floating], kernel: Kernel, block: int = BLOCK
) -> KernelDistance:
    """Return the U-statistic of MMD^2 with its delete-one jackknife; raises as `kernel_distance`."""
    x, y = prepare_both(features_1, features_2, kernel)
    n1, n2 = len(x), len(y)
    within_x, within_y = (_row_sums(z, z, kernel, block) - kernel.itself(z) for z in (x, y))  # (N1,), (N2,)
    across_x, across_y = _row_sums(x, y, kernel, block), _row_sums(y, x, kernel, block)
    xx, yy, xy = float(within_x.sum()), float(within_y.sum()), float(across_x.sum())
    value = kernel.scale * (xx / (n1 * (n1 - 1)) + yy / (n2 * (n2 - 1)) - 2 * xy / (n1 * n2))
    if min(n1, n2) < 3:
        return KernelDistance(value, None, None)
    without_x = _without(xx, within_x, n1) + yy / (n2 * (n2 - 1)) - 2 * (xy - across_x) / ((n1 - 1) * n2)
    without_y = xx / (n1 * (n1 - 1)) + _without(yy, within_y, n2) - 2 * (xy - across_y) / (n1 * (n2 - 1))
    error = kernel.scale * jackknife_error(without_x, without_y)
    return KernelDistance(value, error, normal_interval(value, error, "jackknife-normal"))


def prepare_both(
    features_1: NDArray[np.floating], features_2: NDArray[np.floating], kernel: Kernel
) -> tuple[Array, Array]:
    """Return both sets checked and prepared for `kernel`; raises as `kernel_distance`."""
    x, y = check_features(features_1, "first set"), check_features(features_2, "second set")
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"features are {x.shape[1]} and {y.shape[1]} wide; they must come from one encoder")
    return kernel.prepare(x), kernel.prepare(y)


def _row_sums(x: Array, y: Array, kernel: Kernel, block: int) -> Array:
    """Return sum_j k(x_i, y_j) for each i, in blocks of rows so that memory does not grow with n1 n2."""
    return np.concatenate([kernel.across(x[i : i + block], y).sum(axis=1) for i in range(0, len(x), block)])


def _without(total: float, rows: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Return the mean over the pairs within a set with each single image left out."""
    return np.asarray((total - 2 * rows) / ((n - 1) * (n - 2)))
