"""Scores of a segmenter's map against a mask, in the conventions that the polyp field prints side by side.

The published one (PraNet's MATLAB evaluation, which Polyp-PVT states too) stretches each map to 0..1 and takes the mean
over 256 thresholds; the other takes the map as the probability that it is, at 0.5.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ccbench.metrics.images.mask_overlap import compare_masks
from ccbench.metrics.images.structure import StructureScores, structure_scores
from ccbench.types import Mask

PolypMap = NDArray[np.floating] | NDArray[np.uint8]
"""(H, W), how likely each pixel is polyp: floats in 0..1, or 8 bits as in a file."""

_PIECE = 16384  # values at once: what fits the processor's cache takes a quarter of the time


class Overlap(NamedTuple):
    """Dice and IoU of one map, means over the 256 thresholds, 0..1."""

    dice: float
    iou: float


class MapScores(NamedTuple):
    """One map against one mask; every figure is finite, also where map or mask is empty.

    Attributes:
        dice_256, iou_256: as `threshold_scores`.
        dice, iou, hd95: of the map at 0.5, as `compare_masks`.
        shared: pixels of the mask that are marked at 0.5.
        areas: marked pixels and the mask's, added.
        structure: None where PySODMetrics is not installed.
    """

    dice_256: float
    iou_256: float
    dice: float
    iou: float
    hd95: float
    shared: int
    areas: int
    structure: StructureScores | None


def score_map(predicted: PolypMap, wanted: Mask, *, png: bool = False) -> MapScores:
    """Return all scores of one map (H, W) against one mask (H, W), True = polyp.

    Args:
        png: score what the published test scripts save (`as_saved`) wherever the map is stretched anyway, which is all
            but the scores at 0.5: those are of the map as it was given.

    Raises:
        ValueError: unequal sizes, a map with values outside of 0..1 or NaN, or of another type.
    """
    overlap = threshold_scores(predicted, wanted, png=png)
    marked = at_half(predicted)
    masks = compare_masks(marked, wanted)
    return MapScores(
        overlap.dice,
        overlap.iou,
        masks.dice,
        masks.iou,
        masks.hd95,
        shared=int(np.count_nonzero(marked & wanted)),
        areas=int(np.count_nonzero(marked)) + int(np.count_nonzero(wanted)),
        structure=structure_scores(as_saved(predicted) if png else predicted, wanted),
    )


def threshold_scores(predicted: PolypMap, wanted: Mask, *, png: bool = False) -> Overlap:
    """Return Dice and IoU as means over the thresholds 1, 254/255, ..., 0 of the map stretched to 0..1.

    At each threshold t the pixels with (r - min) / (max - min) >= t are marked. Exact: one histogram decides as 256
    comparisons of float64 would. t = 0 marks everything, so a perfect two-valued map of a mask with share s of the
    image has (255 + 2 s / (1 + s)) / 256 of Dice, about 0.997.

    A constant map is 0 everywhere: it is marked at t = 0 only, whatever its level. A threshold that marks nothing where
    the mask is empty scores 1, as two empty masks do in `compare_masks`; so an empty mask gives 255/256 to a constant
    map and 0 to any other, which always marks its highest pixel.

    Differs from the MATLAB code: there an empty mask scores 0 at every threshold (0 whenever no pixel is shared), which
    no prediction could better, and a constant map keeps its level (`mapminmax`), though the scripts that save the maps
    have made it 0 before. The 1e-8 in these scripts' denominator is left out, as there: in float64 the highest
    pixel would otherwise miss t = 1.

    Raises:
        ValueError: as `score_map`.
    """
    _check(predicted, wanted)
    marked, shared = _count(as_saved(predicted) if png else predicted, wanted)
    total = marked + np.count_nonzero(wanted)
    return Overlap(_mean_share(2 * shared, total), _mean_share(shared, total - shared))


def at_half(predicted: PolypMap) -> Mask:
    """Return the pixels of a map (H, W) that are polyp more likely than not: 0.5 and above, 128 of 8 bits."""
    marked: Mask = predicted >= (128 if predicted.dtype == np.uint8 else 0.5)
    return marked


def as_saved(predicted: PolypMap) -> NDArray[np.uint8]:
    """Return a map (H, W) as PraNet's and Polyp-PVT's test scripts save it: stretched, then rounded to 8 bits.

    255 (r - min) / (max - min + 1e-8) of values in 0..1; an 8-bit map that goes from 0 to 255 stays as it is.
    """
    values = predicted / np.float64(255 if predicted.dtype == np.uint8 else 1)
    low, high = values.min(), values.max()
    saved: NDArray[np.uint8] = np.rint(255 * (values - low) / (high - low + 1e-8)).astype(np.uint8)
    return saved


def _count(predicted: PolypMap, wanted: Mask) -> NDArray[np.int64]:
    """Return how many pixels are marked at 1, 254/255, ..., 0, and how many of these are the mask's, (2, 256)."""
    low, high = float(predicted.min()), float(predicted.max())
    if predicted.dtype == np.uint8:
        numbers = _threshold_numbers(np.arange(low, high + 1), low, high)
        levels = _histograms(predicted.astype(np.uint8, copy=False), wanted)[:, int(low) : int(high) + 1]
        counts = np.stack([np.bincount(numbers, weights=part, minlength=256) for part in levels]).astype(np.int64)
    else:
        counts = _histograms(_threshold_numbers(predicted.astype(np.float64, copy=False), low, high), wanted)
    return np.cumsum(counts[:, ::-1], axis=1, dtype=np.int64)


def _histograms(values: NDArray[np.uint8], wanted: Mask) -> NDArray[np.int64]:
    """Return how often each of 0..255 occurs in an image and within its mask, (2, 256)."""
    outside, within = np.bincount((wanted * np.uint16(256) + values).ravel(), minlength=512).reshape(2, 256)
    return np.stack([outside + within, within])


def _threshold_numbers(values: PolypMap, low: float, high: float) -> NDArray[np.uint8]:
    """Return the highest k of 0..255 for which each value reaches k / 255 when low..high is stretched to 0..1.

    In float64 x >= k / 255 exactly where 255 x >= k: for each k, k / 255 times 255 is k and the next lower number's
    product is below it (tests/golden/test_map_parity.py), and products keep their order.
    """
    numbers = np.zeros(values.shape, dtype=np.uint8)
    if high == low:
        return numbers
    flat, found = values.ravel(), numbers.reshape(-1)
    for start in range(0, flat.size, _PIECE):
        piece = slice(start, start + _PIECE)
        stretched = (flat[piece].astype(np.float64) - low) / (high - low)
        found[piece] = (stretched * 255).astype(np.uint8)
    return numbers


def _mean_share(part: NDArray[np.int64], whole: NDArray[np.int64]) -> float:
    return float(np.divide(part, whole, out=np.ones(part.shape), where=whole > 0).mean())


def _check(predicted: PolypMap, wanted: Mask) -> None:
    if predicted.shape != wanted.shape or wanted.ndim != 2 or not wanted.size:
        raise ValueError(f"map is {predicted.shape}, its mask {wanted.shape}; wanted two (H, W) of one size")
    if wanted.dtype != np.bool_ or not (predicted.dtype == np.uint8 or np.issubdtype(predicted.dtype, np.floating)):
        raise ValueError(f"map is {predicted.dtype}, its mask {wanted.dtype}; wanted floats or uint8, and bool")
    low, high = predicted.min(), predicted.max()
    if predicted.dtype != np.uint8 and not (low >= 0 and high <= 1):  # NaN is neither
        raise ValueError(f"map goes from {low} to {high}; wanted 0..1, or 8 bits as uint8")
