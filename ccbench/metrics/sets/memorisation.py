"""Memorisation: whether synthetic images lie nearer to training images than held-out real images do."""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ccbench.metrics.statistics.intervals import check_features, check_widths

Features = NDArray[np.floating]
Array = NDArray[np.float64]

QUANTILE = 0.05
"""Share of the held-out real images that count as near: what a set of fresh real images reaches by definition."""

STANDARD_ERRORS = 3.0
"""How far the share of near images may lie above `QUANTILE` before somebody has to look."""

SAME = 1e-5
"""Cosine distance below which two images have equal features, but for float32's rounding."""

_COMPARED = 5  # nearest training images of which the first is compared with the others


class Neighbours(NamedTuple):
    """Nearest training images, nearest first: their indices and cosine distances (0..2), (N, k) each."""

    indices: NDArray[np.int64]
    distances: Array


class Memorisation(NamedTuple):
    """How near synthetic images lie to training images.

    Attributes:
        verdict: "look" if `near` or `alone` exceeds `QUANTILE` by more than `STANDARD_ERRORS` of a share of fresh
            images, or an image equals a training image; else "publish".
        near: share of the synthetic images nearer to a training image than `limit`.
        alone: share of those whose `relative` distance is below the same quantile of the held-out real images'.
        auc: chance that a synthetic image lies nearer to training than a held-out real one; 0.5 = as they do.
        same: synthetic images whose features equal a training image's.
        limit: the `QUANTILE` of the held-out real images' nearest distances.
        neighbours: of the synthetic images, for a gallery.
        relative: (N,) nearest distance over the mean of the next four. A copy that was blurred or compressed is farther
            from all training images, so its nearest distance need not be small, but one image is nearer than the rest.
    """

    verdict: Literal["publish", "look"]
    near: float
    alone: float
    auc: float
    same: int
    limit: float
    neighbours: Neighbours
    relative: Array


def memorisation(synthetic: Features, training: Features, held_out: Features, k: int = 5) -> Memorisation:
    """Compare the nearest-training distances of synthetic images with those of real images that nobody trained on.

    A sieve and no proof: see `docs/metrics.md` for the altered copies that pass it.

    Args:
        synthetic, training, held_out: (N, D), (M, D), (K, D) of one encoder.

    Raises:
        ValueError: other widths, fewer than two rows, or rows that are zero or not finite.
    """
    found, known = (nearest(images, training, max(k, _COMPARED)) for images in (synthetic, held_out))
    distance, fresh = found.distances[:, 0], known.distances[:, 0]
    relative, fresh_relative = _relative(found), _relative(known)
    limit = float(np.quantile(fresh, QUANTILE))
    near = float((distance < limit).mean())
    alone = float((relative < np.quantile(fresh_relative, QUANTILE)).mean())
    error = np.sqrt(QUANTILE * (1 - QUANTILE) * (1 / len(distance) + 1 / len(fresh)))
    same = int((distance < SAME).sum())
    below = np.searchsorted(np.sort(fresh), distance, "left")
    above = len(fresh) - np.searchsorted(np.sort(fresh), distance, "right")
    return Memorisation(
        verdict="look" if max(near, alone) > QUANTILE + STANDARD_ERRORS * error or same else "publish",
        near=near,
        alone=alone,
        auc=float((above - below).mean() / len(fresh) / 2 + 0.5),
        same=same,
        limit=limit,
        neighbours=Neighbours(found.indices[:, :k], found.distances[:, :k]),
        relative=relative,
    )


def nearest(images: Features, training: Features, k: int, block: int = 512) -> Neighbours:
    """Return the k nearest training images (all, if there are fewer) of each image by cosine distance.

    Raises:
        ValueError: as `memorisation`.
    """
    x, y = _unit(images, "images"), _unit(training, "training set")
    check_widths(x.shape[1], y.shape[1])
    index, distance = [], []
    for start in range(0, len(x), block):
        all_of_block = np.maximum(1 - x[start : start + block] @ y.T, 0)  # (block, M); equal rows give -1e-16
        order = np.argsort(all_of_block, axis=1, kind="stable")[:, :k]
        index.append(order)
        distance.append(np.take_along_axis(all_of_block, order, axis=1))
    return Neighbours(np.concatenate(index), np.concatenate(distance))


def _relative(found: Neighbours) -> Array:
    """Return the nearest distance over the mean of the next ones, (N,); 1 where there are none."""
    following = found.distances[:, 1:_COMPARED]
    if not following.shape[1]:
        return np.ones(len(found.distances))
    relative: Array = found.distances[:, 0] / np.maximum(following.mean(axis=1), SAME)
    return relative


def _unit(features: Features, name: str) -> Array:
    rows = check_features(features, name)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not lengths.all():
        raise ValueError(f"{name}: {int((lengths == 0).sum())} of {len(rows)} feature rows are zero: no direction")
    unit: Array = rows / lengths
    return unit
