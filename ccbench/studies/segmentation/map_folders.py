"""Scores of any two folders of polyp maps and masks, whatever made the maps."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ccbench.base.images import open_image
from ccbench.base.mask_files import MASK_THRESHOLD, MaskRule, read_mask
from ccbench.data.name_matching import join_folders
from ccbench.errors import DataError
from ccbench.metrics.images.map_scores import map_scores
from ccbench.metrics.images.maps import MapScores, score_map
from ccbench.types import Mask, Progress, Score, SilentProgress

_FAINT = 8  # 3 % of 255: no segmenter whose maps all stay below it predicts anything


class MapFolderScores(NamedTuple):
    """What a folder of maps scores.

    Attributes:
        rows: file stem -> the scores of that map, sorted by stem.
        scores: of the set, as `map_scores`.
        notes: what of the folders was left out, and how names were paired where they are not equal.
    """

    rows: dict[str, MapScores]
    scores: list[Score]
    notes: list[str]


def score_map_folders(
    maps: Path,
    masks: Path,
    *,
    png: bool = False,
    rule: MaskRule | None = None,
    progress: Progress = SilentProgress(),
) -> MapFolderScores:
    """Score every map of a folder against the mask of the same name, as `join_folders` pairs them.

    Maps are grey images of 8 bits. Masks are read as everywhere (`read_mask`): polyp above 127, since masks kept as
    JPEG have values around 0 and 255. The MATLAB code takes those above 128; no known mask has a pixel of 128.

    Args:
        png: as `score_map`.
        rule: which pixels of a mask are polyp, where a user said so.
        progress: told of each map.

    Raises:
        DataError: a folder without images, a map without mask or a mask without map, two files of one name, a file that
            cannot be read, a coloured map, a map of another size than its mask, or maps of 0 and 1 only.
    """
    joined = join_folders(maps, masks, None, prefix="")
    pairs, highest = joined.whole("map"), 0
    digest, rows = hashlib.sha256(), {}
    with progress.step(f"scoring {maps}", len(pairs)) as step:
        for pair in pairs:
            predicted, wanted = read_map(pair.image), read_mask(pair.mask, rule)
            _check_sizes(predicted, wanted, pair.image, pair.mask)
            highest = max(highest, int(predicted.max()))
            name = pair.id.removesuffix("_mask")
            digest.update(f"{name} {wanted.shape[0]} {wanted.shape[1]}\n".encode() + np.packbits(wanted).tobytes())
            rows[pair.id] = score_map(predicted, wanted, png=png)
            step.advance()
    if 0 < highest <= _FAINT and not png:
        raise DataError(
            f"{maps}: no map has a value above {highest}, so that nothing is predicted anywhere; they look like masks "
            "of 0 and 1: save them as 0 and 255, or stretch them with --png"
        )
    notes = [*joined.notes, *([f"{maps}: paired {joined.pairing()}"] if joined.reworded else [])]
    return MapFolderScores(rows, map_scores(list(rows.values()), f"masks@{digest.hexdigest()[:10]}", png=png), notes)


def read_map(path: Path) -> NDArray[np.uint8]:
    """Return the map file as (H, W) uint8.

    Raises:
        DataError: as `read_image`, or the colour channels differ, or the map is in the alpha channel.
    """
    file = open_image(path)
    pixels = file.pixels
    if file.alpha is not None and 0 < (file.alpha > MASK_THRESHOLD).mean() < 1:
        raise DataError(f"{path}: parts of it are transparent; wanted a grey map; save it without an alpha channel")
    grey: NDArray[np.uint8] = np.ascontiguousarray(pixels[..., 0])
    coloured = int((pixels != grey[..., None]).any(axis=2).sum())
    if coloured:
        raise DataError(
            f"{path}: {coloured:,} of {grey.size:,} pixels are coloured; wanted a grey map of how likely each pixel is "
            "polyp; save one channel"
        )
    return grey


def _check_sizes(predicted: NDArray[np.uint8], wanted: Mask, map_file: Path, mask_file: Path) -> None:
    if predicted.shape != wanted.shape:
        (height, width), (mask_height, mask_width) = predicted.shape, wanted.shape
        raise DataError(
            f"{map_file}: {width} x {height} pixels, its mask {mask_file} {mask_width} x {mask_height}; "
            "resize the map to the mask's size before it is scored"
        )
