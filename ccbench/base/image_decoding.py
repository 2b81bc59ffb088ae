"""Decodes the bytes of image files, and says of those that it refuses what they are."""

import io
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image
import PIL.ImageOps
from numpy.typing import NDArray

from ccbench.base.text import one_line
from ccbench.errors import DataError
from ccbench.types import Image

if TYPE_CHECKING:
    from tifffile import TiffPage

MAX_PIXELS = 64_000_000  # above any endoscope's frame, below what a decompression bomb needs
MAX_SIDE = 32_768  # pixels: one row of 64,000,000 is no picture, and resizing it takes minutes
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")  # Pillow opens forty more by content, EPS with another program
_OTHER_FORMATS = {
    b"%!PS": "an EPS drawing",
    b"\xc5\xd0\xd3\xc6": "an EPS drawing",
    b"8BPS": "a Photoshop file",
    b"\0\0\1\0": "an icon",
    b"icns": "an icon",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"DDS ": "a DDS texture",
    b"SIMPLE  =": "a FITS file",
    b"\x59\xa6\x6a\x95": "a Sun raster image",
    b"\x01\xda": "an SGI image",
    b"qoif": "a QOI image",
    **{b"P%d" % number: "a PNM image" for number in range(1, 8)},
}
_EIGHT_BIT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
_PNG = b"\x89PNG\r\n\x1a\n"
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MOST_SAMPLES = 4  # of a pixel: tifffile makes room for as many as the file states
_ORIENTATION = 0x0112
_TELLING_TAGS = frozenset((0x010F, 0x0110, 0x0132, 0x8769, 0x8825))  # make, model, date, EXIF block, place
_DAMAGE = (  # what the decoders raise on files that are cut or changed
    *(OSError, SyntaxError, ValueError, EOFError, LookupError, ArithmeticError, TypeError, MemoryError),
    *(struct.error, zlib.error, PIL.Image.DecompressionBombError),
)
_OTHER_CONTENT = {
    b"version https://git-lfs": "but a Git LFS pointer to one; run `git lfs pull` where the files came from",
    b"/annex/objects/": "but a git-annex pointer to one; run `git annex get` where the files came from",
    b"<!doctype html": "but a web page; download the file again, signed in where the site asks for it",
    b"<html": "but a web page; download the file again, signed in where the site asks for it",
    b"<?xml": "but an XML document; download the image again",
    b"<svg": "of pixels but an SVG drawing; convert it to PNG",
    b"GIF8": "of a kind that is read but a GIF; convert it to PNG",
    b"%PDF": "but a PDF document; convert its picture to PNG",
    b"PK\3\4": "but a zip archive; unpack it",
    b"\x1f\x8b": "but a gzip file, such as NIfTI; convert its picture to PNG",
    b"\x93NUMPY": "file but a NumPy array; convert it to PNG",
}


@dataclass(frozen=True)
class ImageFile:
    """A decoded file.

    Attributes:
        pixels: (H, W, 3) uint8 RGB, EXIF orientation applied.
        format: of the content, such as `JPEG`, whatever the name says.
        mode: Pillow's name of the stored channels, such as `L`.
        has_exif: the file tells of a device, a date or a place.
        orientation: EXIF's, 1 to 8, which `pixels` follow already; 1 where the file states none.
        alpha: (H, W) opacity where the file has one.
        indices: (H, W) of the colours of a palette.
    """

    pixels: Image
    format: str
    mode: str
    has_exif: bool
    orientation: int = 1
    alpha: NDArray[np.uint8] | None = None
    indices: NDArray[np.uint8] | None = None


def decode_image(data: bytes, path: Path) -> ImageFile:
    """Decode the bytes of an image file; `path` is named in errors.

    Raises:
        DataError: as `read_image`, but for what `read_bytes` finds.
    """
    try:
        samples = _read_tiff_samples(data, path) if data[:4] in _TIFF_STARTS else None
        return samples or _read_with_pillow(data, path)
    except _DAMAGE as error:
        if bare := _read_without_metadata(data, path):
            return bare
        if isinstance(error, PIL.UnidentifiedImageError):
            raise DataError(f"{path}: not an image {_name_content(data)}") from error
        raise DataError(f"{path}: cannot be decoded ({one_line(error)}); copy the file again or remove it") from error


def count_pixels(data: bytes) -> int:
    """Return the pixels of an image file by its first bytes, at most `MAX_PIXELS`; where they do not say, its bytes."""
    try:
        with PIL.Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
            return min(picture.width * picture.height, MAX_PIXELS)
    except (PIL.UnidentifiedImageError, *_DAMAGE):
        return len(data)


def _name_format(data: bytes) -> str | None:
    """Return which picture of a kind that is not read a file is, by its first bytes."""
    if data[4:8] == b"ftyp":
        return "an AVIF or HEIC image"
    if data[128:132] == b"DICM":
        return "a DICOM file"
    return next((what for sign, what in _OTHER_FORMATS.items() if data.startswith(sign)), None)


