"""What a recorded frame surely shows, in words: measured in its visible field, and left out where a word is not sure.

For captions of real frames. The score of text fidelity and the prompts of `polyp-128` follow `measured_attributes`,
which looks at the whole frame squashed to 128 px and states every attribute. Size, position and count follow from the
mask by the same rules. Thresholds were set on 50 hand-labelled frames of PolypGen (`recipes/measure_attributes.py`);
between two words lies a range in which neither is stated.
"""

import numpy as np

from ccbench.data.attributes.measured_attributes import COUNTS, PINK_BELOW, Highlights, MeasuredSurface, MeasuredTint
from ccbench.data.attributes.measurement import (
    Frame,
    Light,
    Shape,
    contrast,
    largest_polyp,
    look_through_lens,
    lumen_radius,
    mean_luma,
    measure_shape,
    mucosa_light,
    squeeze_mask,
    steepness,
    texture,
)
from ccbench.data.attributes.visible_field import Field, find_field
from ccbench.data.phantom.phantom_attributes import (
    Brightness,
    Colour,
    Demarcation,
    Lumen,
    Outline,
    position_of,
    size_of,
)
from ccbench.types import Image, Mask, check_image, check_mask

SMALLEST_OUTLINE = 80  # pixels of 128^2: below, the outline is that of pixels
SMALLEST_SURFACE = 60  # pixels of 128^2 that are clear of the edge
OVAL_FROM, ROUND_BELOW = 1.38, 1.28  # axis ratio
IRREGULAR_FROM, EVEN_BELOW = 0.103, 0.085  # misfit
REDDER_FROM, PALER_BELOW_A, PALER_FROM_L, PALER_BELOW_S = 9.0, 7.0, 5.0, -0.04  # differences of a*, L*, saturation
DARKER_BELOW = -10.0  # difference of L*
SIMILAR_BELOW = 8.0  # difference of colour
GRANULAR_FROM, SMOOTH_BELOW = 1.15, 0.80  # percent of the green light
SHARP_FROM, SOFT_BELOW = 0.52, 0.36  # of the colour step, within one pixel
BRIGHT_FROM, DIM_BELOW = 112.0, 95.0  # mean luma
GLINT_CELLS = 24  # along the long side
NO_GLINTS_BELOW, FEW_GLINTS, MANY_GLINTS_FROM = 0.004, (0.025, 0.17), 0.25  # share of the field's cells
LEAST_SIDE = 256  # pixels of the long side, below which small highlights are averaged away
LUMEN_FROM, NO_LUMEN_BELOW = 17.0, 8.5  # radius, pixels of a field of 128^2
BLUISH_FROM, STAINED_FROM = 0.6, 0.25  # share of the mucosa that is blue or green
LEAST_CHROMA = 14.0
DARK_BELOW, LIT_FROM = 45.0, 50.0  # L* of the lit mucosa
PINK_HUE_BELOW, PALE_HUE_FROM, ORANGE_HUE_FROM = 42.0, 44.0, 52.0  # degrees
PALE_BELOW_CHROMA, ORANGE_FROM, RED_BROWN_FROM = 35.5, 37.0, 30.0  # chroma


def measure_sure_words(image: Image, mask: Mask) -> dict[str, str]:
    """Return the attributes that a frame surely shows, by name, the polyp's before the background's.

    Without a polyp, `count` is `none` and the background's remain. Of several polyps, size, position and outline are
    those of the largest. The outline is that of the picture as it is stored, not squashed to a square.

    Args:
        image: (H, W, 3) uint8 RGB of any size.
        mask: (H, W) bool, True = polyp.

    Raises:
        DataError: image and mask do not fit together.
    """
    check_image(image, "measure_sure_words")
    check_mask(mask, "measure_sure_words")
    field = find_field(image)
    frame = look_through_lens(image, mask, field)
    found: dict[str, str | None] = {"count": "none"}
    if mask.any():
        found = _polyp(frame, mask)
    found |= {
        "brightness": _brightness(mean_luma(frame)),
        "highlights": _highlights(field),
        "lumen": _lumen(frame),
        "tint": _tint(mucosa_light(frame)),
    }
    return {name: value for name, value in found.items() if value is not None}


