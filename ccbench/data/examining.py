"""Decodes every pair of a data set once, in threads, and keeps what `check` and `prepare` ask about."""

import hashlib
import os
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ccbench.data.joining import PairFiles
from ccbench.errors import DataError
from ccbench.images import LOSSY_FORMATS, ImageFile, open_image, sha256_file, sha256_pixels, threshold_mask
from ccbench.types import Image, ProgressStep

WORKERS = 4
"""At most: decoding leaves the interpreter's lock, so threads are enough, and disks gain little from more."""

_COLOURED = 64  # spread of the channels that JPEG noise on a grey mask does not reach

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class FileFacts:
    """What one image file holds.

    Attributes:
        size: (width, height) pixels, upright.
        content_sha256: as `ccbench.images.content_sha256`.
    """

    size: tuple[int, int]
    format: str
    mode: str
    has_exif: bool
    file_sha256: str
    pixels_sha256: str

    @property
    def content_sha256(self) -> str:
        """The hash that splits list."""
        return self.file_sha256 if self.format in LOSSY_FORMATS else self.pixels_sha256


@dataclass(frozen=True)
class MaskFacts(FileFacts):
    """What one mask file holds.

    Attributes:
        levels: (256,) pixels of each value, maximum over the channels. region_sha256: of the boolean mask.
        coloured: the channels differ, as in colour-coded masks.
    """

    levels: NDArray[np.int64]
    region_sha256: str
    coloured: bool

    @property
    def highest(self) -> int:
        """The highest value of any pixel."""
        return int(np.flatnonzero(self.levels).max(initial=0))


@dataclass(frozen=True)
class PairFacts:
    """One pair after decoding. `image`, `mask`: None where the file cannot be read, and `errors` says why."""

    files: PairFiles
    image: FileFacts | None
    mask: MaskFacts | None
    errors: tuple[str, ...] = ()


def examine_pair(files: PairFiles) -> PairFacts:
    """Decode both files of a pair; a file that cannot be read is reported, not raised."""
    errors: list[str] = []
    image = _examine(files.image, _file_facts, errors)
    mask = _examine(files.mask, _mask_facts, errors)
    return PairFacts(files, image, mask, tuple(errors))


def map_threads(function: Callable[[Item], Result], items: Sequence[Item], step: ProgressStep) -> Generator[Result]:
    """Yield `function` of every item, in order, from a few threads; what has not begun is dropped when it stops."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    pool = ThreadPoolExecutor(min(WORKERS, cores), thread_name_prefix="ccbench-data")
    try:
        for result in pool.map(function, items):
            step.advance()
            yield result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _examine(path: Path, facts: Callable[[Path, ImageFile], Result], errors: list[str]) -> Result | None:
    try:
        return facts(path, open_image(path))
    except DataError as error:
        errors.append(str(error))
        return None


def _file_facts(path: Path, file: ImageFile) -> FileFacts:
    height, width = file.pixels.shape[:2]
    return FileFacts(
        size=(width, height),
        format=file.format,
        mode=file.mode,
        has_exif=file.has_exif,
        file_sha256=sha256_file(path),
        pixels_sha256=sha256_pixels(file.pixels),
    )


def _mask_facts(path: Path, file: ImageFile) -> MaskFacts:
    region = threshold_mask(file.pixels)
    digest = hashlib.sha256(f"{region.shape}".encode() + np.packbits(region).tobytes())
    highest, lowest = _channel_ends(file.pixels)
    return MaskFacts(
        **vars(_file_facts(path, file)),
        levels=np.bincount(highest.ravel(), minlength=256),
        region_sha256=digest.hexdigest(),
        coloured=bool((highest - lowest).max() > _COLOURED),
    )


def _channel_ends(pixels: Image) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    red, green, blue = (pixels[..., channel] for channel in range(3))
    return np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
