"""Galleries and contact sheets: what stands where. Positions follow from the layout's constants."""

from pathlib import Path

import numpy as np
import pytest

from ccbench.base.images import read_image
from ccbench.errors import UsageError
from ccbench.tables.pictures import (
    GalleryRow,
    SheetCell,
    _wrap,
    draw_contact_sheet,
    draw_gallery,
    draw_mask,
    draw_outline,
)

RED, GREEN = (200, 30, 30), (30, 200, 30)


def plain(colour: tuple[int, int, int], size: int = 128) -> np.ndarray:
    return np.full((size, size, 3), colour, dtype=np.uint8)


def rows(count: int, prompt: str = "a small polyp") -> list[GalleryRow]:
    mask = np.ones((128, 128), dtype=np.bool_)
    return [GalleryRow(mask, plain(RED), plain(GREEN), prompt) for _ in range(count)]


def share(picture: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((picture == colour).all(axis=2).sum())


def test_every_row_has_its_three_tiles_at_twice_the_size(tmp_path: Path) -> None:
    draw_gallery(rows(8), tmp_path / "g.png", "fake on small")
    picture = read_image(tmp_path / "g.png")
    inner = 254 * 254  # a 256 px tile less its one-pixel frame
    assert share(picture, RED) == 8 * inner
    assert share(picture, GREEN) == 8 * inner


def test_a_public_gallery_shows_no_real_image_and_of_the_mask_its_outline(tmp_path: Path) -> None:
    draw_gallery(rows(2), tmp_path / "g.png", "t", show_real=False)
    picture = read_image(tmp_path / "g.png")
    assert share(picture, RED) == 0
    # Two tiles of each row; at twice the size the outline of the full mask, softened, takes up to seven pixels a side.
    assert 4 * 254 * 254 > share(picture, GREEN) >= 2 * (254 * 254 + 240 * 240)


def test_an_outline_is_of_the_masks_outermost_pixels() -> None:
    mask = np.zeros((8, 8), dtype=np.bool_)
    mask[2:6, 2:7] = True
    drawn = (draw_outline(plain(RED, 8), mask) != RED).any(axis=2)
    inside = np.zeros_like(mask)
    inside[3:5, 3:6] = True
    assert np.array_equal(drawn, mask & ~inside)


def test_real_stands_left_of_synthetic_and_margins_are_even(tmp_path: Path) -> None:
    draw_gallery(rows(1), tmp_path / "g.png", "t")
    picture = read_image(tmp_path / "g.png")
    ink = np.argwhere((picture != 255).any(axis=2))
    red, green = (np.argwhere((picture == colour).all(axis=2))[:, 1] for colour in (RED, GREEN))
    assert red.max() < green.min()
    assert ink[:, 1].min() == picture.shape[1] - 1 - ink[:, 1].max() == 36


def test_a_longer_prompt_makes_room_under_its_row(tmp_path: Path) -> None:
    draw_gallery(rows(1), tmp_path / "short.png", "t")
    draw_gallery(rows(1, "word " * 60), tmp_path / "long.png", "t")
    assert read_image(tmp_path / "long.png").shape[0] > read_image(tmp_path / "short.png").shape[0]


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        draw_gallery(rows(2), tmp_path / name, "t")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_contact_sheet_draws_every_cell(tmp_path: Path) -> None:
    mask = np.zeros((128, 128), dtype=np.bool_)
    draw_contact_sheet([SheetCell(plain(RED), mask, "one")] * 5, tmp_path / "s.png", "five")
    assert share(read_image(tmp_path / "s.png"), RED) == 5 * 190 * 190


def test_nothing_to_draw_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to draw"):
        draw_gallery([], tmp_path / "g.png", "t")
    assert not list(tmp_path.iterdir())


def test_wrapped_text_keeps_its_words_and_marks_what_it_drops() -> None:
    assert " ".join(_wrap("one two three four five six", 60)) == "one two three four five six"
    long = _wrap("word " * 500, 300)
    assert len(long) == 6 and long[-1].endswith(" ...")


def test_masks_are_black_and_white() -> None:
    mask = np.array([[True, False]])
    assert draw_mask(mask).tolist() == [[[255, 255, 255], [0, 0, 0]]]