def _polyp(frame: Frame, mask: Mask) -> dict[str, str | None]:
    largest, count = largest_polyp(frame.mask)
    delta_l, delta_a, delta_b = (float(value) for value in contrast(frame, frame.lab))
    delta_saturation = float(contrast(frame, frame.saturation[:, :, None])[0])
    return {
        "count": COUNTS[min(count, len(COUNTS)) - 1],
        "size": size_of(largest),
        "position": position_of(largest),
        "outline": _outline(largest_polyp(squeeze_mask(mask))[0]),
        "colour": _colour(delta_l, delta_a, delta_b, delta_saturation),
        "surface": _surface(frame),
        "demarcation": _demarcation(steepness(frame)),
    }


def _outline(polyp: Mask) -> Outline | None:
    if polyp.sum() < SMALLEST_OUTLINE:
        return None
    shape: Shape = measure_shape(polyp)
    if shape.misfit >= IRREGULAR_FROM:
        return "irregular"
    if shape.misfit > EVEN_BELOW:
        return None
    if shape.axis_ratio >= OVAL_FROM:
        return "oval"
    return "round" if shape.axis_ratio < ROUND_BELOW else None


def _colour(delta_l: float, delta_a: float, delta_b: float, delta_saturation: float) -> Colour | None:
    if delta_a >= REDDER_FROM:
        return "redder"
    if delta_l < DARKER_BELOW:
        return "darker"
    if delta_saturation < PALER_BELOW_S and delta_l > PALER_FROM_L and delta_a < PALER_BELOW_A:
        return "paler"
    return "similar" if np.linalg.norm((delta_l, delta_a, delta_b)) < SIMILAR_BELOW else None


def _surface(frame: Frame) -> MeasuredSurface | None:
    if (frame.seen & (frame.inside >= 2)).sum() < SMALLEST_SURFACE:
        return None
    relief = texture(frame)
    return "granular" if relief >= GRANULAR_FROM else "smooth" if relief < SMOOTH_BELOW else None


def _demarcation(step: float) -> Demarcation | None:
    return "sharp" if step >= SHARP_FROM else "soft" if step < SOFT_BELOW else None


def _brightness(luma: float) -> Brightness | None:
    return "bright" if luma >= BRIGHT_FROM else "dim" if luma < DIM_BELOW else None


def _highlights(field: Field) -> Highlights | None:
    """How widely reflections are spread, by the share of the field's cells that hold one."""
    share = _cells(field.glints) / max(_cells(field.inside), 1)
    if share < NO_GLINTS_BELOW:
        return "none" if max(field.inside.shape) >= LEAST_SIDE else None
    if share >= MANY_GLINTS_FROM:
        return "many"
    return "few" if FEW_GLINTS[0] <= share < FEW_GLINTS[1] else None


def _cells(mask: Mask) -> int:
    """How many squares of a grid hold a pixel of the mask."""
    rows, columns = (axis * GLINT_CELLS // max(mask.shape) for axis in np.nonzero(mask))
    return len(np.unique(rows * GLINT_CELLS + columns))


def _lumen(frame: Frame) -> Lumen | None:
    radius = lumen_radius(frame) / np.sqrt(frame.visible.mean())
    return "visible" if radius >= LUMEN_FROM else "hidden" if radius < NO_LUMEN_BELOW else None


def _tint(light: Light) -> MeasuredTint | None:
    """The colour of the mucosa, dye and insets left out; `bluish` only where most of it is blue or green."""
    if light.cold >= BLUISH_FROM:
        return "bluish"
    if light.cold >= STAINED_FROM or light.chroma < LEAST_CHROMA:
        return None
    if light.lightness < DARK_BELOW:
        reddish = PINK_BELOW <= light.hue < ORANGE_HUE_FROM and light.chroma >= RED_BROWN_FROM
        return "red-brown" if reddish else None
    if light.lightness < LIT_FROM:
        return None
    if light.hue < PINK_HUE_BELOW:
        return "pink"
    if light.chroma < PALE_BELOW_CHROMA:
        return "pale" if light.hue >= PALE_HUE_FROM else None
    return "orange" if light.hue >= ORANGE_HUE_FROM and light.chroma >= ORANGE_FROM else None
