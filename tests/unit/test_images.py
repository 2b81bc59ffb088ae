"""Reading, resizing and writing of images and masks; damaged files are named, never repaired."""

import hashlib
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import PIL.features
import PIL.Image
import pytest
import tifffile

from ccbench.base import image_decoding
from ccbench.base import images as io
from ccbench.base.image_folders import list_images
from ccbench.base.mask_files import read_mask
from ccbench.errors import DataError, UsageError
from fake_encoders import random_images
from fake_polyps import write_grey_tiff
from real_files import real_data


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


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "not an image but a Git LFS pointer"),
        (b"/annex/objects/SHA256E-s1--00.png\n", "not an image but a git-annex pointer"),
        (b"\xef\xbb\xbf\n<!doctype HTML><html>Sign in</html>", "not an image but a web page; download"),
        (b"", "not an image but an empty file"),
        (bytes(3000), "not an image but 3,000 zero bytes"),
        (b"see README", "not an image but text, which begins 'see README'"),
        (b"%PDF-1.7 ...", "not an image but a PDF document"),
        (b"\x00\x01\x02\xff" * 9, "not an image that can be read"),
    ],
)
def test_what_is_no_image_is_said_for_what_it_is(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.jpg: {words}"):
        io.read_image(tmp_path / "a.jpg")


def png_chunk(name: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")


def test_whole_pixels_are_read_whatever_the_metadata_hold(tmp_path: Path) -> None:
    """Text above Pillow's limit, a profile that is none, EXIF that is no TIFF, a checksum that does not fit."""
    image = random_images(1, (12, 16))[0]
    for suffix in ("png", "jpg"):
        PIL.Image.fromarray(image).save(tmp_path / f"plain.{suffix}")
    png, jpeg = (tmp_path / "plain.png").read_bytes(), (tmp_path / "plain.jpg").read_bytes()
    long = png_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(3_000_000)))
    for chunk in (long, png_chunk(b"iCCP", b"p\0\0no zlib"), png_chunk(b"eXIf", b"no TIFF"), long[:-4] + b"0000"):
        (tmp_path / "a.png").write_bytes(png[:33] + chunk + png[33:])
        assert np.array_equal(io.read_image(tmp_path / "a.png"), image)
    payload = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\xff\xff"
    (tmp_path / "a.jpg").write_bytes(
        jpeg[:2] + b"\xff\xe1" + (len(payload) + 2).to_bytes(2, "big") + payload + jpeg[2:]
    )
    assert np.array_equal(io.read_image(tmp_path / "a.jpg"), io.read_image(tmp_path / "plain.jpg"))


def test_what_a_file_holds_besides_colours(tmp_path: Path) -> None:
    alpha = np.full((4, 6), 200, np.uint8)
    PIL.Image.fromarray(np.dstack([random_images(1, (4, 6))[0], alpha])).save(tmp_path / "a.png")
    found = io.open_image(tmp_path / "a.png")
    assert found.alpha is not None and np.array_equal(found.alpha, alpha) and found.indices is None
    picture = PIL.Image.new("P", (6, 4), 2)
    picture.putpalette([0, 0, 0, 1, 1, 1, 9, 9, 9])
    picture.save(tmp_path / "p.png")
    found = io.open_image(tmp_path / "p.png")
    assert found.indices is not None and found.alpha is None and (found.pixels == 9).all()


def test_pixel_cap_is_checked_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    PIL.Image.new("RGB", (20, 20)).save(tmp_path / "big.png")
    monkeypatch.setattr(image_decoding, "MAX_PIXELS", 399)
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
    assert read_mask(tmp_path / "grey.png").tolist() == [[False, False, False, True, True, True]]
    red = np.zeros((2, 2, 3), dtype=np.uint8)
    red[0, 0] = (200, 0, 0)  # a grey conversion gives 60: the polyp would be lost
    PIL.Image.fromarray(red).save(tmp_path / "red.png")
    assert read_mask(tmp_path / "red.png").tolist() == [[True, False], [False, False]]


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
    assert [path.name for path in list_images(tmp_path)] == ["a.jpg", "b.PNG"]
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "gone"):
        with pytest.raises(DataError, match=folder.name):
            list_images(folder)


def test_a_tiff_of_three_grey_samples_is_read_as_rgb(tmp_path: Path) -> None:
    """CVC-ClinicDB's originals: Pillow refuses them, OpenCV returns the red channel."""
    image = random_images(1, (13, 17))[0]
    write_grey_tiff(tmp_path / "a.tif", image)
    with pytest.raises(PIL.UnidentifiedImageError):
        PIL.Image.open(tmp_path / "a.tif")
    assert np.array_equal(io.read_image(tmp_path / "a.tif"), image)
    write_grey_tiff(tmp_path / "named.png", image)  # the content decides, not the name
    assert np.array_equal(io.read_image(tmp_path / "named.png"), image)
    write_grey_tiff(tmp_path / "turned.tif", image, orientation=6)
    assert np.array_equal(io.read_image(tmp_path / "turned.tif"), np.rot90(image, -1))


