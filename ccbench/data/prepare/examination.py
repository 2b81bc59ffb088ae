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

from ccbench.base.image_decoding import ImageFile
from ccbench.base.images import LOSSY_FORMATS, open_image, sha256_file, sha256_pixels
from ccbench.base.mask_files import MaskFault, MaskFile, MaskRule, decode_mask
from ccbench.data.name_matching import PairFiles
from ccbench.data.pair_files import find_faults
from ccbench.errors import DataError
from ccbench.types import ProgressStep

WORKERS = 4
"""At most: decoding leaves the interpreter's lock, so threads are enough, and disks gain little from more."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class FileFacts:
    """What one image file holds.

    Attributes:
        size: (width, height) pixels, upright.
        content_sha256: as `ccbench.base.images.content_sha256`.
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
        levels: (256,) pixels of each value, maximum over the channels.
        region_sha256: of the boolean mask.
        empty: no pixel is polyp.
        coloured, grey: as `ccbench.base.mask_files.MaskFile`.
    """

    levels: NDArray[np.int64]
    region_sha256: str
    empty: bool
    coloured: bool
    grey: bool


@dataclass(frozen=True)
class PairFacts:
    """One pair after decoding.

    Attributes:
        image, mask: None where the file cannot be read, and `errors` says why.
        faults: what is wrong with files that can be read.
    """

    files: PairFiles
    image: FileFacts | None
    mask: MaskFacts | None
    errors: tuple[str, ...] = ()
    faults: tuple[MaskFault, ...] = ()


def examine_pair(files: PairFiles, rule: MaskRule | None = None) -> PairFacts:
    """Decode both files of a pair; what is wrong with them is reported, not raised."""
    errors: list[str] = []
    image, mask_file = _open(files.image, errors), _open(files.mask, errors)
    mask = decode_mask(mask_file, rule) if mask_file else None
    faults = find_faults(files, image, mask_file, mask) if image and mask_file and mask else ()
    return PairFacts(
        files,
        _file_facts(files.image, image) if image else None,
        _mask_facts(files.mask, mask_file, mask) if mask_file and mask else None,
        tuple(errors),
        tuple(fault for _, fault in faults),
    )


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


def _open(path: Path, errors: list[str]) -> ImageFile | None:
    try:
        return open_image(path)
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


def _mask_facts(path: Path, file: ImageFile, mask: MaskFile) -> MaskFacts:
    region = mask.region
    digest = hashlib.sha256(f"{region.shape}".encode() + np.packbits(region).tobytes())
    return MaskFacts(
        **vars(_file_facts(path, file)),
        levels=mask.levels,
        region_sha256=digest.hexdigest(),
        empty=not region.any(),
        coloured=mask.coloured,
        grey=mask.grey,
    )
