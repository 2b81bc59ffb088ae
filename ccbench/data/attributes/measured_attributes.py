"""What a frame shows, in words and numbers: one function, for captions and for the score of text fidelity."""

from dataclasses import dataclass
from typing import Literal, get_args

from ccbench.data.attributes.measurement import (
    Frame,
    Shape,
    contrast,
    largest_polyp,
    look,
    lumen_radius,
    mean_luma,
    measure_shape,
    mucosa_tone,
    specular_share,
    steepness,
    texture,
)
from ccbench.data.phantom.phantom_attributes import (
    Brightness,
    Colour,
    Demarcation,
    Lumen,
    Outline,
    Position,
    Size,
    Tint,
    position_of,
    size_of,
)
from ccbench.errors import DataError
from ccbench.types import Image, Mask

Count = Literal["one", "two", "several"]
MeasuredSurface = Literal["smooth", "granular"]
Highlights = Literal["none", "few", "many"]
MeasuredTint = Literal[Tint, "bluish"]  # stained, or seen in narrow-band light

COUNTS: tuple[Count, ...] = get_args(Count)
HIGHLIGHTS: tuple[Highlights, ...] = get_args(Highlights)

MEASURED_FOREGROUND = ("count", "size", "position", "outline", "colour", "surface", "demarcation")
MEASURED_BACKGROUND = ("brightness", "highlights", "lumen", "tint")

# Set on 700 phantoms, and where phantoms leave a range open so that real frames fall on both sides.
OVAL_ABOVE, CLEARLY_LONG_FROM = 1.3, 1.4  # axis ratio
IRREGULAR_ABOVE, LONG_IRREGULAR_ABOVE = 0.09, 0.12  # misfit, of outlines that are not and that are clearly long
REDDER_ABOVE = 9.0  # difference of a*
DARKER_BELOW = -7.0  # difference of L*
PALER_BELOW = -0.04  # difference of the saturation
GRANULAR_ABOVE = 0.94  # percent of the green light
SHARP_ABOVE = 0.44  # of the colour step, within one pixel
BRIGHT_ABOVE = 104.0  # mean luma, 0..255
FEW_HIGHLIGHTS_FROM, MANY_HIGHLIGHTS_FROM = 0.001, 0.015  # share of the visible frame
LUMEN_ABOVE = 10.5  # radius in pixels of the largest disc in the dark
PINK_BELOW, ORANGE_ABOVE, BLUISH_OUTSIDE = 37.5, 52.0, (-10.0, 85.0)  # hue in degrees
PALE_BELOW, PINK_FROM, GREY_BELOW = 31.0, 15.0, 5.0  # chroma


@dataclass(frozen=True, slots=True)
class BackgroundAttributes:
    """What the mucosa of a frame shows, in words and in the numbers behind them.

    Attributes:
        luma: mean over the visible frame, 0..255.
        specular_share: of the visible frame.
        lumen_radius: of the largest disc that fits into the darkest wall, pixels of 128.
        hue, chroma: of the lit mucosa, in degrees (0 = red, 90 = yellow) and CIELAB units.
    """

    brightness: Brightness
    highlights: Highlights
    lumen: Lumen
    tint: MeasuredTint
    luma: float
    specular_share: float
    lumen_radius: float
    hue: float
    chroma: float

    def words(self) -> dict[str, str]:
        """The attributes that are words, by name."""
        return {name: getattr(self, name) for name in MEASURED_BACKGROUND}


@dataclass(frozen=True, slots=True)
class Attributes:
    """What polyp and background show, in words and in the numbers behind them.

    Size, position and outline are those of the largest polyp; colour, surface and demarcation of all together.

    Attributes:
        area_share: of the image.
        axis_ratio: 1 = as long as wide.
        eccentricity: of the ellipse of the same moments.
        circularity: 4 pi area / perimeter^2, 1 for a disc.
        misfit: 1 - IoU with the ellipse of the same moments.
        delta_l, delta_a, delta_b: median CIELAB of the polyp minus that of the ring of mucosa around it.
        delta_saturation: the same of (max - min) / max over RGB, -1..1.
        texture: fine relief of the polyp, percent.
        steepness: of the colour's step at its edge, about 0..1.
    """

    count: Count
    size: Size
    position: Position
    outline: Outline
    colour: Colour
    surface: MeasuredSurface
    demarcation: Demarcation
    background: BackgroundAttributes
    area_share: float
    axis_ratio: float
    eccentricity: float
    circularity: float
    misfit: float
    delta_l: float
    delta_a: float
    delta_b: float
    delta_saturation: float
    texture: float
    steepness: float

    def words(self) -> dict[str, str]:
        """The attributes that are words, by name, the polyp's before the background's."""
        return {**{name: getattr(self, name) for name in MEASURED_FOREGROUND}, **self.background.words()}