def test_bad_tiffs_are_rejected_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = random_images(1, (20, 20))[0]
    write_grey_tiff(tmp_path / "cut.tif", image)
    data = (tmp_path / "cut.tif").read_bytes()
    write_grey_tiff(tmp_path / "hole.tif", image, strips=4, listed=2)  # tifffile alone fills the rest with zeros
    write_grey_tiff(tmp_path / "deep.tif", image, bits=16)
    for name, words in (("cut", "truncated"), ("hole", "truncated"), ("deep", "16 bits a channel")):
        if name == "cut":
            (tmp_path / "cut.tif").write_bytes(data[:-10])
        with pytest.raises(DataError, match=words) as caught:
            io.read_image(tmp_path / f"{name}.tif")
        assert f"{name}.tif" in str(caught.value) and "\n" not in str(caught.value)
    (tmp_path / "head.tif").write_bytes(data[:60])
    with pytest.raises(DataError, match=r"head\.tif"):
        io.read_image(tmp_path / "head.tif")
    write_grey_tiff(tmp_path / "big.tif", image)
    monkeypatch.setattr(image_decoding, "MAX_PIXELS", 399)
    with pytest.raises(DataError, match="20 x 20 pixels"):
        io.read_image(tmp_path / "big.tif")


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_other_tiffs_are_read_as_before(tmp_path: Path, compression: str) -> None:
    image = random_images(1, (13, 17))[0]
    for pixels in (image, image[..., 0]):
        PIL.Image.fromarray(pixels).save(tmp_path / "a.tif", compression=compression)
        wanted = image if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
        assert np.array_equal(io.read_image(tmp_path / "a.tif"), wanted)


@pytest.mark.skipif(real_data() is None, reason="the real data sets are not here")
def test_the_real_tiffs_equal_their_png_conversion() -> None:
    root = real_data()
    assert root is not None
    files = sorted((root / "CVC-ClinicDB" / "TIF").rglob("*.tif"))
    assert len(files) == 16
    for file in files:
        png = root / "CVC-ClinicDB" / "PNG" / file.parent.name / f"{file.stem}.png"
        assert np.array_equal(io.read_image(file), io.read_image(png))
        assert io.content_sha256(file) == io.content_sha256(png)


def test_content_hash_is_of_pixels_or_of_jpeg_bytes(tmp_path: Path) -> None:
    image = random_images(1, (8, 4))[0]
    for name in ("a.png", "a.bmp", "a.tif"):
        PIL.Image.fromarray(image).save(tmp_path / name)
    write_grey_tiff(tmp_path / "grey.tif", image)
    lossless = {io.content_sha256(tmp_path / name) for name in ("a.png", "a.bmp", "a.tif", "grey.tif")}
    assert lossless == {hashlib.sha256(b"8 4\n" + image.tobytes()).hexdigest()}
    assert io.sha256_pixels(image.reshape(4, 8, 3)) not in lossless  # the same bytes in another shape
    PIL.Image.fromarray(image).save(tmp_path / "a.jpg")
    assert io.content_sha256(tmp_path / "a.jpg") == io.sha256_file(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").rename(tmp_path / "jpeg.png")
    assert io.content_sha256(tmp_path / "jpeg.png") == io.sha256_file(tmp_path / "jpeg.png")
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="not an image"):
        io.content_sha256(tmp_path / "bad.png")