def _read_with_pillow(data: bytes, path: Path) -> ImageFile:
    with PIL.Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
        _check_size(path, picture.width, picture.height)
        # Pillow calls a PNG of 16-bit colours RGB and drops the lower bytes: only its raw mode tells.
        stored = next((word for tile in picture.tile for word in _words(tile.args) if ";16" in word), picture.mode)
        if stored not in _EIGHT_BIT_MODES:
            raise DataError(f"{path}: pixel mode {stored}, wanted 8 bits a channel; convert it to 8-bit PNG")
        frames = getattr(picture, "n_frames", 1)
        if frames > 1 and picture.format != "MPO":  # an MPO is a camera's JPEG with a preview behind it
            raise DataError(f"{path}: holds {frames} pictures, wanted one; save the one that is meant by itself")
        picture.load()
        exif = picture.getexif()
        upright = PIL.ImageOps.exif_transpose(picture)
        return ImageFile(
            np.array(upright.convert("RGB"), dtype=np.uint8),
            "JPEG" if picture.format == "MPO" else str(picture.format),
            picture.mode,
            has_exif=not _TELLING_TAGS.isdisjoint(exif),
            orientation=_orientation(exif.get(_ORIENTATION)),
            alpha=np.array(upright.convert("RGBA"))[..., 3] if upright.has_transparency_data else None,
            indices=np.array(upright) if upright.mode == "P" else None,
        )


def _orientation(value: object) -> int:
    return value if isinstance(value, int) and value in range(1, 9) else 1


def _read_without_metadata(data: bytes, path: Path) -> ImageFile | None:
    """Decode a PNG or JPEG again without what it tells besides its pixels; None where that does not help.

    An orientation that cannot be read is one that no program follows.
    """
    bare = _strip_png(data) if data.startswith(_PNG) else _strip_jpeg(data) if data.startswith(b"\xff\xd8") else data
    if bare == data:
        return None
    try:
        return _read_with_pillow(bare, path)
    except _DAMAGE:
        return None


def _strip_png(data: bytes) -> bytes:
    """Return a PNG with its critical chunks and its transparency only; what follows the last whole chunk stays."""
    kept, at = [data[:8]], 8
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        name = data[at + 4 : at + 8]
        if name[:1].isupper() or name == b"tRNS":
            kept.append(data[at:end])
        at = end
    return b"".join((*kept, data[at:]))


def _strip_jpeg(data: bytes) -> bytes:
    """Return a JPEG without its comments and application segments, but for the two that say how colours are stored."""
    kept, at = [data[:2]], 2
    while data[at : at + 1] == b"\xff" and at + 4 <= len(data) and (marker := data[at + 1]) != 0xDA:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in (0xE0, 0xEE) or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            kept.append(data[at:end])
        at = end
    return b"".join((*kept, data[at:]))


def _name_content(data: bytes) -> str:
    """Return the rest of a sentence that begins `not an image`: what the bytes are instead, and what to do."""
    if not data.strip(b"\0"):
        what = f"but {len(data):,} zero bytes" if data else "but an empty file"
        return f"{what}; copy the file again"
    if found := _name_format(data):
        return f"of a kind that is read but {found}; convert it to PNG"
    start = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n")
    for sign, text in _OTHER_CONTENT.items():
        if start[: len(sign)].lower() == sign.lower():
            return text
    if all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in start):
        return f"but text, which begins {start[:40].decode('ascii')!r}; copy the image again or remove the file"
    return "that can be read; convert it to PNG or copy it again"


def _words(args: object) -> list[str]:
    """Return the words among a tile's decoder arguments, which are a word or a tuple."""
    return [word for word in (args if isinstance(args, tuple) else (args,)) if isinstance(word, str)]


def _read_tiff_samples(data: bytes, path: Path) -> ImageFile | None:
    """Decode a TIFF of three samples a pixel that calls itself grey, as CVC-ClinicDB's; None for any other TIFF.

    Pillow refuses these files, and OpenCV returns their red channel without an error.
    """
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        if not isinstance(page, tifffile.TiffPage):
            return None
        _check_size(path, page.imagewidth, page.imagelength)
        if page.bitspersample > 8:
            raise DataError(f"{path}: {page.bitspersample} bits a channel, wanted 8; convert it to 8-bit PNG")
        if page.samplesperpixel > _MOST_SAMPLES:
            raise DataError(f"{path}: {page.samplesperpixel} channels, wanted 1 to 4; convert it to 8-bit PNG")
        if page.photometric != tifffile.PHOTOMETRIC.MINISBLACK or page.samplesperpixel < 3:
            return None
        _check_strips(page, len(data))
        samples = page.asarray()
        if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE:
            samples = np.moveaxis(samples, 0, -1)
        if samples.shape != (page.imagelength, page.imagewidth, page.samplesperpixel) or samples.dtype != np.uint8:
            raise ValueError(f"found {samples.dtype} {samples.shape} samples")
        picture = PIL.Image.fromarray(np.ascontiguousarray(samples[..., :3]))
        tag = page.tags.get(_ORIENTATION)
        orientation = _orientation(tag.value if tag else None)
        picture.getexif()[_ORIENTATION] = orientation
        has_exif = any(code in page.tags for code in _TELLING_TAGS)
    return ImageFile(np.array(PIL.ImageOps.exif_transpose(picture)), "TIFF", "RGB", has_exif, orientation)


def _check_strips(page: "TiffPage", file_size: int) -> None:
    """Refuse a TIFF whose data end before its pixels do: tifffile would fill the rest with zeros."""
    ends = [offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)]
    whole = len(ends) == math.prod(page.chunked)
    if page.compression == 1:
        whole = whole and sum(page.databytecounts) >= page.imagelength * page.imagewidth * page.samplesperpixel
    if not whole or max(ends) > file_size:
        raise ValueError("image file is truncated")


def _check_size(path: Path, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise DataError(f"{path}: {width} x {height} pixels, at most {MAX_PIXELS:,} are read; scale it down")
    if max(width, height) > MAX_SIDE:
        raise DataError(f"{path}: {width} x {height} pixels, at most {MAX_SIDE:,} a side are read; scale it down")
