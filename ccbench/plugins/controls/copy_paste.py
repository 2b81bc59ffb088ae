"""copy-paste: a training polyp pasted into the mask, on the mucosa of another training image.

What augmentation without a generator gives: Ghiasi et al., Simple Copy-Paste is a Strong Data Augmentation Method for
Instance Segmentation, CVPR 2021. Their paste keeps the polyp's own shape; here the mask is given, so the polyp is
stretched to it. For every condition, by its seed:

1. a background among the half of the training images where the least is in the way: a polyp to be removed beside the
   mask, or the frame's black border in it;
2. the background's polyp is removed (`remove_region`);
3. a donor among the training polyps most like the mask in size and shape, for each piece of the mask;
4. the donor is scaled to the piece's bounding box, multiplied by the ratio of the two mucosae's colours, so that the
   polyp keeps its contrast, and put into the piece with a soft edge (`paste`).
"""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, distance_transform_edt, gaussian_filter, label, map_coordinates
from scipy.signal import fftconvolve

from ccbench.errors import DataError
from ccbench.plugins.contract import LoadContext
from ccbench.plugins.controls.control_settings import NoSettings
from ccbench.plugins.controls.real_images import EachImage, real_data
from ccbench.plugins.controls.train_copy import mask_iou
from ccbench.types import Condition, Image, Mask, PairSequence

S = TypeVar("S", bound=np.generic)

DONORS = 32
"""A donor is drawn among this many of the most similar training polyps."""

BORDER = 20
"""A pixel whose brightest channel is below this is the frame's border or an interface, no mucosa."""

GAINS = (0.6, 1.6)
"""Least and greatest factor on a donor's channels."""

_FINE = 12.0  # grey levels: structure above it is an edge or a reflection, whose copy would stand out
_SHAPE = 32  # side of the grid on which the shapes of polyps are compared

Colours = NDArray[np.float64]  # (H, W, 3), grey levels


def load(context: LoadContext[NoSettings]) -> EachImage:
    """Return the generator of the pasted images."""
    return EachImage(_Paster(real_data(context).train).draw)