def test_what_a_file_is_and_tells(tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    PIL.Image.new("L", (8, 4)).save(tmp_path / "a.png", format="JPEG", exif=exif)
    found = io.open_image(tmp_path / "a.png")
    assert (found.format, found.mode, found.has_exif, found.pixels.shape) == ("JPEG", "L", False, (4, 8, 3))
    exif[0x0110], exif[0x0112] = "CV-190", 1  # the device
    PIL.Image.new("L", (8, 4)).save(tmp_path / "b.jpg", exif=exif)
    assert io.open_image(tmp_path / "b.jpg").has_exif


def test_a_written_mask_has_one_channel_of_two_values(tmp_path: Path) -> None:
    mask = np.arange(12).reshape(3, 4) % 3 == 0
    digest = io.write_mask(tmp_path / "m.png", mask)
    with PIL.Image.open(tmp_path / "m.png") as file:
        assert file.mode == "L" and np.array_equal(np.asarray(file), mask * 255)
    assert np.array_equal(read_mask(tmp_path / "m.png"), mask) and digest == io.sha256_file(tmp_path / "m.png")


def test_a_polyp_is_cropped_to_a_square_around_it() -> None:
    """Every pixel holds its row and column, so that the crop says where it lies."""
    rows, columns = np.mgrid[:120, :160].astype(np.uint8)
    image = np.stack([rows, columns, rows], axis=2)

    def place(top: int, left: int, height: int, width: int, **settings: float) -> tuple[int, int, int, int]:
        mask = np.zeros((120, 160), np.bool_)
        mask[top : top + height, left : left + width] = True
        crop = io.crop_polyp(image, mask, **settings)  # type: ignore[arg-type]
        return (*crop[0, 0, :2].tolist(), *crop.shape[:2])

    assert place(40, 60, 20, 40) == (20, 50, 60, 60)  # 40 and a quarter on either side, around (50, 80)
    assert place(40, 60, 20, 40, margin=0) == (30, 60, 40, 40)
    assert place(50, 70, 4, 6) == (36, 57, 32, 32)  # at least 32
    assert place(0, 0, 20, 40) == (0, 0, 60, 60)  # moved into the image
    assert place(100, 120, 20, 40) == (60, 100, 60, 60)
    assert place(30, 0, 20, 160) == (0, 20, 120, 120)  # longer than the shorter side
    two = np.zeros((120, 160), np.bool_)
    two[10, 50] = two[69, 59] = True
    assert io.crop_polyp(image, two).shape == (90, 90, 3)
    for mask in (np.zeros((120, 160), np.bool_), np.ones((120, 159), np.bool_)):
        with pytest.raises(DataError, match="crop_polyp: found image"):
            io.crop_polyp(image, mask)


def encode(format: str) -> bytes:
    """A small picture; to memory, for Pillow would take the name that SPIDER is written to for SPIDER's own."""
    picture = PIL.Image.new("F" if format == "SPIDER" else "RGB", (16, 16))
    buffer = BytesIO()
    picture.save(buffer, format)
    return buffer.getvalue()


RARE = {
    "GIF": "a GIF",
    "EPS": "an EPS drawing",
    "PPM": "a PNM image",
    "ICO": "an icon",
    "ICNS": "an icon",
    "JPEG2000": "JPEG 2000",
    "AVIF": "an AVIF or HEIC image",
    "SGI": "an SGI image",
    "DDS": "a DDS texture",
    "PCX": "not an image that can be read",
    "TGA": "not an image that can be read",
    "SPIDER": "not an image that can be read",
    "PDF": "a PDF document",
}


@pytest.mark.parametrize("format", RARE)
def test_formats_that_are_not_read_are_refused_whatever_they_are_called(format: str, tmp_path: Path) -> None:
    PIL.Image.init()
    if format not in PIL.Image.SAVE or (format == "AVIF" and not PIL.features.check("avif")):
        pytest.skip(f"this Pillow writes no {format}")
    (tmp_path / "x.png").write_bytes(encode(format))
    with pytest.raises(DataError, match=rf"x\.png: .*{RARE[format]}") as found:
        io.open_image(tmp_path / "x.png")
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "BMP", "WEBP"])
def test_the_five_formats_are_read_whatever_they_are_called(format: str, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(encode(format))
    assert io.open_image(tmp_path / "x.png").format == format
    assert image_decoding.count_pixels((tmp_path / "x.png").read_bytes()) == 256


def test_a_line_of_many_pixels_is_refused_before_decoding(tmp_path: Path) -> None:
    """As many as a picture may have, and no picture; and a bomb that says more than Pillow itself lets pass."""
    for size, words in (((image_decoding.MAX_SIDE + 1, 1), "a side are read"), ((30_000, 30_000), "x")):
        header = struct.pack(">IIBBBBB", *size, 1, 0, 0, 0, 0)
        chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(10))), (b"IEND", b"")]
        data = b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
            for name, body in chunks
        )
        (tmp_path / "x.png").write_bytes(data)
        with pytest.raises(DataError, match=words) as found:
            io.open_image(tmp_path / "x.png")
        assert found.value.exit_code == 4 and "\n" not in str(found.value)
        assert image_decoding.count_pixels(data) <= image_decoding.MAX_PIXELS


def test_a_tiff_of_many_channels_is_refused_before_room_is_made_for_them(tmp_path: Path) -> None:
    file = tmp_path / "x.tif"
    tifffile.imwrite(file, np.zeros((8, 8, 300), np.uint8), photometric="minisblack", planarconfig="contig")
    with pytest.raises(DataError, match="300 channels, wanted 1 to 4"):
        io.open_image(file)
