"""Pictures for people: the gallery of a run and the contact sheet of a data set, one layout for both."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as PilImage
from PIL import ImageDraw, ImageFont
from scipy.ndimage import binary_erosion

from ccbench.base.images import read_image, write_png
from ccbench.errors import UsageError
from ccbench.types import Image, Mask

GALLERY_ROWS = 8
"""The gallery shows the first this many test conditions: a rule, so that nobody picks."""

_PAPER, _INK, _FAINT, _EDGE = (255, 255, 255), (32, 32, 36), (112, 112, 120), (224, 224, 228)
_OUTLINE = (0, 255, 120)
_MARGIN, _GAP, _CELL_GAP = 36, 10, 40  # around the sheet, between tiles, between cells; all in pixels
_TITLE, _HEAD, _TEXT, _LINE = 26, 17, 16, 22  # font sizes and the height of a caption line, in pixels
_MAX_LINES = 6


@dataclass(frozen=True, eq=False)
class GalleryRow:
    """One test condition: `mask` (H, W) bool, `real` and `synthetic` (H, W, 3) uint8, and its prompt."""

    mask: Mask
    real: Image
    synthetic: Image
    prompt: str


@dataclass(frozen=True, eq=False)
class SheetCell:
    """One item of a contact sheet: `image` (H, W, 3) uint8, `mask` (H, W) bool, and its caption."""

    image: Image
    mask: Mask
    caption: str


@dataclass(frozen=True, eq=False)
class PairCell:
    """Two images to be compared by eye, (H, W, 3) uint8 each, and what is known of them."""

    first: Image
    second: Image
    caption: str


def draw_gallery(rows: Sequence[GalleryRow], path: Path, title: str, show_real: bool = True) -> None:
    """Write the gallery PNG: mask, real and synthetic side by side, the prompt under them.

    Args:
        rows: the first `GALLERY_ROWS` test conditions, in their order, read line by line.
        path: PNG to write, replaced in one step.
        title: one line at the top.
        show_real: False leaves out what a licence may keep on the user's disk: the real image, and the mask but for its
            outline on the synthetic image.

    Raises:
        UsageError: there is no row.
    """
    columns = 2 if len(rows) > 3 else 1
    if show_real:
        cells = [((draw_mask(row.mask), row.real, row.synthetic), row.prompt) for row in rows]
        _draw_sheet(cells, ("mask", "real", "synthetic"), columns, 256, path, title)
        return
    public = [((draw_outline(row.synthetic, row.mask), row.synthetic), row.prompt) for row in rows]
    _draw_sheet(public, ("the mask's outline", "synthetic"), columns, 256, path, title)


def draw_pairs(cells: Sequence[PairCell], path: Path, title: str, names: tuple[str, str] = ("first", "second")) -> None:
    """Write a PNG of pairs of images side by side under their `names`, what is known of each pair under it.

    Args:
        cells: the pairs, in their order, read line by line.
        path: PNG to write, replaced in one step.
        title: one line at the top.

    Raises:
        UsageError: there is no pair.
    """
    tiles = [((cell.first, cell.second), cell.caption) for cell in cells]
    _draw_sheet(tiles, names, min(3, len(cells)), 224, path, title)


def draw_columns(rows: Sequence[tuple[tuple[Image, ...], str]], names: Sequence[str], path: Path, title: str) -> None:
    """Write a PNG of images (H, W, 3) under the `names` of their columns, a line a row, its caption under it.

    Raises:
        UsageError: there is no row.
    """
    _draw_sheet(rows, tuple(names), 1, 160, path, title)


def shrink_picture(picture: Path, target: Path, width: int = 844) -> None:
    """Write a copy of a PNG, `width` pixels wide, small enough to keep in a repository; colours stay as they are."""
    opened = PilImage.fromarray(read_image(picture))  # of a run that may come from anywhere
    height = round(opened.height * width / opened.width)
    small = opened.resize((width, height), PilImage.Resampling.LANCZOS)
    write_png(target, np.asarray(small))


def draw_contact_sheet(cells: Sequence[SheetCell], path: Path, title: str) -> None:
    """Write a PNG of images, each beside its mask and over its caption.

    Args:
        cells: the items, in their order, read line by line.
        path: PNG to write, replaced in one step.
        title: one line at the top.

    Raises:
        UsageError: there is no item.
    """
    tiles = [((cell.image, draw_mask(cell.mask)), cell.caption) for cell in cells]
    _draw_sheet(tiles, ("image", "mask"), min(4, len(cells)), 192, path, title)


def _draw_sheet(
    cells: Sequence[tuple[tuple[Image, ...], str]],
    header: tuple[str, ...],
    columns: int,
    tile: int,
    path: Path,
    title: str,
) -> None:
    """Lay cells out in columns; every line of cells is as high as its longest caption."""
    if not cells:
        raise UsageError(f"{path.name}: nothing to draw, wanted at least one image")
    width = len(header) * tile + (len(header) - 1) * _GAP
    captions = [_wrap(text, width) for _, text in cells]
    lines = -(-len(cells) // columns)
    longest = [max(map(len, captions[line * columns : (line + 1) * columns])) for line in range(lines)]
    heights = [tile + 8 + _LINE * count for count in longest]
    top = _MARGIN + _TITLE + 22 + _HEAD + 12
    sheet_width = 2 * _MARGIN + columns * width + (columns - 1) * _CELL_GAP
    sheet_height = top + sum(heights) + (lines - 1) * (_CELL_GAP // 2) + _MARGIN
    sheet = PilImage.new("RGB", (sheet_width, sheet_height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, _MARGIN - 4), title, fill=_INK, font=_font(_TITLE))
    for column in range(columns):
        left = _MARGIN + column * (width + _CELL_GAP)
        for index, name in enumerate(header):
            draw.text((left + index * (tile + _GAP), top - _HEAD - 12), name, fill=_FAINT, font=_font(_HEAD))
    for position, (tiles, _) in enumerate(cells):
        line, column = divmod(position, columns)
        left = _MARGIN + column * (width + _CELL_GAP)
        upper = top + sum(heights[:line]) + line * (_CELL_GAP // 2)
        for index, image in enumerate(tiles):
            _paste(sheet, draw, image, left + index * (tile + _GAP), upper, tile)
        for number, text in enumerate(captions[position]):
            draw.text((left, upper + tile + 8 + number * _LINE), text, fill=_INK, font=_font(_TEXT))
    write_png(path, np.asarray(sheet))


def _paste(sheet: PilImage.Image, draw: ImageDraw.ImageDraw, image: Image, left: int, upper: int, tile: int) -> None:
    resized = PilImage.fromarray(image).resize((tile, tile), PilImage.Resampling.LANCZOS)
    sheet.paste(resized, (left, upper))
    draw.rectangle((left, upper, left + tile - 1, upper + tile - 1), outline=_EDGE)


def draw_mask(mask: Mask) -> Image:
    """Return a mask as an (H, W, 3) picture, white = polyp."""
    return np.repeat(mask[:, :, None].astype(np.uint8) * np.uint8(255), 3, axis=2)


def draw_outline(image: Image, mask: Mask) -> Image:
    """Return a copy of an image (H, W, 3) with the outermost pixels of its mask (H, W) in green."""
    out = image.copy()
    out[mask & ~binary_erosion(mask)] = _OUTLINE
    return out


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _wrap(text: str, width: int) -> list[str]:
    """Break text into at most `_MAX_LINES` lines of `width` pixels; what does not fit ends in an ellipsis."""
    font = _font(_TEXT)
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] = f"{lines[-1]} {word}"
        else:
            lines.append(word)
    if len(lines) > _MAX_LINES:
        last = lines[_MAX_LINES - 1]
        while last and font.getlength(f"{last} ...") > width:
            last = last.rpartition(" ")[0]
        lines = [*lines[: _MAX_LINES - 1], f"{last} ..."]
    return lines or [""]
