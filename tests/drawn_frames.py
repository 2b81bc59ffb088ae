"""Frames as a recorder stores them, drawn: mucosa in a lens's outline, with text, insets, dye and highlights."""

import numpy as np
import PIL.Image
import PIL.ImageDraw
from numpy.typing import NDArray

from ccbench.types import Image, Mask

HEIGHT, WIDTH = 720, 960
PINK, DARK = (214, 138, 122), (60, 26, 16)
GREEN, BLUE, INDIGO = (44, 184, 142), (84, 110, 184), (70, 110, 150)
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH] + 0.5


def octagon(left: int = 200, top: int = 20, cut: int = 140) -> Mask:
    """An outline from `left` to the right edge with its corners cut."""
    right, bottom = WIDTH - 15, HEIGHT - 20
    across, down = np.minimum(COLUMNS - left, right - COLUMNS), np.minimum(ROWS - top, bottom - ROWS)
    inside: Mask = (across > 0) & (down > 0) & (across + down > cut)
    return inside


def disc(row: float = 360, column: float = 520, radius: float = 330) -> Mask:
    """A round outline."""
    inside: Mask = np.hypot(ROWS - row, COLUMNS - column) < radius
    return inside


def rounded(left: int = 260, radius: int = 90) -> Mask:
    """A square with rounded corners."""
    across = np.maximum(np.abs(COLUMNS - (left + 320)) - 320 + radius, 0)
    down = np.maximum(np.abs(ROWS - 360) - 320 + radius, 0)
    inside: Mask = np.hypot(across, down) < radius
    return inside


def polyp(row: float = 360, column: float = 560, radius: float = 70) -> Mask:
    """A round mask."""
    return disc(row, column, radius)


def draw(lens: Mask, colour: tuple[int, ...] = PINK, border: int = 16, seed: int = 0) -> NDArray[np.float64]:
    """Mucosa in even light with grain, behind a lens."""
    noise = np.random.default_rng(seed).normal(0, 1.5, (HEIGHT, WIDTH, 1))
    return np.where(lens[..., None], np.array(colour) + noise, border + noise)


def stored(image: NDArray[np.float64]) -> Image:
    """The picture in eight bits."""
    return np.clip(np.round(image), 0, 255).astype(np.uint8)


def add_box(image: NDArray[np.float64], where: tuple[slice, slice], colour: tuple[int, ...] = GREEN) -> None:
    """A position finder's box: one plain colour and a dark curve in it."""
    image[where] = colour
    box = image[where]
    box[box.shape[0] // 3 :, box.shape[1] // 2 : box.shape[1] // 2 + 6] = 40


def add_glints(image: NDArray[np.float64], lens: Mask, n: int, size: int = 3, seed: int = 1) -> None:
    """White spots of `size` pixels, spread over the lens."""
    deep = np.argwhere(lens[:-size, :-size] & lens[size:, size:])
    for row, column in np.random.default_rng(seed).permutation(deep)[:n]:
        image[row : row + size, column : column + size] = 250


def add_text(
    image: NDArray[np.float64], column: int, rows: tuple[int, ...], text: str = "23/05/2013 D.O.B.", size: int = 16
) -> None:
    """Lines of burnt-in text that start in one column."""
    page = PIL.Image.new("L", (image.shape[1], image.shape[0]))
    for row in rows:
        PIL.ImageDraw.Draw(page).text((column, row), text, fill=255, font_size=size)
    image[np.asarray(page) > 120] = 245
