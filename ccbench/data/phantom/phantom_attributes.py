"""What a phantom shows, in words: the attribute values, their record, and the rules that read them off a mask."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Size = Literal["small", "medium", "large"]
Position = Literal[
    "upper left", "upper", "upper right", "left", "center", "right", "lower left", "lower", "lower right"
]
Form = Literal["pedunculated", "sessile", "flat"]
Outline = Literal["round", "oval", "irregular"]
Colour = Literal["paler", "similar", "redder", "darker"]
Surface = Literal["smooth", "granular", "lobulated"]
Demarcation = Literal["sharp", "soft"]
Lumen = Literal["visible", "hidden"]
Folds = Literal["none", "few", "many"]
Vessels = Literal["faint", "prominent"]
Brightness = Literal["bright", "dim"]
Tint = Literal["pink", "orange", "red-brown", "pale"]

SIZES: tuple[Size, ...] = get_args(Size)
POSITIONS: tuple[Position, ...] = get_args(Position)
FORMS: tuple[Form, ...] = get_args(Form)
OUTLINES: tuple[Outline, ...] = get_args(Outline)
COLOURS: tuple[Colour, ...] = get_args(Colour)
SURFACES: tuple[Surface, ...] = get_args(Surface)
DEMARCATIONS: tuple[Demarcation, ...] = get_args(Demarcation)
LUMENS: tuple[Lumen, ...] = get_args(Lumen)
FOLDS: tuple[Folds, ...] = get_args(Folds)
VESSELS: tuple[Vessels, ...] = get_args(Vessels)
BRIGHTNESSES: tuple[Brightness, ...] = get_args(Brightness)
TINTS: tuple[Tint, ...] = get_args(Tint)

FOREGROUND_ATTRIBUTES = ("size", "position", "form", "outline", "colour", "surface", "demarcation")
BACKGROUND_ATTRIBUTES = ("lumen", "folds", "vessels", "brightness", "tint")

ATTRIBUTE_VALUES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "size": SIZES,
        "position": POSITIONS,
        "form": FORMS,
        "outline": OUTLINES,
        "colour": COLOURS,
        "surface": SURFACES,
        "demarcation": DEMARCATIONS,
        "lumen": LUMENS,
        "folds": FOLDS,
        "vessels": VESSELS,
        "brightness": BRIGHTNESSES,
        "tint": TINTS,
    }
)

SMALL_BELOW = 0.04  # share of all image pixels
LARGE_ABOVE = 0.12  # share of all image pixels


@dataclass(frozen=True, slots=True)
class PhantomAttributes:
    """The attributes of one phantom; `colour` is that of the polyp against the mucosa around it."""

    size: Size
    position: Position
    form: Form
    outline: Outline
    colour: Colour
    surface: Surface
    demarcation: Demarcation
    lumen: Lumen
    folds: Folds
    vessels: Vessels
    brightness: Brightness
    tint: Tint


def size_of(mask: NDArray[np.bool_]) -> Size:
    """Size class of a polyp by its share of the image area.

    Args:
        mask: (H, W), True = polyp.
    """
    share = float(mask.mean())
    if share < SMALL_BELOW:
        return "small"
    return "large" if share > LARGE_ABOVE else "medium"


def position_of(mask: NDArray[np.bool_]) -> Position:
    """Cell of the 3 x 3 grid over the image that holds the centroid of a mask.

    Args:
        mask: (H, W), True = polyp.

    Raises:
        ValueError: the mask is empty.
    """
    rows, columns = np.nonzero(mask)
    if rows.size == 0:
        raise ValueError("position_of: the mask has no True pixel; a polyp needs at least one")
    height, width = mask.shape
    row = min(2, int(3 * (rows.mean() + 0.5) / height))
    column = min(2, int(3 * (columns.mean() + 0.5) / width))
    return POSITIONS[3 * row + column]
