"""The visible field of an endoscope's frame: what of it shows the bowel, and which of its pixels are highlights.

A recorded frame holds more than the view through the lens: a black border whose inner edge is an octagon, a circle or a
rounded square, burnt-in text, and insets such as a position finder's box or a second picture. None of it is mucosa.
"""

from typing import NamedTuple

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import convex_hull_image

from ccbench.types import Image, Mask

LONG_SIDE = 384  # pixels of the copy on which the field is looked for
BORDER_UP_TO = 28  # grey levels of the strongest channel: borders are black to dark grey, JPEG adds noise
PLAIN = 6  # grey levels, by which pixels of a border differ: dark tissue differs by more
THIN = 0.02  # of the long side: text, lines and bridges up to this wide are no part of the field
EDGE = 0.008  # of the long side, left out along the field's edge, where the lens darkens and colours fringe
LEAST_FIELD = 0.1  # of the frame: anything smaller is no view through a lens, and the whole frame is taken

BOX_SHARE = (0.004, 0.2)  # of the frame, that an inset covers
BOX_FILLED = 0.88  # of its bounding box, that an inset of one or two plain colours covers
BOX_COLD = 30  # grey levels, by which green or blue exceeds red: tissue is warm, a position finder's box is not

GLINT_WIDTH = 0.06  # of the long side: a brighter patch is a lit wall, not a reflection
GLINT_ABOVE = 150  # grey levels of the weakest channel: a reflection is white
GLINT_STEP = 50  # grey levels of the weakest channel above what surrounds it
TEXT_GAP, TEXT_HEIGHT = 0.02, 0.035  # of the long side, between the letters of a line and of a letter
TEXT_LONG = 2  # times its height, a line at least
TEXT_LINES, TEXT_ALIGNED = 3, 0.008  # lines that make a column, and of the long side, by which they start apart
TEXT_COLUMN = 0.2  # of the field's width, from its left, where columns start


class Field(NamedTuple):
    """Where a frame shows the bowel.

    Attributes:
        inside: (H, W) True = seen through the lens, without border, text and insets.
        glints: (H, W) specular reflections inside.
    """

    inside: Mask
    glints: Mask


