"""Images and masks in and out of files: what is read is checked, what is written is whole."""

import hashlib
import io
import os
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps

from ccbench.errors import DataError, UsageError
from ccbench.types import Image, Mask, check_image, check_mask

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
MAX_PIXELS = 64_000_000  # above any endoscope's frame, below what a decompression bomb needs
MASK_THRESHOLD = 127  # Kvasir-SEG masks are JPEGs with 0..8 and 247..255: `> 0` would grow every polyp
_EIGHT_BIT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")


def read_image(path: Path) -> Image:
    """Return the image file as (H, W, 3) uint8 RGB with its EXIF orientation applied; transparency is dropped.

    Raises:
        DataError: the file is missing, unreadable, truncated, not 8 bits a channel, or above `MAX_PIXELS`.
    """
    return np.array(_decode(path), dtype=np.uint8)


def read_mask(path: Path) -> Mask:
    """Return the mask file as (H, W) bool: the maximum over the colour channels is above 127.

    The maximum, since some releases colour their masks and a grey conversion loses pure red ones.

    Raises:
        DataError: as `read_image`.
    """
    mask: Mask = np.asarray(_decode(path)).max(axis=2) > MASK_THRESHOLD
    return mask


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


def write_png(path: Path, image: Image) -> str:
    """Write `image` as a lossless PNG without metadata, whole or not at all; return the file's sha256 in hex.

    Raises:
        UsageError: the folder cannot be written to.
    """
    check_image(image, str(path))
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, format="PNG")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(buffer.getvalue())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UsageError(f"{path}: cannot be written ({error.strerror}); choose another output folder") from error
    return hashlib.sha256(buffer.getvalue()).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the sha256 of a file's bytes in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def list_images(folder: Path) -> list[Path]:
    """Return the image files lying directly in `folder`, sorted by name; hidden files are left out.

    Raises:
        DataError: the folder does not exist or holds no image.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: not a folder; give a folder of images")
    files = [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
    ]
    if not files:
        raise DataError(f"{folder}: holds no image; wanted files ending in {', '.join(IMAGE_SUFFIXES)}")
    return sorted(files, key=lambda path: path.name)


def _decode(path: Path) -> PIL.Image.Image:
    try:
        with PIL.Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(
                    f"{path}: {image.width} x {image.height} pixels, at most {MAX_PIXELS:,} are read; scale it down"
                )
            if image.mode not in _EIGHT_BIT_MODES:
                raise DataError(f"{path}: pixel mode {image.mode}, wanted 8 bits a channel; convert it to 8-bit PNG")
            image.load()
            return PIL.ImageOps.exif_transpose(image).convert("RGB")
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except PIL.UnidentifiedImageError as error:
        raise DataError(f"{path}: not an image that can be read; convert it to PNG or copy it again") from error
    except (OSError, SyntaxError, ValueError, EOFError, PIL.Image.DecompressionBombError) as error:
        raise DataError(f"{path}: cannot be decoded ({error}); copy the file again or remove it") from error
