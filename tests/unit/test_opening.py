"""Pairs that can be read, and those that cannot: turned against each other, of two sizes, exchanged."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from ccbench.data.name_matching import PairFiles
from ccbench.data.pair_files import open_pair
from ccbench.errors import DataError
from ccbench.types import Image
from fake_polyps import draw_pair

TURNED, UPSIDE_DOWN = 6, 3


def save(path: Path, pixels: Image, orientation: int | None = None) -> Path:
    exif = PIL.Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    PIL.Image.fromarray(pixels).save(path, exif=exif)
    return path


@pytest.mark.parametrize("size", [(52, 40), (48, 48)])
@pytest.mark.parametrize("orientation", [TURNED, UPSIDE_DOWN])
@pytest.mark.parametrize("turned", ["image", "mask"])
def test_a_turn_of_one_file_alone_is_refused(
    tmp_path: Path, size: tuple[int, int], orientation: int, turned: str
) -> None:
    """Square or upside down, the sizes agree and nothing else would tell."""
    image, mask = draw_pair(1, size)
    files = PairFiles(
        "x",
        save(tmp_path / "i.png", image, orientation if turned == "image" else None),
        save(tmp_path / "m.png", mask, orientation if turned == "mask" else 1),
    )
    with pytest.raises(DataError, match=r"m\.png: . ?.*\.png is turned by its EXIF orientation and .*\.png is not"):
        open_pair(files)


def test_files_turned_alike_are_turned_alike(tmp_path: Path) -> None:
    image, mask = draw_pair(1)
    files = PairFiles("x", save(tmp_path / "i.png", image, TURNED), save(tmp_path / "m.png", mask, TURNED))
    opened = open_pair(files)
    assert np.array_equal(opened.image.pixels, np.rot90(image, -1))
    assert np.array_equal(opened.mask.region, np.rot90(mask > 0, -1))


def test_a_mask_drawn_on_the_upright_image_is_read(tmp_path: Path) -> None:
    image, mask = draw_pair(1)
    upright = np.rot90(mask, -1)
    files = PairFiles("x", save(tmp_path / "i.png", image, TURNED), save(tmp_path / "m.png", upright))
    assert np.array_equal(open_pair(files).mask.region, upright > 0)


def test_exchanged_files_and_two_sizes_are_refused(tmp_path: Path) -> None:
    image, mask = draw_pair(1)
    image_file, mask_file = save(tmp_path / "i.png", image), save(tmp_path / "m.png", mask)
    with pytest.raises(DataError, match=r"m\.png: its pixels have two grey values, or few, as a mask's"):
        open_pair(PairFiles("x", mask_file, image_file))
    small = save(tmp_path / "s.png", mask[:-2])
    with pytest.raises(DataError, match=r"s\.png: the mask is 52x38 pixels, its image i\.png 52x40"):
        open_pair(PairFiles("x", image_file, small))
