"""Pairs of images that lie close together, among all pairs of a set: blocked matrix products, never a whole N x N."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BLOCK = 512  # rows of the distance matrices held at a time: at 5,000 images 10 MB each


class ClosePairs(NamedTuple):
    """Pairs of rows, (P,) each, `first` < `second`, in that order.

    Attributes:
        hamming: bits that differ.
        cosine: 1 - the cosine of the features, 0..2.
        distance: the share of bits that differ plus the cosine distance.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    hamming: NDArray[np.int64]
    cosine: NDArray[np.float64]
    distance: NDArray[np.float64]


def find_close_pairs(
    hashes: NDArray[np.bool_], features: NDArray[np.float32], limit: float, block: int = BLOCK
) -> ClosePairs:
    """Return every pair of images whose `distance` is at most `limit`.

    Args:
        hashes: (N, V, B) bits of V views of each image. The Hamming distance of a pair is the least from the second
            image's first view to a view of the first image.
        features: (N, D); a row of zeros has cosine distance 1 to every other.

    Raises:
        ValueError: N differs between hashes and features.
    """
    if len(hashes) != len(features):
        raise ValueError(f"{len(hashes)} hashes for {len(features)} rows of features; wanted one for each")
    signs = np.where(hashes, np.float32(1), np.float32(-1))  # (N, V, B): s.t = B - 2 * bits that differ, exactly
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    bits, found = signs.shape[2], []
    for start in range(0, max(1, len(hashes)), block):
        rows = slice(start, start + block)
        others = signs[start:, 0].T  # (B, N - start)
        agreement = np.max([signs[rows, view] @ others for view in range(signs.shape[1])], axis=0)
        hamming = (bits - agreement) / 2  # (block, N - start)
        cosine = np.maximum(1 - unit[rows] @ unit[start:].T, 0)  # rounding leaves equal features at -1e-7
        first, second = np.nonzero(np.triu(hamming / bits + cosine <= limit, k=1))
        found.append((first + start, second + start, hamming[first, second], cosine[first, second]))
    first, second, hamming, cosine = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return ClosePairs(first, second, hamming.astype(np.int64), cosine.astype(float), hamming / bits + cosine)
