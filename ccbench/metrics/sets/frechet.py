"""Frechet distance between the Gaussians fitted to two sets of features, with its exact cluster jackknife."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dpstrf

from ccbench.metrics.sets.feature_statistics import FeatureStatistics
from ccbench.metrics.statistics.intervals import Jackknife, check_both, check_widths

Array = NDArray[np.float64]

_RANK_TOLERANCE = 1e-10  # of the largest singular value; smaller ones are rounding
_STEP = 0.25  # of the trapezoid rule in log s
_NODES = np.exp(np.arange(-32.0, 32.0, _STEP))  # s, in units of the largest singular value
_SMALL = 1024  # images of the other set, up to which its cross products are kept while clusters are left out


class _Parts(NamedTuple):
    """Two centred sets and the singular value decomposition of their cross-Gram matrix X1 X2^T."""

    x1: Array  # (N1, D)
    x2: Array  # (N2, D)
    shift: Array  # (D,) mean of set 1 less mean of set 2
    left: Array  # (N1, R)
    singular: Array  # (R,)
    right: Array  # (N2, R)


def frechet_distance(features_1: NDArray[np.floating], features_2: NDArray[np.floating]) -> float:
    """Return |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) of features (N1, D) and (N2, D), computed in float64.

    Heusel et al. 2017, equation 6, with the unbiased covariances (division by n - 1) of the reference code. The trace
    of the root equals the nuclear norm of X1 X2^T / sqrt((n1 - 1)(n2 - 1)) for centred features: exact for any n and
    any rank, no matrix root. Sets of more than D images are first reduced to their D x D triangular factors, which
    leaves the nuclear norm as it is. The distance is biased upwards by an amount that depends on n1 and n2.

    Raises:
        ValueError: fewer than two images in a set, other widths, or features that are not finite.
    """
    f1, f2 = check_both(features_1, features_2)
    m1, m2 = f1.mean(axis=0), f2.mean(axis=0)
    return _of_factors(m1 - m2, _factor(f1 - m1), _factor(f2 - m2), (len(f1), len(f2)))


def frechet_from_statistics(first: FeatureStatistics, second: FeatureStatistics) -> float:
    """Return the Frechet distance of two sets known by their streamed statistics only.

    Agrees with `frechet_distance` to 1e-6 relative; sets of fewer images than features lose the most digits here.

    Raises:
        ValueError: fewer than two images in a set, or other widths.
    """
    for name, one in (("first set", first), ("second set", second)):
        if one.n < 2:
            raise ValueError(f"{name}: {one.n} image(s), at least 2 are needed")
    check_widths(len(first.mean), len(second.mean))
    return _of_factors(first.mean - second.mean, _root(first.scatter), _root(second.scatter), (first.n, second.n))


def _of_factors(shift: Array, x1: Array, x2: Array, n: tuple[int, int]) -> float:
    singular: Array = np.empty(0)
    if len(x1) and len(x2):
        singular = np.asarray(np.linalg.svd(x1 @ x2.T, compute_uv=False), dtype=np.float64)
    return _assemble(shift, x1, x2, singular, n)


def frechet_jackknife(
    features_1: NDArray[np.floating],
    features_2: NDArray[np.floating],
    group_1: NDArray[np.int64],
    group_2: NDArray[np.int64],
) -> Jackknife:
    """Return `frechet_distance`, and what it is without each cluster of images. Exact.

    An image that is a cluster of its own costs next to nothing, any other cluster an eigenvalue problem.

    Args:
        group_1, group_2: (N1,) and (N2,) number of each image's cluster, of `cluster_index`.

    Raises:
        ValueError: as `frechet_distance`, or fewer than three images in a set, or a set that is one cluster.
    """
    f1, f2 = check_both(features_1, features_2)
    if min(len(f1), len(f2)) < 3 or min(group_1.max(), group_2.max()) < 1:
        raise ValueError(f"{len(f1)} and {len(f2)} images in {group_1.max() + 1} and {group_2.max() + 1} clusters: "
                         "at least 3 images and 2 clusters are needed")  # fmt: skip
    parts = _decompose(f1, f2)
    swapped = _Parts(parts.x2, parts.x1, -parts.shift, parts.right, parts.singular, parts.left)
    return Jackknife(
        _assemble(parts.shift, parts.x1, parts.x2, parts.singular, (len(f1), len(f2))),
        _by_group(_delete_one(parts), f1, f2, group_1),
        _by_group(_delete_one(swapped), f2, f1, group_2),
    )


def _assemble(shift: Array, x1: Array, x2: Array, singular: Array, n: tuple[int, int]) -> float:
    """Return the distance of two scatters x1^T x1 and x2^T x2 of n images, from the singular values of x1 x2^T."""
    n1, n2 = n
    squares = float(np.sum(x1**2)) / (n1 - 1) + float(np.sum(x2**2)) / (n2 - 1)
    nuclear = float(singular.sum()) / math.sqrt((n1 - 1) * (n2 - 1))
    return max(0.0, float(shift @ shift) + squares - 2 * nuclear)  # below zero by rounding only


def _by_group(without_one: Array, cut: Array, other: Array, group: NDArray[np.int64]) -> Array:
    """Return the distances (C,) of `cut` (N, D) to `other` (M, D) without each cluster of `cut`.

    Args:
        without_one: (N,) distances without each single image.
    """
    sizes = np.bincount(group)
    values = np.empty(len(sizes))
    values[group] = without_one
    several = np.flatnonzero(sizes > 1)
    if not len(several):
        return values
    if len(other) > min(_SMALL, cut.shape[1]):
        values[several] = [frechet_distance(cut[group != k], other) for k in several]
        return values
    centre = other.mean(axis=0)
    x, y = other - centre, cut - centre
    cross = x @ y.T  # (M, N)
    products, squares, trace = cross @ cross.T, np.sum(y**2, axis=1), float(np.sum(x**2)) / (len(x) - 1)
    for k in several:
        out = group == k
        left = len(y) - int(out.sum())
        mean, part = y[~out].mean(axis=0), cross[:, out]
        middle = (cross.sum(axis=1) - part.sum(axis=1)) / left
        gram = products - part @ part.T - left * np.outer(middle, middle)
        roots = float(np.sqrt(np.maximum(np.linalg.eigvalsh(gram), 0.0)).sum())
        own = (float(squares[~out].sum()) - left * float(mean @ mean)) / (left - 1)
        values[k] = float(mean @ mean) + trace + own - 2 * roots / math.sqrt((left - 1) * (len(x) - 1))
    return values


def _root(scatter: Array) -> Array:
    """Return F (R, D), R the rank, with F^T F = scatter: the pivoted Cholesky factor, which stops at the rank."""
    factor, pivots, rank, _ = dpstrf(scatter)
    root = np.zeros((rank, len(scatter)))
    root[:, pivots - 1] = np.triu(factor)[:rank]
    return root


def _decompose(f1: Array, f2: Array) -> _Parts:
    m1, m2 = f1.mean(axis=0), f2.mean(axis=0)
    x1, x2 = f1 - m1, f2 - m2
    r1, r2 = _factor(x1), _factor(x2)
    left, singular, right_t = np.linalg.svd(r1 @ r2.T, full_matrices=False)
    keep = singular > _RANK_TOLERANCE * singular[0]
    left, singular, right = left[:, keep], singular[keep], right_t[keep].T
    # From the factors' singular vectors back to the images', where they differ.
    of_images_1 = left if r1 is x1 else x1 @ (r2.T @ right / singular)
    of_images_2 = right if r2 is x2 else x2 @ (r1.T @ left / singular)
    return _Parts(x1, x2, m1 - m2, of_images_1, singular, of_images_2)


def _factor(x: Array) -> Array:
    """Return a matrix of at most D rows with the same x^T x."""
    return x if len(x) <= x.shape[1] else np.asarray(np.linalg.qr(x, mode="r"))


def _delete_one(parts: _Parts) -> Array:
    """Return the distances (N1,) with each single image of the first set left out. Exact."""
    n1, n2 = len(parts.x1), len(parts.x2)
    norms = np.sum(parts.x1**2, axis=1)  # (N1,)
    # Without image i the mean moves by -x_i / (n1 - 1) and the scatter loses n1 / (n1 - 1) x_i x_i^T.
    shifts = parts.shift @ parts.shift - 2 * (parts.x1 @ parts.shift) / (n1 - 1) + norms / (n1 - 1) ** 2
    squares = (norms.sum() - n1 / (n1 - 1) * norms) / (n1 - 2) + np.sum(parts.x2**2) / (n2 - 1)
    nuclear = parts.singular.sum() + _nuclear_change(parts.left, parts.singular, n1 / (n1 - 1))
    return np.asarray(shifts + squares - 2 * nuclear / math.sqrt((n1 - 2) * (n2 - 1)))


def _nuclear_change(vectors: Array, singular: Array, factor: float) -> Array:
    """Return, for each row i, the change of the nuclear norm of M when `factor` m_i m_i^T is taken from M^T M.

    M = vectors diag(singular) V^T, so in the basis V the matrix is diag(singular^2) less a rank-one term. From
    2 pi sqrt(a) ~ integral of t^(-1/2) log(a + t) and the matrix determinant lemma, with t = s^2:
        change = 1/pi  integral over s > 0 of  log(1 - factor sum_k u_ik^2 sigma_k^2 / (sigma_k^2 + s^2)).
    In log s the integrand is analytic in a strip of half-width pi/2 and decays at both ends, so the trapezoid rule
    with step 1/4 is exact to rounding. The argument of the logarithm tends to 1 for large s, and to 0 for small s where
    leaving out image i lowers the rank: each half is written so that its limit loses no digits.
    """
    if not len(singular):
        return np.zeros(len(vectors))
    weights = factor * vectors**2  # (N, R)
    floor = 1 - weights.sum(axis=1, keepdims=True)  # (N, 1), the limit at s = 0
    floor[floor < 1e-12] = 0.0
    squares = (singular / singular[0]) ** 2  # (R,)
    small, large = np.split(_NODES[:, None] ** 2, 2)  # (S, 1) below and from s = 1, in units of the largest
    logs = np.hstack(
        [
            np.log(floor + weights @ (small / (squares + small)).T),
            np.log1p(-weights @ (squares / (squares + large)).T),
        ]
    )  # (N, 2 S)
    return np.asarray(singular[0] * _STEP / np.pi * (logs @ _NODES))
