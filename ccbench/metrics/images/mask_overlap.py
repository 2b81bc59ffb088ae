"""Mask fidelity: a segmenter's mask on a synthetic image against the condition's mask.

Conventions, as of the polyp field: foreground only, per image and then averaged, two-valued masks. mmsegmentation's
`mDice` pools pixels over the set and averages in the background; it is another number.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label
from scipy.spatial import KDTree

from ccbench.types import Mask

SPECK = 0.001
"""Share of the image below which a component is no polyp.

The 1,488 masks of polyp-128 hold six components of one pixel and none between those and 27 of 16,384 pixels.
"""

FOUND = 0.1
"""Share of a polyp's area that the prediction must exceed to have found it; touching its edge is not finding it."""

_AROUND = np.ones((3, 3), dtype=np.bool_)  # 8-connected, as polyps are counted elsewhere


class MaskScores(NamedTuple):
    """One predicted mask against one wanted mask.

    Every figure is finite, also where a mask is empty, so that a set's mean is over all of its images: a method whose
    polyps are not found cannot gain by leaving them out of its mean.

    Attributes:
        dice, iou: 0..1; two empty masks agree, 1.
        hd95: 95th percentile of the distances of either outline's pixels to the other outline, pixels. Two empty
            masks 0; one empty mask the image's diagonal, the largest distance there is.
        area_error: (predicted - wanted) / (predicted + wanted) area, -1..1, 0 = equal; 1/3 = twice the area. Its mean
            is the bias, the mean of its absolute value the error. Symmetric and bounded, so that no tiny polyp rules
            the mean; 1 - |area_error| is Taha and Hanbury's volumetric similarity (BMC Medical Imaging 2015).
        missing: share of the wanted polyps (8-connected components) of which at most `FOUND` is predicted. 0 for an
            empty wanted mask.
        hallucinated: how many predicted components share no pixel with the wanted mask.
    """

    dice: float
    iou: float
    hd95: float
    area_error: float
    missing: float
    hallucinated: int


def compare_masks(predicted: Mask, wanted: Mask) -> MaskScores:
    """Return the scores of one predicted mask, both (H, W) bool, True = polyp.

    Components below `SPECK` of the image are not counted as polyps, wanted or predicted; where the wanted mask holds
    nothing larger, its largest one is.

    Raises:
        ValueError: not two boolean masks of one size.
    """
    _check(predicted, wanted)
    speck, diagonal = SPECK * wanted.size, float(np.hypot(*wanted.shape))
    predicted, wanted = _crop(predicted, wanted)
    both, either = int((predicted & wanted).sum()), int((predicted | wanted).sum())
    total, difference = both + either, int(predicted.sum()) - int(wanted.sum())
    areas, shared = _components(wanted, predicted)
    polyps = areas >= min(speck, areas.max(initial=0))
    drawn, touched = _components(predicted, wanted)
    return MaskScores(
        dice=2 * both / total if total else 1.0,
        iou=both / either if either else 1.0,
        hd95=surface_distance(predicted, wanted) if predicted.any() and wanted.any() else diagonal * bool(total),
        area_error=difference / total if total else 0.0,
        missing=float((shared <= FOUND * areas)[polyps].mean()) if polyps.any() else 0.0,
        hallucinated=int(((drawn >= speck) & (touched == 0)).sum()),
    )


def surface_distance(a: Mask, b: Mask, percentile: float = 95) -> float:
    """Return the percentile of the symmetric surface distance of two (H, W) masks, in pixels.

    An outline is the mask's pixels that touch a pixel outside of it by an edge, or the image's border; the distances
    of both directions are pooled before the percentile is taken, as in MedPy's `hd95`. Differs from MONAI, which takes
    the larger of the two directions' percentiles.

    Raises:
        ValueError: not two boolean masks of one size, or one of them is empty.
    """
    _check(a, b)
    if not a.any() or not b.any():
        raise ValueError("surface_distance: an empty mask has no outline")
    first, second = _outline(a), _outline(b)
    there, back = KDTree(second).query(first)[0], KDTree(first).query(second)[0]
    return float(np.percentile(np.concatenate([there, back]), percentile))


def _outline(mask: Mask) -> NDArray[np.intp]:
    wide = np.pad(mask, 1)
    within = wide[:-2, 1:-1] & wide[2:, 1:-1] & wide[1:-1, :-2] & wide[1:-1, 2:]
    return np.argwhere(mask & ~within)


def _components(mask: Mask, other: Mask) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the area of each component of a mask, and how much of it another mask shares, (C,) each."""
    regions, count = label(mask, structure=_AROUND)
    areas, shared = (np.bincount(part.ravel(), minlength=count + 1)[1:] for part in (regions, regions[other]))
    return areas, shared


def _crop(a: Mask, b: Mask) -> tuple[Mask, Mask]:
    """Return what the bounding box of both holds: the scores are the same, and most of a frame is empty."""
    either = a | b
    rows, columns = np.flatnonzero(either.any(axis=1)), np.flatnonzero(either.any(axis=0))
    if not rows.size:
        return a[:1, :1], b[:1, :1]
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    return a[box], b[box]


def _check(a: Mask, b: Mask) -> None:
    if a.shape != b.shape or a.ndim != 2 or a.dtype != np.bool_ or b.dtype != np.bool_:
        raise ValueError(
            f"masks are {a.dtype} {a.shape} and {b.dtype} {b.shape}, wanted two boolean (H, W) of one size"
        )
