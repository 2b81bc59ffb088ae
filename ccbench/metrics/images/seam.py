"""The seam at a mask's edge.

A real polyp has an edge of its own, so a seam is scored as the excess over that of the real image of the same mask:
0 = as in the real partner; above, a seam; below, an edge that is washed out or lies elsewhere.
Lengths are in 1/128 of the image's side (the root of its area), so that images of all sizes are measured alike.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, distance_transform_edt, gaussian_filter
from skimage.color import rgb2lab

from ccbench.types import Image, Mask

SCALE = 1.0  # Gaussian of the derivatives
EDGE = 0.6  # how far the edge's own pixels lie from it
FLANK = (1.5, 4.0)  # how far the pixels lie that the edge is compared with, on either side
RING = 2.0  # width of the rings whose colours are compared
ALONG = 2.0  # Gaussian over which a ring's colour is averaged along the edge

_BLACK, _SPECULAR = 20, 200  # grey levels of the border around the visible frame, and of highlights
_FAINT = 0.3  # CIELAB units, added to gradients and steps: below it they are rounding
_FEWEST = 8  # pixels of a region, for its mean to mean something

Array = NDArray[np.float64]


class SeamScores(NamedTuple):
    """How much more changes at the mask's edge than beside it, in doublings: 0 = as much, 1 = twice as much.

    Both are ratios of what lies at the edge to what lies a few pixels inside and outside of it, so that blur or
    contrast of the whole image nearly cancels.

    Attributes:
        gradient: log2 of the colour gradient across the edge, pixel by pixel.
        colour: log2 of the step between the local mean colours of the rings inside and outside of the edge, over that
            of neighbouring rings on either side: a coherent step, whatever the texture.
    """

    gradient: float
    colour: float


def seam(image: Image, mask: Mask) -> SeamScores | None:
    """Return the seam of one image at the edge of its mask.

    Left out are the frame's black border, highlights, and what lies at the image's own edge.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool.

    Returns:
        None where too little of the edge can be seen, as of an empty mask.

    Raises:
        ValueError: image and mask do not fit together.
    """
    _check(image, mask)
    unit = float(np.sqrt(mask.size)) / 128
    if not mask.any() or mask.all():
        return None
    inside = np.where(mask, distance_transform_edt(mask) - 0.5, 0.5 - distance_transform_edt(~mask)) / unit
    seen, lab = _seen(image, unit), rgb2lab(image)
    across = np.log2(_across(lab, inside, unit) + _FAINT)
    edge = (np.abs(inside) <= EDGE) & seen
    flanks = [(side * inside > FLANK[0]) & (side * inside <= FLANK[1]) & seen for side in (1, -1)]
    if min(region.sum() for region in (edge, *flanks)) < _FEWEST:
        return None
    rings = [_local_colour(lab, (inside > start) & (inside <= start + RING) & seen, unit) for start in _RINGS]
    steps = [np.log2(np.linalg.norm(b - a, axis=2) + _FAINT)[edge].mean() for a, b in pairwise(rings)]
    return SeamScores(
        gradient=float(across[edge].mean() - np.mean([across[flank].mean() for flank in flanks])),
        colour=float(steps[1] - (steps[0] + steps[2]) / 2),
    )


_RINGS = (-2 * RING, -RING, 0.0, RING)


def _across(lab: Array, inside: Array, unit: float) -> Array:
    """Return the length (H, W) of the colour's derivative in the direction of the nearest edge, per unit."""
    normal = np.array(np.gradient(gaussian_filter(inside, unit)))
    normal /= np.maximum(np.linalg.norm(normal, axis=0), 1e-6)
    width = (SCALE * unit, SCALE * unit, 0)
    down, right = (gaussian_filter(lab, width, order=order) * unit for order in ((1, 0, 0), (0, 1, 0)))
    length: Array = np.linalg.norm(down * normal[0][..., None] + right * normal[1][..., None], axis=2)
    return length


def _local_colour(lab: Array, region: Mask, unit: float) -> Array:
    """Return the mean colour (H, W, 3) of a region around each pixel."""
    weight = gaussian_filter(region.astype(np.float64), ALONG * unit)
    sums = gaussian_filter(lab * region[..., None], (ALONG * unit, ALONG * unit, 0))
    mean: Array = sums / np.maximum(weight, 1e-9)[..., None]
    return mean


def _seen(image: Image, unit: float) -> Mask:
    border = binary_dilation(image.max(axis=2) < _BLACK, iterations=round(3 * unit) or 1)
    highlight = binary_dilation(image.min(axis=2) > _SPECULAR, iterations=round(2 * unit) or 1)
    rim = int(np.ceil(2 * unit))
    seen = np.zeros(border.shape, dtype=np.bool_)
    seen[rim:-rim, rim:-rim] = True
    return seen & ~border & ~highlight


def _check(image: Image, mask: Mask) -> None:
    if image.ndim != 3 or image.dtype != np.uint8 or image.shape != (*mask.shape, 3) or mask.dtype != np.bool_:
        found = f"{image.dtype} {image.shape} with mask {mask.dtype} {mask.shape}"
        raise ValueError(f"image is {found}, wanted uint8 (H, W, 3) with a boolean (H, W)")