def find_field(image: Image) -> Field:
    """Find the visible field and the highlights of a frame at its own resolution.

    Args:
        image: (H, W, 3) uint8 RGB of any size.
    """
    height, width = image.shape[:2]
    scale = min(1.0, LONG_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(PIL.Image.fromarray(image).resize(size, PIL.Image.Resampling.BOX))
    found = PIL.Image.fromarray(_lens(small).astype(np.uint8)).resize((width, height), PIL.Image.Resampling.NEAREST)
    inside = np.asarray(found) > 0
    white = image.min(axis=2)
    text = _text(_small_bright(white), inside)
    # what lies behind the field's edge counts as lit, so that a lit wall that is cut by it is no small spot
    glints = _small_bright(np.where(inside, white, np.uint8(255))) & inside & ~text
    return Field(inside & ~text, glints)


def _small_bright(white: NDArray[np.uint8]) -> Mask:
    """White pixels that stand out from what a window of `GLINT_WIDTH` shows around them."""
    window = 2 * round(GLINT_WIDTH * max(white.shape) / 2) + 1
    ground = ndimage.grey_opening(white, size=(window, window)).astype(np.int16)
    return np.asarray((white > GLINT_ABOVE) & (white - ground > GLINT_STEP))


def _lens(image: Image) -> Mask:
    """The convex region that is lit, without insets; the whole frame where there is none."""
    long_side = max(image.shape[:2])
    whole, boxes, thin = np.ones(image.shape[:2], dtype=np.bool_), _insets(image), round(THIN * long_side / 2)
    regions, _ = ndimage.label(_open((image.max(axis=2) > BORDER_UP_TO) & ~boxes, thin))
    areas = np.bincount(regions.ravel(), minlength=2)[1:]
    if areas.max() < LEAST_FIELD * whole.size:
        return whole
    hull: Mask = convex_hull_image(regions == 1 + int(areas.argmax()))  # type: ignore[no-untyped-call]
    shown = hull & ~boxes & ~_open(_painted_over(image, hull), thin)
    depth = ndimage.distance_transform_edt(np.pad(shown, 1, mode="edge"))[1:-1, 1:-1]
    inside = np.asarray(depth > EDGE * long_side)
    return inside if inside.any() else whole


def _painted_over(image: Image, hull: Mask) -> Mask:
    """What of the hull continues the plain border around it, such as an inset that was blackened."""
    strongest = image.max(axis=2)
    border = strongest[~hull & (strongest <= BORDER_UP_TO)]
    if border.size == 0:
        return np.zeros_like(hull)
    plain = strongest <= np.median(border) + PLAIN
    return np.asarray(ndimage.binary_propagation(plain & ~hull, mask=plain))


def _insets(image: Image) -> Mask:
    """Boxes in cold plain colours, filled, with a margin and what lies between them and the frame's edge."""
    red, green, blue = image.astype(np.int16).transpose(2, 0, 1)
    cold = ndimage.binary_closing(np.pad(np.maximum(green, blue) - red > BOX_COLD, 3), iterations=3)[3:-3, 3:-3]
    boxes = np.zeros(cold.shape, dtype=np.bool_)
    regions, _ = ndimage.label(ndimage.binary_opening(cold, iterations=2))
    margin = max(2, round(0.01 * max(cold.shape)))
    for number, place in enumerate(ndimage.find_objects(regions), start=1):
        filled = ndimage.binary_fill_holes(regions[place] == number)
        if BOX_SHARE[0] * cold.size < filled.size < BOX_SHARE[1] * cold.size and filled.mean() > BOX_FILLED:
            rows, columns = (_to_edge(part, side, margin) for part, side in zip(place, cold.shape, strict=True))
            boxes[rows, columns] = True
    return boxes


def _to_edge(part: slice, side: int, margin: int) -> slice:
    """A stretch of a side, wider by a margin, and up to the end of the side that is near."""
    near = 0.5 * (part.stop - part.start)
    start = 0 if part.start < near else part.start - margin
    return slice(start, side if side - part.stop < near else part.stop + margin)


def _text(strokes: Mask, inside: Mask) -> Mask:
    """Lines of burnt-in text: strokes in a row that run out of the lens, or start where other such lines start."""
    long_side = max(strokes.shape)
    gap, height, aligned = (max(1, round(share * long_side)) for share in (TEXT_GAP, TEXT_HEIGHT, TEXT_ALIGNED))
    rows = ndimage.binary_closing(np.pad(strokes, ((0, 0), (gap, gap))), np.ones((1, gap)))[:, gap:-gap]
    regions, _ = ndimage.label(rows)
    seen = np.flatnonzero(inside.any(axis=0))
    before = seen[0] + TEXT_COLUMN * (seen[-1] - seen[0])
    outside = set(np.unique(regions[~inside]).tolist())
    starts = {}
    for number, (down, along) in enumerate(ndimage.find_objects(regions), start=1):
        tall, wide = down.stop - down.start, along.stop - along.start
        if 2 < tall <= height and (number in outside or wide >= TEXT_LONG * tall):
            starts[number] = along.start
    at = np.array(list(starts.values()))
    text = [
        number
        for number, start in starts.items()
        if number in outside or (start < before and (abs(at - start) <= aligned).sum() >= TEXT_LINES)
    ]
    return np.asarray(np.isin(regions, text) & rows)


def _open(mask: Mask, radius: int) -> Mask:
    core = ndimage.distance_transform_edt(np.pad(mask, 1, mode="edge"))[1:-1, 1:-1] > radius
    return np.asarray(core if not core.any() else ndimage.distance_transform_edt(~core) <= radius)
