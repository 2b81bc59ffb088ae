"""Kernel distances: unbiased squared maximum mean discrepancy on the full sets, in blocks of bounded memory."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ccbench.metrics.statistics.intervals import Jackknife, check_both

Array = NDArray[np.float64]

BLOCK = 1024  # rows of a kernel matrix held at a time


class Kernel(NamedTuple):
    """A kernel function and how its features are prepared.

    Attributes:
        prepare: features (N, D) -> rows (N, D).
        across: rows (N, D), (M, D) -> k of all pairs (N, M).
        itself: rows (N, D) -> k(x_i, x_i), (N,).
        scale: factor of the squared distance as it is printed.
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


def squared_mmd(
    features_1: NDArray[np.floating], features_2: NDArray[np.floating], kernel: Kernel, block: int = BLOCK
) -> float:
    """Return the unbiased squared maximum mean discrepancy of features (N1, D) and (N2, D), in float64.

    The U-statistic of Binkowski et al. 2018, section 4 (KID: `CUBIC`), and of Jayasumana et al. 2024, section 4 (CMMD
    of CLIP image features: `GAUSSIAN`). Its expectation is zero for equal distributions at any n; it can be slightly
    negative.

    Differs from KID's reference code, which averages over random subsets of 1000: here every image is used once, which
    has the same expectation, less variance and no seed. Differs from CMMD's reference code, which keeps the pairs of an
    image with itself (the V-statistic): its value is above zero between equal distributions, the more the fewer images
    there are.

    Raises:
        ValueError: fewer than two images in a set, other widths, features that are not finite, or a row of zeros where
            the kernel needs directions.
    """
    x, y = prepare_both(features_1, features_2, kernel)
    return _Sums.of(x, y, kernel, block).value


def kernel_jackknife(
    features_1: NDArray[np.floating],
    features_2: NDArray[np.floating],
    kernel: Kernel,
    group_1: NDArray[np.int64],
    group_2: NDArray[np.int64],
    block: int = BLOCK,
    own: bool = True,
) -> Jackknife:
    """Return the U-statistic of MMD^2, and what it is without each cluster of images. Exact.

    Args:
        group_1, group_2: (N1,) and (N2,) number of each image's cluster, of `cluster_index`.
        own: count the pairs within the second set, which cancel in differences of distances to it.

    Raises:
        ValueError: as `squared_mmd`, or fewer than two images are left without some cluster.
    """
    x, y = prepare_both(features_1, features_2, kernel)
    for rows, group in ((x, group_1), (y, group_2)):
        if len(rows) - int(np.bincount(group).max()) < 2:
            raise ValueError(f"{len(rows)} images, fewer than 2 without one of their clusters")
    sums = _Sums.of(x, y, kernel, block, own)
    n1, n2 = len(x), len(y)
    own_1, own_2 = _own_pairs(x, group_1, kernel), _own_pairs(y, group_2, kernel) if own else 0.0
    xx, yy, xy = sums.within_x.sum(), sums.within_y.sum(), sums.across_x.sum()
    within_1, left_1 = _without(sums.within_x, own_1, group_1)
    within_2, left_2 = _without(sums.within_y, own_2, group_2)
    across_1 = (xy - np.bincount(group_1, weights=sums.across_x)) / (left_1 * n2)
    across_2 = (xy - np.bincount(group_2, weights=sums.across_y)) / (n1 * left_2)
    return Jackknife(
        sums.value,
        kernel.scale * (within_1 + yy / (n2 * (n2 - 1)) - 2 * across_1),
        kernel.scale * (xx / (n1 * (n1 - 1)) + within_2 - 2 * across_2),
    )


class _Sums(NamedTuple):
    """Sums of the kernel over the other images of the same set, and over those of the other set; and the distance."""

    within_x: Array
    within_y: Array
    across_x: Array
    across_y: Array
    value: float

    @classmethod
    def of(cls, x: Array, y: Array, kernel: Kernel, block: int, own: bool = True) -> "_Sums":
        n1, n2 = len(x), len(y)
        within_x = _row_sums(x, x, kernel, block) - kernel.itself(x)
        within_y = _row_sums(y, y, kernel, block) - kernel.itself(y) if own else np.zeros(n2)
        across_x, across_y = _row_sums(x, y, kernel, block), _row_sums(y, x, kernel, block)
        xx, yy, xy = float(within_x.sum()), float(within_y.sum()), float(across_x.sum())
        value = kernel.scale * (xx / (n1 * (n1 - 1)) + yy / (n2 * (n2 - 1)) - 2 * xy / (n1 * n2))
        return cls(within_x, within_y, across_x, across_y, value)


def _own_pairs(x: Array, group: NDArray[np.int64], kernel: Kernel) -> Array:
    """Return the sum (C,) of the kernel over the pairs of different images within each cluster."""
    sizes = np.bincount(group)
    sums = np.zeros(len(sizes))
    for k in np.flatnonzero(sizes > 1):
        rows = x[group == k]
        sums[k] = kernel.across(rows, rows).sum() - kernel.itself(rows).sum()
    return sums


def prepare_both(
    features_1: NDArray[np.floating], features_2: NDArray[np.floating], kernel: Kernel
) -> tuple[Array, Array]:
    """Return both sets checked and prepared for `kernel`; raises as `squared_mmd`."""
    x, y = check_both(features_1, features_2)
    return kernel.prepare(x), kernel.prepare(y)


def _row_sums(x: Array, y: Array, kernel: Kernel, block: int) -> Array:
    """Return sum_j k(x_i, y_j) for each i, in blocks of rows so that memory does not grow with n1 n2."""
    return np.concatenate([kernel.across(x[i : i + block], y).sum(axis=1) for i in range(0, len(x), block)])


def _without(rows: Array, own: Array | float, group: NDArray[np.int64]) -> tuple[Array, Array]:
    """Return the mean (C,) over the pairs within a set without each cluster, and the number (C,) of images left."""
    left = (len(rows) - np.bincount(group)).astype(np.float64)
    return (rows.sum() - 2 * np.bincount(group, weights=rows) + own) / (left * (left - 1)), left
