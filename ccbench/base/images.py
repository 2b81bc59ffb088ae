"""Images and masks in and out of files: what is read is checked, what is written is whole."""

import hashlib
import io
import math
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
from numpy.typing import NDArray

from ccbench.base.files import open_plain, write_atomic
from ccbench.base.image_decoding import ImageFile, decode_image
from ccbench.base.text import one_line
from ccbench.errors import DataError
from ccbench.types import Image, Mask, check_image, check_mask

MAX_BYTES = 512 * 2**20  # twice what so many pixels take uncompressed
CONSTANT_RANGE = 2  # grey levels: JPEG of one colour varies by as much
LOSSY_FORMATS = ("JPEG", "WEBP")  # their decoders may differ in the last bit


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
        raise DataError(f"{path}: cannot be read ({one_line(error)}); copy the file again or remove it") from error
