"""The numbers behind the attributes: shape, colour, texture and light of one frame, each one small function.

All of them look at one frame, a squash to 128 px, so that an original and the small image made from its mask are
measured alike; lengths are pixels of that frame, colours CIELAB.
"""

from typing import NamedTuple

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from scipy import ndimage
from skimage.color import rgb2lab
from skimage.measure import perimeter_crofton

from ccbench.base.images import resize_image, resize_mask
from ccbench.data.attributes.visible_field import Field
from ccbench.errors import DataError
from ccbench.types import Image, Mask, check_image, check_mask

FRAME = 128  # pixels, both sides

COUNTED_SHARE = 0.1  # of the largest polyp's area, from which a further component is a polyp and no speck
STALK_RADIUS = 0.72  # of the inscribed radius: a disc of this size reaches all of a head and no stalk
STALK_SHARE, STALK_OF_REST = 0.10, 0.80  # of the polyp, and of all that the disc does not reach
RING = (2.5, 11.0)  # pixels outside the polyp, the mucosa that it is compared with
DARK_BELOW = 0.35  # of the lightness of the lit frame
FAINTEST_STEP = 2.0  # colour units, below which a step from mucosa to polyp is noise

BLACK_BELOW = 15.0  # L*, below which a pixel has no colour
GREY_BELOW = 5.0  # chroma
WARM = (-10.0, 85.0)  # hue in degrees of tissue in white light

WHOLLY_INSIDE = 0.99  # of a pixel of the frame, from which it is inside the field

_BLACK = 20  # grey levels, of the border around the visible frame
_SPECULAR = 200  # grey levels of the weakest channel
_LUMA = np.array([0.30, 0.59, 0.11])

Plane = NDArray[np.float64]
"""(FRAME, FRAME)."""


class Frame(NamedTuple):
    """A frame as it is measured.

    Attributes:
        rgb: (FRAME, FRAME, 3), 0..255.
        lab: (FRAME, FRAME, 3).
        saturation: (max - min) / max over RGB.
        mask: (FRAME, FRAME), True = polyp.
        inside: distance to its edge, positive in the polyp.
        visible: without the black border.
        seen: nor the highlights.
        specular: the highlights.
    """

    rgb: NDArray[np.float64]
    lab: NDArray[np.float64]
    saturation: Plane
    mask: Mask
    inside: Plane
    visible: Mask
    seen: Mask
    specular: Mask


class Shape(NamedTuple):
    """Form of one outline.

    Attributes:
        axis_ratio: 1 = as long as wide.
        eccentricity: both of the ellipse with the same second moments.
        circularity: 4 pi area / perimeter^2, 1 for a disc.
        misfit: 1 - IoU with that ellipse.
    """

    axis_ratio: float
    eccentricity: float
    circularity: float
    misfit: float


class Tone(NamedTuple):
    """Colour of the lit mucosa: `hue` in degrees, 0 = red and 90 = yellow; `chroma` in CIELAB units."""

    hue: float
    chroma: float


class Light(NamedTuple):
    """Colour of the lit mucosa that no dye stains: CIELAB lightness and chroma, hue in degrees.

    Attributes:
        cold: share of the mucosa that is blue or green, by dye or by narrow-band light.
    """

    lightness: float
    hue: float
    chroma: float
    cold: float


def look(image: Image, mask: Mask) -> Frame:
    """Squash image and mask, and find what of the frame can be seen.

    Raises:
        DataError: image and mask do not fit together.
    """
    _check(image, mask)
    pixels, small = resize_image(image, FRAME), _squash(mask)
    regions, _ = ndimage.label(np.pad(pixels.max(axis=2) < _BLACK, 1, constant_values=True))
    lit = (regions != regions[0, 0])[1:-1, 1:-1]
    visible = ndimage.binary_erosion(lit, iterations=2) | (lit & small)
    if not visible.any():
        visible = np.ones_like(small)
    return _frame(pixels, small, visible, pixels.min(axis=2) > _SPECULAR)


def look_through_lens(image: Image, mask: Mask, field: Field) -> Frame:
    """Squash image and mask, and take what can be seen of the frame from its visible field.

    Args:
        field: of the image, at its own resolution. A highlight that is smaller than a pixel of the frame counts.

    Raises:
        DataError: image and mask do not fit together.
    """
    _check(image, mask)
    pixels, small = resize_image(image, FRAME), _squash(mask)
    visible, specular = _shares(field.inside) > WHOLLY_INSIDE, _shares(field.glints) > 0
    visible = visible | (small & (_shares(field.inside) > 0))
    if not visible.any():
        visible = np.ones_like(small)
    return _frame(pixels, small, visible, specular | (pixels.min(axis=2) > _SPECULAR))


def largest_polyp(mask: Mask) -> tuple[Mask, int]:
    """Return the largest component of a mask that is not empty, and how many are large enough to count."""
    regions, n = ndimage.label(mask, structure=np.ones((3, 3)))
    areas = np.bincount(regions.ravel(), minlength=n + 1)[1:]
    return regions == 1 + int(areas.argmax()), int((areas >= COUNTED_SHARE * areas.max()).sum())


