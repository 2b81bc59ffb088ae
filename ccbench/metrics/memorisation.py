"""Memorisation: whether synthetic images lie nearer to training images than held-out real images do."""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ccbench.metrics.intervals import check_features

Features = NDArray[np.floating]
Array = NDArray[np.float64]

QUANTILE = 0.05
"""Share of the held-out real images that count as near: what a set of fresh real images reaches by definition."""

STANDARD_ERRORS = 3.0
"""How far the share of near images may lie above `QUANTILE` before somebody has to look."""

SAME = 1e-5
"""Cosine distance below which two images have equal features, but for float32's rounding."""


class Neighbours(NamedTuple):
    """Nearest training images, nearest first: their indices and cosine distances (0..2), (N, k) each."""

    index: NDArray[np.int64]
    distance: Array


class Memorisation(NamedTuple):
    """How near synthetic images lie to training images.

    Attributes:
        verdict: "look" if `near` exceeds `QUANTILE` by more than `STANDARD_ERRORS` of a share of fresh images, or an
            image equals a training image; else "publish". Looking at the nearest pairs is wise in either case.
        near: share of the synthetic images nearer to a training image than `limit`.
        auc: chance that a synthetic image lies nearer to training than a held-out real one; 0.5 = as they do.
        same: synthetic images whose features equal a training image's.
        limit: the `QUANTILE` of the held-out real images' nearest distances.
        neighbours: of the synthetic images, for a gallery.
        own: (N,) cosine distance to the training image that owns the image's mask; NaN where it has no owner.
        own_nearest: share of the images with an owner whose nearest training image it is; None without owners.
    """

    verdict: Literal["publish", "look"]
    near: float
    auc: float
    same: int
    limit: float
    neighbours: Neighbours
    own: Array
    own_nearest: float | None


def memorisation(
    synthetic: Features, training: Features, held_out: Features, owners: NDArray[np.integer] | None = None, k: int = 5
) -> Memorisation:
    """Compare the nearest-training distances of synthetic images with those of real images that nobody trained on.

    A floor and no proof: a method whose images lie far from all real ones, as blurred images do, can copy a training
    image and still lie farther from it than a fresh real image would.

    Args:
        synthetic, training, held_out: (N, D), (M, D), (K, D) of one encoder.
        owners: (N,) index of the training image whose mask each synthetic image was made from, -1 = none of them.

    Raises:
        ValueError: other widths, fewer than two rows, rows that are zero or not finite, or an owner that is not there.
    """
    found, fresh = nearest(synthetic, training, k), nearest(held_out, training, 1).distance[:, 0]
    distance = found.distance[:, 0]
    limit = float(np.quantile(fresh, QUANTILE))
    near = float((distance < limit).mean())
    error = np.sqrt(QUANTILE * (1 - QUANTILE) * (1 / len(distance) + 1 / len(fresh)))
    same = int((distance < SAME).sum())
    below = np.searchsorted(np.sort(fresh), distance, "left")
    above = len(fresh) - np.searchsorted(np.sort(fresh), distance, "right")
    own, own_nearest = _own(synthetic, training, owners, found)
    return Memorisation(
        verdict="look" if near > QUANTILE + STANDARD_ERRORS * error or same else "publish",
        near=near,
        auc=float((above - below).mean() / len(fresh) / 2 + 0.5),
        same=same,
        limit=limit,
        neighbours=found,
        own=own,
        own_nearest=own_nearest,
    )


def nearest(images: Features, training: Features, k: int, block: int = 512) -> Neighbours:
    """Return the k nearest training images (all, if there are fewer) of each image by cosine distance.

    Raises:
        ValueError: as `memorisation`.
    """
    x, y = _unit(images, "images"), _unit(training, "training set")
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"features are {x.shape[1]} and {y.shape[1]} wide; they must come from one encoder")
    index, distance = [], []
    for start in range(0, len(x), block):
        all_of_block = np.maximum(1 - x[start : start + block] @ y.T, 0)  # (block, M); equal rows give -1e-16
        order = np.argsort(all_of_block, axis=1, kind="stable")[:, :k]
        index.append(order)
        distance.append(np.take_along_axis(all_of_block, order, axis=1))
    return Neighbours(np.concatenate(index), np.concatenate(distance))


def _own(
    synthetic: Features, training: Features, owners: NDArray[np.integer] | None, found: Neighbours
) -> tuple[Array, float | None]:
    own = np.full(len(synthetic), np.nan)
    if owners is None:
        return own, None
    if owners.shape != own.shape or (len(owners) and not -1 <= owners.min() <= owners.max() < len(training)):
        raise ValueError(f"owners have shape {owners.shape}, wanted {own.shape} of -1 to {len(training) - 1}")
    known = owners >= 0
    if not known.any():
        return own, None
    cosines = (_unit(synthetic, "images")[known] * _unit(training, "training set")[owners[known]]).sum(axis=1)
    own[known] = np.maximum(1 - cosines, 0)
    return own, float((own[known] <= found.distance[known, 0] + SAME).mean())


def _unit(features: Features, name: str) -> Array:
    rows = check_features(features, name)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not lengths.all():
        raise ValueError(f"{name}: {int((lengths == 0).sum())} of {len(rows)} feature rows are zero: no direction")
    return rows / lengths