class _Paster:
    def __init__(self, train: PairSequence) -> None:
        self._train = train
        # One pass: a pair is read from disk, and its caption measured, whenever it is accessed.
        read = [(pair.condition.id, pair.condition.mask, _border(pair.image)) for pair in train]
        self._ids = [one for one, _, _ in read]
        self._masks, self._borders = (np.stack(part) for part in list(zip(*read, strict=True))[1:])  # (N, H, W) each
        self._donors = np.flatnonzero(self._masks.any(axis=(1, 2)))
        polyps = [_pieces(self._masks[donor])[0] for donor in self._donors]
        self._shapes = np.stack([_shape(polyp) for polyp in polyps])  # (D, 32, 32)
        self._sizes = np.array([_box(polyp)[1] for polyp in polyps])  # (D, 2)

    def draw(self, condition: Condition, seed: int) -> Image:
        rng = np.random.default_rng(seed)
        own = self._ids.index(condition.id) if condition.id in self._ids else None  # itself no answer
        if own is not None and not (self._donors != own).any():
            raise DataError(f"copy-paste: no training image beside {condition.id} holds a polyp; raise --limit")
        ground = self._train[self._choose_background(condition.mask, own, rng)]
        image = remove_region(ground.image, ground.condition.mask)
        for piece in _pieces(condition.mask):
            donor = self._train[self._choose_donor(piece, own, rng)]
            image = paste(donor.image, _pieces(donor.condition.mask)[0], image, piece)
        return image

    def _choose_donor(self, mask: Mask, own: int | None, rng: np.random.Generator) -> int:
        ratios = self._sizes / _box(mask)[1]
        alike = mask_iou(self._shapes, _shape(mask)) * np.minimum(ratios, 1 / ratios).prod(axis=1)
        order = self._donors[np.argsort(-alike, kind="stable")]
        return int(rng.choice(order[order != own][:DONORS]))

    def _choose_background(self, mask: Mask, own: int | None, rng: np.random.Generator) -> int:
        in_the_way = np.count_nonzero(np.where(mask, self._borders, self._masks), axis=(1, 2))
        order = np.argsort(in_the_way, kind="stable")
        order = order[order != own]
        return int(rng.choice(order[: -(-len(order) // 2)]))


def remove_region(image: Image, region: Mask) -> Image:
    """Return the image with a region, and a rim of 1/32 of its side, filled with what surrounds it; no border pixel.

    Colour is the mean of the pixels outside, weighted by distance ** -4 (Shepard 1968), so that it meets the edge
    without a step. Fine structure is what lies mirrored at the edge.
    """
    size = len(region)
    border = _border(image)
    hole = binary_dilation(region, iterations=max(1, size // 32)) & ~border
    known = ~hole & ~binary_dilation(border, iterations=max(1, size // 64))  # the border's edge is dark too
    if not known.any() or not hole.any():
        return image
    copied = _mirror(image, known).astype(np.float64)
    fine = copied - gaussian_filter(copied, (size / 32, size / 32, 0))
    filled = _interpolate(image.astype(np.float64), known) + fine.clip(-_FINE, _FINE)
    return np.where(hole[..., None], _to_image(filled), image)


def paste(donor: Image, donor_mask: Mask, background: Image, mask: Mask) -> Image:
    """Return the background with the donor's polyp in `mask`.

    Pixels deeper in the mask than the feather, 1/64 of the image's side, are the donor's, those as far outside are the
    background's, and between them the share goes from one to the other in a straight line.
    """
    size = len(mask)
    gain = (_surround(background, mask) / _surround(donor, donor_mask)).clip(*GAINS)
    layer = (_stretch(donor, donor_mask & ~_border(donor), mask) * gain).clip(0, 255)
    depth = distance_transform_edt(mask) - distance_transform_edt(~mask)
    share = np.clip(0.5 + depth / (2 * max(1.0, size / 64)), 0, 1)[..., None]
    return _to_image(share * layer + (1 - share) * background)


def _stretch(donor: Image, donor_mask: Mask, mask: Mask) -> Colours:
    """Return the donor scaled so that its mask's bounding box falls on that of `mask`; beyond the polyp, its mirror."""
    if not donor_mask.any():
        return donor.astype(np.float64)
    (corner, extent), (donor_corner, donor_extent) = _box(mask), _box(donor_mask)
    scale = donor_extent / extent
    places = np.indices(mask.shape) + 0.5 - corner[:, None, None]
    places = places * scale[:, None, None] + donor_corner[:, None, None] - 0.5
    channels = [map_coordinates(donor[..., c].astype(np.float64), places, order=1, mode="nearest") for c in range(3)]
    polyp = map_coordinates(donor_mask.astype(np.float64), places, order=1) > 0.75
    return _mirror(np.stack(channels, axis=-1), polyp if polyp.any() else mask)


def _surround(image: Image, region: Mask) -> NDArray[np.float64]:
    """Return the median colour of a ring around a region, 1/16 of the image's side wide, (3,), at least 1."""
    ring = binary_dilation(region, iterations=max(1, len(region) // 16)) & ~region & ~_border(image)
    median: NDArray[np.float64] = np.median(image[ring if ring.any() else region], axis=0)
    return np.maximum(median, 1.0)


def _interpolate(image: Colours, known: Mask) -> Colours:
    """Return the mean of the known pixels around each pixel, weighted by distance ** -4."""
    rows, columns = (np.arange(1 - length, length) for length in known.shape)
    distance = np.hypot(rows[:, None], columns[None, :])
    weight = np.maximum(distance, 1.0) ** -4
    total = fftconvolve(known.astype(np.float64), weight, mode="same")
    sums = [fftconvolve(image[..., c] * known, weight, mode="same") for c in range(3)]
    filled: Colours = np.stack(sums, axis=-1) / np.maximum(total, 1e-12)[..., None]
    return filled


def _mirror(image: NDArray[S], known: Mask) -> NDArray[S]:
    """Return the image with each unknown pixel replaced by its mirror image at the nearest known one.

    Where that lies outside or is unknown too, it is the nearest known pixel itself.
    """
    nearest = distance_transform_edt(~known, return_distances=False, return_indices=True)  # (2, H, W)
    limits = np.array(known.shape)[:, None, None] - 1
    mirrored = (2 * nearest - np.indices(known.shape)).clip(0, limits)
    reached: NDArray[S] = image[tuple(np.where(known[tuple(mirrored)], mirrored, nearest))]
    return reached


def _pieces(mask: Mask) -> list[Mask]:
    """Return the connected pieces of a mask, the largest first."""
    labels, count = label(mask)
    return sorted((labels == number for number in range(1, count + 1)), key=lambda piece: -np.count_nonzero(piece))


def _shape(mask: Mask) -> Mask:
    """Return what a mask's bounding box holds, on a grid of 32 x 32."""
    corner, extent = _box(mask)
    rows, columns = (corner[axis] + (np.arange(_SHAPE) * extent[axis]) // _SHAPE for axis in range(2))
    return mask[np.ix_(rows, columns)]


def _border(image: Image) -> Mask:
    dark: Mask = image.max(axis=2) < BORDER
    return dark


def _box(mask: Mask) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return corner and size of a mask's bounding box, (row, column) each."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    corner = np.array([rows[0], columns[0]])
    return corner, np.array([rows[-1], columns[-1]]) + 1 - corner


def _to_image(values: Colours) -> Image:
    return values.round().clip(0, 255).astype(np.uint8)