def measure_shape(polyp: Mask) -> Shape:
    """Measure the outline of one polyp; a stalk is left out, since words describe the head."""
    head = _without_stalk(polyp)
    points = np.argwhere(head)
    spread = np.cov(points.T, bias=True) + np.eye(2) / 12  # a pixel has an extent
    minor, major = np.sqrt(np.linalg.eigvalsh(spread))
    away = np.indices(head.shape).transpose(1, 2, 0) - points.mean(axis=0)
    ellipse = np.einsum("...i,ij,...j", away, np.linalg.inv(spread), away) <= 4  # the same second moments
    perimeter = float(perimeter_crofton(np.pad(head, 1), 4))  # type: ignore[no-untyped-call]
    return Shape(
        axis_ratio=float(major / minor),
        eccentricity=float(np.sqrt(1 - (minor / major) ** 2)),
        circularity=min(4 * np.pi * float(head.sum()) / max(perimeter, 1.0) ** 2, 1.0),
        misfit=1 - float((ellipse & head).sum() / (ellipse | head).sum()),
    )


def contrast(frame: Frame, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Median of each channel in the polyp minus that in the ring of mucosa around it.

    Args:
        values: (FRAME, FRAME, C). Returns: (C,).
    """
    polyp = _enough(frame.mask & frame.seen, frame.mask)
    ring = (frame.inside < -RING[0]) & (frame.inside > -RING[1]) & frame.seen
    mucosa = _enough(ring, ~frame.mask & frame.visible, frame.mask)
    difference: NDArray[np.float64] = np.median(values[polyp], axis=0) - np.median(values[mucosa], axis=0)
    return difference


def texture(frame: Frame) -> float:
    """Fine relief of the polyp: median absolute deviation of the band-passed log of the green channel, percent.

    Green, where blood shows; the log, so that little light is no smoothness; the median, so that highlights are none.
    """
    log_green = 100 * np.log(frame.rgb[..., 1] + 8)
    band = ndimage.gaussian_filter(log_green, 1.0) - ndimage.gaussian_filter(log_green, 2.0)
    inner = ((frame.inside > depth) & frame.seen for depth in (4, 2, 0))  # clear of the edge where there is room
    values = band[_enough(*inner, frame.mask)]
    return float(np.median(np.abs(values - np.median(values))))


def steepness(frame: Frame) -> float:
    """Largest step between neighbouring pixels across the polyp's edge, over the whole step from mucosa to polyp.

    The geometric mean of two measures of chroma, since the light on a bulging polyp changes across its edge however
    soft that is: the plane of a* and b*, and that of the log ratios of red, green and blue.
    """
    logs = 100 * np.log(frame.rgb + 8)
    return float(np.sqrt(_steepness(frame, frame.lab[:, :, 1:]) * _steepness(frame, -np.diff(logs, axis=2))))


def mean_luma(frame: Frame) -> float:
    """Mean luma of the visible frame, 0..255."""
    return float((frame.rgb[frame.visible] @ _LUMA).mean())


def specular_share(frame: Frame) -> float:
    """Share of the visible frame that is a highlight."""
    return float((frame.specular & frame.visible).sum() / frame.visible.sum())


def lumen_radius(frame: Frame) -> float:
    """Radius of the largest disc of wall, clear of the polyp, that is much darker than the lit part of the frame."""
    weight = ndimage.gaussian_filter(frame.visible.astype(np.float64), 3)
    lightness = ndimage.gaussian_filter(frame.lab[..., 0] * frame.visible, 3) / np.maximum(weight, 1e-3)
    lit = float(np.quantile(frame.lab[..., 0][frame.visible], 0.8))
    dark = (lightness < DARK_BELOW * lit) & frame.visible & (frame.inside < -3)
    return float(ndimage.distance_transform_edt(dark).max())


def mucosa_tone(frame: Frame) -> Tone:
    """Colour of the lighter half of the mucosa."""
    mucosa = _enough(frame.seen & ~frame.mask, frame.visible)
    lit = mucosa & (frame.lab[..., 0] >= np.median(frame.lab[mucosa][:, 0]))
    _, a, b = np.median(frame.lab[lit], axis=0)
    return Tone(float(np.degrees(np.arctan2(b, a))), float(np.hypot(a, b)))


def mucosa_light(frame: Frame) -> Light:
    """Colour of the lighter half of the mucosa that is neither blue nor green; of all of it where none is left."""
    mucosa = _enough(frame.seen & ~frame.mask, frame.visible)
    lightness, a, b = frame.lab.transpose(2, 0, 1)
    hue, chroma = np.degrees(np.arctan2(b, a)), np.hypot(a, b)
    judged = mucosa & (lightness > BLACK_BELOW)
    cold = (chroma > GREY_BELOW) & ~((WARM[0] <= hue) & (hue <= WARM[1]))
    warm = _enough(judged & ~cold, mucosa)
    lit = warm & (lightness >= np.median(lightness[warm]))
    found = np.median(frame.lab[lit], axis=0)
    return Light(
        lightness=float(found[0]),
        hue=float(np.degrees(np.arctan2(found[2], found[1]))),
        chroma=float(np.hypot(found[1], found[2])),
        cold=float((cold & judged).sum() / max(judged.sum(), 1)),
    )


def squeeze_mask(mask: Mask) -> Mask:
    """Scale a mask to as many pixels as a frame has, with its own ratio of sides, by nearest neighbour."""
    scale = FRAME / np.sqrt(mask.size)
    height, width = (max(1, round(side * scale)) for side in mask.shape)
    small = PIL.Image.fromarray(mask.astype(np.uint8)).resize((width, height), PIL.Image.Resampling.NEAREST)
    return np.asarray(small) > 0 if np.asarray(small).any() else mask


def _steepness(frame: Frame, values: NDArray[np.float64]) -> float:
    """`steepness` in the space of `values`, (FRAME, FRAME, C)."""
    distances = np.arange(-7.5, 8)  # pixels inside the edge
    profile = np.full((len(distances), values.shape[2]), np.nan)
    for index, distance in enumerate(distances):
        band = (np.abs(frame.inside - distance) <= 0.75) & frame.seen
        if band.sum() > 4:
            profile[index] = np.median(values[band], axis=0)
    known = ~np.isnan(profile[:, 0])
    deepest = 0.7 * max(float(frame.inside.max()), 6.5)
    for polyp, mucosa in (((distances > 3) & (distances <= deepest), distances < -3), (distances > 0, distances < 0)):
        if (polyp & known).any() and (mucosa & known).any():
            break
    else:
        return 1.0
    step = profile[polyp & known].mean(axis=0) - profile[mucosa & known].mean(axis=0)
    size = float(np.linalg.norm(step))
    along = profile @ (step / max(size, 1e-6))
    steps = np.diff(along)[np.abs(distances[1:] - 0.5) <= 2]
    return max(float(np.nanmax(steps)), 0.0) / max(size, FAINTEST_STEP) if (~np.isnan(steps)).any() else 1.0


def _check(image: Image, mask: Mask) -> None:
    check_image(image, "measure_attributes")
    check_mask(mask, "measure_attributes")
    if image.shape[:2] != mask.shape:
        raise DataError(f"measure_attributes: image {image.shape[:2]}, its mask {mask.shape}; they must have one size")


def _frame(pixels: Image, mask: Mask, visible: Mask, specular: Mask) -> Frame:
    rgb, strongest = pixels.astype(np.float64), pixels.max(axis=2)
    return Frame(
        rgb=rgb,
        lab=rgb2lab(pixels),
        saturation=(strongest - rgb.min(axis=2)) / np.maximum(strongest, 1),
        mask=mask,
        inside=_distance_inside(mask),
        visible=visible,
        seen=visible & ~ndimage.binary_dilation(specular),
        specular=specular,
    )


def _shares(mask: Mask) -> Plane:
    """Share of each pixel of the frame that a mask of any size covers."""
    grey = PIL.Image.fromarray(mask.astype(np.float32))
    return np.asarray(grey.resize((FRAME, FRAME), PIL.Image.Resampling.BOX), dtype=np.float64)


def _squash(mask: Mask) -> Mask:
    small = resize_mask(mask, FRAME)
    if mask.any() and not small.any():  # a polyp that falls between the pixels is kept as one
        row, column = (np.argwhere(mask).mean(axis=0) / mask.shape * FRAME).astype(int)
        small = np.zeros((FRAME, FRAME), dtype=np.bool_)
        small[row, column] = True
    return small


def _distance_inside(mask: Mask) -> Plane:
    if not mask.any():
        return np.full(mask.shape, -np.inf)
    inside, outside = ndimage.distance_transform_edt(mask), ndimage.distance_transform_edt(~mask)
    distance: Plane = np.where(mask, inside - 0.5, 0.5 - outside)
    return distance


def _without_stalk(polyp: Mask) -> Mask:
    """The part that a large disc inside the polyp can reach, where what it cannot reach is one stalk."""
    depth = ndimage.distance_transform_edt(np.pad(polyp, 1))
    radius = STALK_RADIUS * depth.max()
    reached = (ndimage.distance_transform_edt(~(depth > radius)) <= radius)[1:-1, 1:-1] & polyp
    head, rest = largest_polyp(reached)[0], polyp & ~reached
    stalk = largest_polyp(rest)[0].sum() if rest.any() else 0
    return head if stalk > STALK_SHARE * polyp.sum() and stalk > STALK_OF_REST * rest.sum() else polyp


def _enough(*regions: Mask) -> Mask:
    """Return the first region of ten pixels or more, else the last."""
    return next((region for region in regions if region.sum() >= 10), regions[-1])
