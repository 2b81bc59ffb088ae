"""Reading, resizing and writing of images and masks; damaged files are named, never repaired."""

import hashlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from ccbench import images as io
from ccbench.errors import DataError, UsageError
from fake_encoders import random_images


def test_png_keeps_pixels_and_digest(tmp_path: Path) -> None:
    image = random_images(1, (13, 17))[0]
    digest = io.write_png(tmp_path / "a.png", image)
    assert np.array_equal(io.read_image(tmp_path / "a.png"), image)
    assert digest == io.sha256_file(tmp_path / "a.png") == hashlib.sha256((tmp_path / "a.png").read_bytes()).hexdigest()
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]  # no temporary file stays


def test_write_png_into_a_missing_folder_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        io.write_png(tmp_path / "none" / "a.png", random_images(1)[0])


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("keep", [0.5, 0.9])
def test_truncated_files_are_rejected_by_name(tmp_path: Path, suffix: str, keep: float) -> None:
    path = tmp_path / f"cut.{suffix}"
    PIL.Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(DataError, match=r"cut\."):
        io.read_image(path)


def test_other_unreadable_files(tmp_path: Path) -> None:
    (tmp_path / "page.png").write_text("<html>404</html>")
    (tmp_path / "empty.png").write_bytes(b"")
    PIL.Image.fromarray(np.zeros((4, 4), dtype=np.uint16)).save(tmp_path / "deep.png")
    for name, words in (
        ("page.png", "not an image"),
        ("empty.png", "not an image"),
        ("gone.png", "no such file"),
        ("deep.png", "8 bits"),
    ):
        with pytest.raises(DataError, match=words) as caught:
            io.read_image(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_pixel_cap_is_checked_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    PIL.Image.new("RGB", (20, 20)).save(tmp_path / "big.png")
    monkeypatch.setattr(io, "MAX_PIXELS", 399)
    with pytest.raises(DataError, match="20 x 20 pixels"):
        io.read_image(tmp_path / "big.png")


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    picture = PIL.Image.new("RGB", (8, 4))
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # the viewer must rotate by 90 degrees
    picture.save(tmp_path / "turned.jpg", exif=exif)
    assert io.read_image(tmp_path / "turned.jpg").shape == (8, 4, 3)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "LA"])
def test_other_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    PIL.Image.new("RGB", (4, 3), (255, 255, 255)).convert(mode).save(tmp_path / "a.png")
    image = io.read_image(tmp_path / "a.png")
    assert image.shape == (3, 4, 3)
    assert (image == 255).all()


def test_mask_threshold_and_channel_maximum(tmp_path: Path) -> None:
    grey = np.array([[0, 8, 127, 128, 247, 255]], dtype=np.uint8)
    PIL.Image.fromarray(grey).save(tmp_path / "grey.png")
    assert io.read_mask(tmp_path / "grey.png").tolist() == [[False, False, False, True, True, True]]
    red = np.zeros((2, 2, 3), dtype=np.uint8)
    red[0, 0] = (200, 0, 0)  # a grey conversion gives 60: the polyp would be lost
    PIL.Image.fromarray(red).save(tmp_path / "red.png")
    assert io.read_mask(tmp_path / "red.png").tolist() == [[True, False], [False, False]]


def test_resize_squashes_and_keeps_masks_two_valued() -> None:
    image = random_images(1, (30, 50))[0]
    expected = PIL.Image.fromarray(image).resize((16, 16), PIL.Image.Resampling.BICUBIC)
    assert np.array_equal(io.resize_image(image, 16), np.asarray(expected))
    mask = np.zeros((30, 50), dtype=bool)
    mask[:15] = True
    small = io.resize_mask(mask, 10)
    assert small.dtype == np.bool_
    assert small[:5].all()
    assert not small[5:].any()


def test_list_images_is_sorted_and_needs_one(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", ".hidden.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in io.list_images(tmp_path)] == ["a.jpg", "b.PNG"]
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "gone"):
        with pytest.raises(DataError, match=folder.name):
            io.list_images(folder)
