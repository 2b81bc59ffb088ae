"""Scores of any two folders of polyp maps and masks, whatever made the maps."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ccbench.errors import DataError
from ccbench.images import list_images, open_image, read_mask
from ccbench.metrics.map_scores import map_scores
from ccbench.metrics.maps import MapScores, score_map
from ccbench.types import Mask, Progress, Score, SilentProgress


class MapFolderScores(NamedTuple):
    """What a folder of maps scores.

    Attributes:
        rows: file stem -> the scores of that map, sorted by stem. scores: of the set, as `map_scores`.
    """

    rows: dict[str, MapScores]
    scores: list[Score]


def score_map_folders(
    maps: Path, masks: Path, *, png: bool = False, progress: Progress = SilentProgress()
) -> MapFolderScores:
    """Score every map of a folder against the mask of the same file stem; `_mask` at the end of a stem is left out.

    Maps are grey images of 8 bits. Masks are read as everywhere (`read_mask`): polyp above 127, since masks kept as
    JPEG have values around 0 and 255. The MATLAB code takes those above 128; no known mask has a pixel of 128.

    Args:
        png: as `score_map`.

    Raises:
        DataError: a folder without images, nothing in common, a map without mask or a mask without map, two files of
            one name, a file that cannot be read, a coloured map, or a map of another size than its mask.
    """
    map_files, mask_files = _by_name(maps), _by_name(masks)
    _check_names(map_files, mask_files, maps, masks)
    digest, rows = hashlib.sha256(), {}
    with progress.step(f"scoring {maps}", len(map_files)) as step:
        for name in sorted(map_files):
            predicted, wanted = read_map(map_files[name]), read_mask(mask_files[name])
            _check_sizes(predicted, wanted, map_files[name], mask_files[name])
            digest.update(f"{name} {wanted.shape[0]} {wanted.shape[1]}\n".encode() + np.packbits(wanted).tobytes())
            rows[name] = score_map(predicted, wanted, png=png)
            step.advance()
    return MapFolderScores(rows, map_scores(list(rows.values()), f"masks@{digest.hexdigest()[:10]}", png=png))


def read_map(path: Path) -> NDArray[np.uint8]:
    """Return the map file as (H, W) uint8.

    Raises:
        DataError: as `read_image`, or the colour channels differ.
    """
    pixels = open_image(path).pixels
    grey: NDArray[np.uint8] = np.ascontiguousarray(pixels[..., 0])
    coloured = int((pixels != grey[..., None]).any(axis=2).sum())
    if coloured:
        raise DataError(
            f"{path}: {coloured:,} of {grey.size:,} pixels are coloured; wanted a grey map of how likely each pixel is "
            "polyp; save one channel"
        )
    return grey


def _by_name(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in list_images(folder):
        name = path.stem.removesuffix("_mask")
        if name in found:
            raise DataError(f"{path}: {found[name].name} has the same name; keep one of the two")
        found[name] = path
    return found


def _check_names(map_files: dict[str, Path], mask_files: dict[str, Path], maps: Path, masks: Path) -> None:
    if not map_files.keys() & mask_files.keys():
        first, other = (next(iter(files.values())).name for files in (map_files, mask_files))
        raise DataError(
            f"{maps}: no file stem in common with {masks}, such as {first} there and {other} here; wanted maps named "
            "as their masks"
        )
    for files, others, kind in ((map_files, mask_files, "mask"), (mask_files, map_files, "map")):
        alone = [path for name, path in files.items() if name not in others]
        if alone:
            where = masks if kind == "mask" else maps
            more = f", nor for {len(alone) - 1} more" if len(alone) > 1 else ""
            raise DataError(f"{alone[0]}: found no {kind} of that name in {where}{more}; add it, or remove the file")


def _check_sizes(predicted: NDArray[np.uint8], wanted: Mask, map_file: Path, mask_file: Path) -> None:
    if predicted.shape != wanted.shape:
        (height, width), (mask_height, mask_width) = predicted.shape, wanted.shape
        raise DataError(
            f"{map_file}: {width} x {height} pixels, its mask {mask_file} {mask_width} x {mask_height}; "
            "resize the map to the mask's size before it is scored"
        )
