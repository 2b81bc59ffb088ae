"""Images and masks in and out of files: what is read is checked, what is written is whole."""

import hashlib
import io
import math
import re
import stat
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image
import PIL.ImageOps
from numpy.typing import NDArray

from ccbench.base.files import open_plain, write_atomic
from ccbench.base.text import one_line
from ccbench.errors import DataError
from ccbench.types import Image, Mask, check_image, check_mask

if TYPE_CHECKING:
    from tifffile import TiffPage

MAX_PIXELS = 64_000_000  # above any endoscope's frame, below what a decompression bomb needs
MAX_SIDE = 32_768  # pixels: one row of 64,000,000 is no picture, and resizing it takes minutes
MAX_BYTES = 512 * 2**20  # twice what so many pixels take uncompressed
CONSTANT_RANGE = 2  # grey levels: JPEG of one colour varies by as much
LOSSY_FORMATS = ("JPEG", "WEBP")  # their decoders may differ in the last bit
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
        alpha: (H, W) opacity where the file has one; indices: (H, W) of the colours of a palette.
    """

    pixels: Image
    format: str
    mode: str
    has_exif: bool
    orientation: int = 1
    alpha: NDArray[np.uint8] | None = None
    indices: NDArray[np.uint8] | None = None


def read_image(path: Path) -> Image:
    """Return the image file as (H, W, 3) uint8 RGB with its EXIF orientation applied; transparency is dropped.

    Raises:
        DataError: the file is missing, unreadable, truncated, not 8 bits a channel, above `MAX_PIXELS` or `MAX_SIDE`,
            animated, or of another format than PNG, JPEG, TIFF, BMP and WebP, whatever its name says.
    """
    return open_image(path).pixels


def resize_image(image: Image, size: int) -> Image:
    """Squash `image` to (size, size, 3), PIL bicubic with antialias on 8-bit channels."""
    check_image(image, "resize_image")
    if image.shape[:2] == (size, size):
        return image
    return np.array(PIL.Image.fromarray(image).resize((size, size), PIL.Image.Resampling.BICUBIC))


def resize_mask(mask: Mask, size: int) -> Mask:
    """Squash `mask` to (size, size) by nearest neighbour, so that it stays exactly two-valued."""
    check_mask(mask, "resize_mask")
    if mask.shape == (size, size):
        return mask
    grey = PIL.Image.fromarray(mask.astype(np.uint8))
    return np.asarray(grey.resize((size, size), PIL.Image.Resampling.NEAREST)) > 0


def crop_polyp(image: Image, mask: Mask, margin: float = 0.25, least: int = 32) -> Image:
    """Return the square of `image` around all polyps of `mask`, at the image's own resolution.

    Its side is the longer side of the polyps' bounding box and `margin` of it on either side, at least `least` pixels
    and at most the image's shorter side. A square that would leave the image is moved into it, so that no pixel is
    made up; polyps longer than the shorter side are cut alike at both ends.

    Raises:
        DataError: the mask is empty, or image and mask do not fit together.
    """
    check_image(image, "crop_polyp")
    check_mask(mask, "crop_polyp")
    if image.shape[:2] != mask.shape or not mask.any():
        found = f"image {image.shape[:2]}, mask {mask.shape} with {int(mask.sum())} polyp pixels"
        raise DataError(f"crop_polyp: found {found}; they must have one size, and the mask at least one polyp pixel")
    extents = [np.flatnonzero(mask.any(axis=axis))[[0, -1]] for axis in (1, 0)]  # first and last row, and column
    longest = max(int(last - first) + 1 for first, last in extents)
    side = min(max(math.ceil(longest * (1 + 2 * margin)), least), *mask.shape)
    starts = [int(first + last + 1 - side) // 2 for first, last in extents]
    top, left = (min(max(start, 0), length - side) for start, length in zip(starts, mask.shape, strict=True))
    return image[top : top + side, left : left + side]


def is_constant(image: Image) -> bool:
    """Return whether no channel varies by more than `CONSTANT_RANGE`: the image shows nothing but one colour."""
    return bool(np.all(np.ptp(image, axis=(0, 1)) <= CONSTANT_RANGE))


def write_png(path: Path, image: Image, compress_level: int = 6) -> str:
    """Write `image` as a lossless PNG without metadata, whole or not at all; return the file's sha256 in hex.

    Raises:
        UsageError: the folder cannot be written to.
    """
    check_image(image, str(path))
    return _write_png(path, PIL.Image.fromarray(image), compress_level)


def write_mask(path: Path, mask: Mask) -> str:
    """Write `mask` as a PNG of one channel, 0 and 255; otherwise as `write_png`."""
    check_mask(mask, str(path))
    return write_grey(path, mask.astype(np.uint8) * np.uint8(255))


def write_grey(path: Path, grey: NDArray[np.uint8]) -> str:
    """Write a map (H, W) as a PNG of one channel; otherwise as `write_png`."""
    return _write_png(path, PIL.Image.fromarray(grey), compress_level=6)


def _write_png(path: Path, picture: PIL.Image.Image, compress_level: int) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", compress_level=compress_level)
    write_atomic(path, buffer.getvalue())
    return hashlib.sha256(buffer.getvalue()).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the sha256 of a file's bytes in hex.

    Raises:
        DataError: no plain file that can be read.
    """
    with open_plain(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_sha256(path: Path, decoded: ImageFile | None = None) -> str:
    """Return a hash of what an image file shows, in hex; `decoded` saves decoding it again.

    Of the decoded pixels (`sha256_pixels`) where the format is lossless, so that a TIFF and its PNG conversion are
    equal; of the file's bytes where it is not, since decoders of JPEG differ in the last bit.

    Raises:
        DataError: as `read_image`.
    """
    file = decoded or open_image(path)
    return sha256_file(path) if file.format in LOSSY_FORMATS else sha256_pixels(file.pixels)


def sha256_pixels(pixels: Image) -> str:
    """Return the sha256 of height, width and RGB bytes in hex."""
    digest = hashlib.sha256(f"{pixels.shape[0]} {pixels.shape[1]}\n".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def file_stem(condition_id: str) -> str:
    """Return the file name of a condition's image or mask without its suffix: ASCII letters, digits, `.`, `_` and `-`.

    Every other character becomes `_`.
    """
    return re.sub(r"[^A-Za-z0-9._-]", "_", condition_id)


def open_image(path: Path) -> ImageFile:
    """Decode an image file, with what is known of it besides its pixels.

    Raises:
        DataError: as `read_image`.
    """
    return decode_image(read_bytes(path), path)


def read_bytes(path: Path) -> bytes:
    """Return an image file's bytes.

    Raises:
        DataError: no such file, not a regular one (opening a pipe would wait for ever), or above `MAX_BYTES`.
    """
    with _reading(path):
        if (size := path.stat().st_size) > MAX_BYTES:
            raise DataError(f"{path}: {size:,} bytes, at most {MAX_BYTES:,} are read; scale it down")
        return path.read_bytes()


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise DataError(f"{path}: not a regular file; give the file itself")
        yield
    except FileNotFoundError as error:
        what = "a link to a file that is not there" if path.is_symlink() else "no such file"
        raise DataError(f"{path}: {what}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({_line(error)}); copy the file again or remove it") from error


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
        raise DataError(f"{path}: cannot be decoded ({_line(error)}); copy the file again or remove it") from error


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


def _line(error: BaseException) -> str:
    return one_line(error)
