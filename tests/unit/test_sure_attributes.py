"""What captions of recorded frames state, on drawn frames: insets, dye, small highlights, and what is not sure."""

from typing import get_args

import numpy as np
import pytest

from ccbench.base.images import resize_image
from ccbench.data.attributes.measured_attributes import MEASURED_BACKGROUND, MEASURED_FOREGROUND
from ccbench.data.attributes.sure_attributes import measure_sure_words
from ccbench.data.captioners import MeasuredCaptioner
from ccbench.data.captioners.measured import Version
from ccbench.errors import DataError
from ccbench.types import Mask
from drawn_frames import (
    BLUE,
    DARK,
    GREEN,
    HEIGHT,
    INDIGO,
    PINK,
    WIDTH,
    add_box,
    add_glints,
    add_text,
    disc,
    draw,
    octagon,
    polyp,
    stored,
)

EMPTY: Mask = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
LENS = octagon()


def measure(image: np.ndarray, mask: Mask = EMPTY) -> dict[str, str]:
    return dict(MeasuredCaptioner().caption(stored(image), mask, "frame").attributes)


@pytest.mark.parametrize(("n", "size", "highlights"), [(60, 2, "few"), (400, 2, "many"), (0, 1, "none")])
def test_highlights_smaller_than_a_small_pixel_are_stated(n: int, size: int, highlights: str) -> None:
    image = draw(LENS, DARK)
    add_glints(image, LENS, n, size)
    assert measure(image)["highlights"] == highlights


def test_no_highlights_is_not_stated_of_a_small_image() -> None:
    small = resize_image(stored(draw(LENS)), 128)
    assert "highlights" not in measure_sure_words(small, np.zeros((128, 128), dtype=np.bool_))


def test_text_is_no_highlight() -> None:
    image = draw(LENS)
    add_text(image, 230, (180, 220, 260, 300, 340), "HHH/HHH(18/19) 23/05/2013", 30)
    assert measure(image)["highlights"] == "none"


def test_a_position_finder_is_neither_tint_nor_light() -> None:
    lens = octagon(left=640, cut=60)
    image, alone = (draw(lens, (122, 81, 72)) for _ in range(2))
    for place, colour in ((slice(0, 240), GREEN), (slice(240, 460), BLUE)):
        add_box(image, (slice(HEIGHT - 290, HEIGHT), place), colour)
    assert measure(image) == measure(alone)
    assert measure(image)["brightness"] == "dim"  # the boxes are brighter


@pytest.mark.parametrize(("radius", "tint"), [(90, "pink"), (200, None), (300, "bluish")])
def test_dye_is_a_tint_where_it_covers_most(radius: float, tint: str | None) -> None:
    image = draw(LENS)
    image[disc(360, 570, radius) & LENS] = INDIGO
    assert measure(image).get("tint") == tint


@pytest.mark.parametrize(("light", "brightness"), [(1.0, "bright"), (0.72, None), (0.4, "dim")])
def test_brightness_between_two_words_is_not_stated(light: float, brightness: str | None) -> None:
    image = draw(LENS, tuple(round(light * value) for value in (190, 130, 120)))
    assert measure(image).get("brightness") == brightness


def test_brightness_is_that_of_the_field_not_of_the_frame() -> None:
    lens = octagon(left=560, cut=100)  # most of the frame is border
    image = draw(lens, PINK, border=26)
    assert measure(image)["brightness"] == "bright"


@pytest.mark.parametrize(("radius", "lumen"), [(30, "hidden"), (80, None), (180, "visible")])
def test_a_lumen_between_large_and_small_is_not_stated(radius: float, lumen: str | None) -> None:
    image = draw(LENS)
    image[disc(300, 570, radius)] = (40, 22, 18)
    assert measure(image).get("lumen") == lumen


def test_the_outline_is_that_of_the_stored_picture() -> None:
    wide = np.zeros((360, 960), dtype=np.bool_)
    rows, columns = np.mgrid[:360, :960]
    wide |= np.hypot(rows - 180, columns - 480) < 100
    assert measure_sure_words(stored(draw(LENS))[:360], wide)["outline"] == "round"


@pytest.mark.parametrize(
    ("colour", "word"),
    [((222, 95, 85), "redder"), ((245, 200, 190), "paler"), (PINK, "similar"), ((247, 159, 141), None)],
)
def test_colour_between_two_words_is_not_stated(colour: tuple[int, ...], word: str | None) -> None:
    image, mask = draw(LENS), polyp()
    image[mask] = colour
    assert measure(image, mask).get("colour") == word


def test_a_speck_has_no_outline_and_no_surface() -> None:
    mask = polyp(radius=9)
    found = measure(draw(LENS), mask)
    assert found["size"] == "small" and not {"outline", "surface"} & found.keys()


def test_what_is_stated_is_known_by_name_and_the_rest_is_left_out() -> None:
    found = measure(draw(LENS), polyp())
    assert set(found) <= {*MEASURED_FOREGROUND, *MEASURED_BACKGROUND} and {"count", "size", "position"} <= set(found)
    assert set(measure(draw(LENS))) <= {"count", *MEASURED_BACKGROUND} and measure(draw(LENS))["count"] == "none"
    with pytest.raises(DataError, match="one size"):
        measure_sure_words(stored(draw(LENS)), EMPTY[:64])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("grey", [0, 255])
@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (128, 128)])
def test_odd_pictures_and_masks_are_measured(grey: int, shape: tuple[int, int]) -> None:
    for mask in (np.ones(shape, dtype=np.bool_), np.zeros(shape, dtype=np.bool_)):
        assert "count" in measure_sure_words(np.full((*shape, 3), grey, dtype=np.uint8), mask)


@pytest.mark.parametrize("version", get_args(Version))
def test_each_version_says_so(version: Version) -> None:
    assert MeasuredCaptioner(version).id == version
