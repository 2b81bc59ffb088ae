"""The visible field of drawn frames: outlines of lenses, insets, text and small highlights."""

from collections.abc import Callable

import numpy as np
import pytest

from ccbench.data.attributes.visible_field import find_field
from ccbench.types import Mask
from drawn_frames import (
    BLUE,
    DARK,
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
    rounded,
    stored,
)

CORNER = (slice(HEIGHT - 240, HEIGHT), slice(180, 440))  # over the lower left corner of the octagon


def agreement(found: Mask, wanted: Mask) -> float:
    return float((found & wanted).sum() / (found | wanted).sum())


@pytest.mark.parametrize("border", [0, 16, 22])
@pytest.mark.parametrize("outline", [octagon, disc, rounded])
def test_the_field_is_what_the_lens_shows(outline: Callable[[], Mask], border: int) -> None:
    lens = outline()
    assert agreement(find_field(stored(draw(lens, border=border))).inside, lens) > 0.94  # its edge is left out


def test_a_frame_without_border_is_all_field() -> None:
    whole = np.ones((HEIGHT, WIDTH), dtype=np.bool_)
    assert find_field(stored(draw(whole))).inside.mean() > 0.99


def test_dark_bowel_in_the_lens_is_field() -> None:
    lens, dark = octagon(), disc(340, 600, 180)
    image = draw(lens)
    image[dark] = 8
    assert agreement(find_field(stored(image)).inside, lens) > 0.94


@pytest.mark.parametrize("border", [0, 16])
def test_a_coloured_box_over_a_corner_is_no_field(border: int) -> None:
    lens, box = octagon(), np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    image = draw(lens, border=border)
    add_box(image, CORNER)
    add_box(image, (CORNER[0], slice(310, 440)), BLUE)
    box[CORNER] = True
    found = find_field(stored(image)).inside
    assert not (found & box).any()
    assert (found & lens & ~box).sum() > 0.9 * (lens & ~box).sum()


def test_a_blackened_box_is_no_field() -> None:
    lens = octagon()
    image = draw(lens, border=2)
    image[CORNER] = 1
    found = find_field(stored(image)).inside
    assert not found[CORNER].any() and found.sum() > 0.9 * lens.sum() - CORNER[0].stop * 260 * 0.4


def test_a_second_picture_beside_the_field_is_no_field() -> None:
    lens = octagon(left=320)
    image = draw(lens)
    small = (slice(60, 190), slice(120, 260))
    image[small] = PINK
    found = find_field(stored(image)).inside
    assert not found[small].any() and agreement(found, lens) > 0.94


def test_a_dyed_patch_is_field() -> None:
    lens, patch = octagon(), disc(380, 560, 170)
    image = draw(lens)
    image[patch] = INDIGO
    assert agreement(find_field(stored(image)).inside, lens) > 0.94


def test_small_highlights_are_found_at_their_own_resolution() -> None:
    lens = octagon()
    image = draw(lens, DARK)
    add_glints(image, lens, 40)
    found = find_field(stored(image))
    assert 30 * 9 < found.glints.sum() < 41 * 9
    assert (stored(image)[found.glints] == 250).all()


def test_a_lit_wall_is_no_highlight() -> None:
    lens = octagon()
    image = draw(lens)
    image[lens & (COLUMNS_RIGHT > 0)] = 250  # cut by the lens's edge
    assert not find_field(stored(image)).glints.any()


COLUMNS_RIGHT = np.arange(WIDTH)[None, :] - (WIDTH - 60) + np.zeros((HEIGHT, 1))


@pytest.mark.parametrize("column", [40, 215])  # out of the lens into it, and within it
def test_text_is_no_highlight(column: int) -> None:
    lens = octagon(left=200, cut=60) if column > 200 else octagon(left=100, cut=60)
    image = draw(lens)
    add_text(image, column, (240, 270, 300, 330))
    found = find_field(stored(image))
    assert (stored(image)[lens].min(axis=1) > 200).sum() > 300  # of text in the lens
    assert found.glints.sum() < 40


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("shape", [(1, 1), (2, 300), (128, 128), (40, 52)])
@pytest.mark.parametrize("grey", [0, 128, 255])
def test_any_picture_has_a_field(shape: tuple[int, int], grey: int) -> None:
    found = find_field(np.full((*shape, 3), grey, dtype=np.uint8))
    assert found.inside.shape == found.glints.shape == shape
    assert found.inside.any() and not found.glints.any()