def measure_attributes(image: Image, mask: Mask) -> Attributes:
    """Measure what a frame with at least one polyp shows, in the frame that generators see: squashed to 128 px.

    Args:
        image: (H, W, 3) uint8 RGB of any size.
        mask: (H, W) bool, True = polyp.

    Raises:
        DataError: the mask is empty, or image and mask do not fit together.
    """
    frame = look(image, mask)
    if not frame.mask.any():
        raise DataError("measure_attributes: the mask is empty; a polyp needs at least one True pixel")
    largest, count = largest_polyp(frame.mask)
    shape = measure_shape(largest)
    delta_l, delta_a, delta_b = (float(value) for value in contrast(frame, frame.lab))
    delta_saturation = float(contrast(frame, frame.saturation[:, :, None])[0])
    relief, step = texture(frame), steepness(frame)
    return Attributes(
        count=COUNTS[min(count, len(COUNTS)) - 1],
        size=size_of(largest),
        position=position_of(largest),
        outline=_outline(shape),
        colour=_colour(delta_l, delta_a, delta_saturation),
        surface="granular" if relief > GRANULAR_ABOVE else "smooth",
        demarcation="sharp" if step > SHARP_ABOVE else "soft",
        background=_background(frame),
        area_share=float(largest.mean()),
        axis_ratio=shape.axis_ratio,
        eccentricity=shape.eccentricity,
        circularity=shape.circularity,
        misfit=shape.misfit,
        delta_l=delta_l,
        delta_a=delta_a,
        delta_b=delta_b,
        delta_saturation=delta_saturation,
        texture=relief,
        steepness=step,
    )


def measure_background(image: Image, mask: Mask) -> BackgroundAttributes:
    """Measure what the mucosa of a frame shows, with a polyp or without.

    Args:
        image: (H, W, 3) uint8 RGB of any size.
        mask: (H, W) bool, True = polyp.

    Raises:
        DataError: image and mask do not fit together.
    """
    return _background(look(image, mask))


def _background(frame: Frame) -> BackgroundAttributes:
    luma, specular, lumen, tone = mean_luma(frame), specular_share(frame), lumen_radius(frame), mucosa_tone(frame)
    few, many = specular >= FEW_HIGHLIGHTS_FROM, specular >= MANY_HIGHLIGHTS_FROM
    return BackgroundAttributes(
        brightness="bright" if luma > BRIGHT_ABOVE else "dim",
        highlights=HIGHLIGHTS[few + many],
        lumen="visible" if lumen > LUMEN_ABOVE else "hidden",
        tint=_tint(tone.hue, tone.chroma),
        luma=luma,
        specular_share=specular,
        lumen_radius=lumen,
        hue=tone.hue,
        chroma=tone.chroma,
    )


def _outline(shape: Shape) -> Outline:
    if shape.misfit > (IRREGULAR_ABOVE if shape.axis_ratio < CLEARLY_LONG_FROM else LONG_IRREGULAR_ABOVE):
        return "irregular"
    return "oval" if shape.axis_ratio > OVAL_ABOVE else "round"


def _colour(delta_l: float, delta_a: float, delta_saturation: float) -> Colour:
    if delta_a > REDDER_ABOVE:
        return "redder"
    if delta_l < DARKER_BELOW:
        return "darker"
    return "paler" if delta_saturation < PALER_BELOW else "similar"


def _tint(hue: float, chroma: float) -> MeasuredTint:
    if chroma > GREY_BELOW and not BLUISH_OUTSIDE[0] < hue < BLUISH_OUTSIDE[1]:
        return "bluish"
    if hue < PINK_BELOW and chroma > PINK_FROM:
        return "pink"
    if chroma < PALE_BELOW:
        return "pale"
    return "orange" if hue > ORANGE_ABOVE else "red-brown"
