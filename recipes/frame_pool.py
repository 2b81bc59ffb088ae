"""Real frames to train the embedded weights on: PolypGen (Ali et al., Scientific Data 2023, CC BY 4.0), squashed once.

Never Kvasir-SEG or CVC-ClinicDB: their licence forbids shipping weights, and their test images are the benchmark.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ccbench.base.images import read_image, resize_image, resize_mask
from ccbench.base.mask_files import read_mask
from ccbench.base.seeding import derive_seed
from ccbench.errors import DataError

HELD_OUT = 128
"""Frames kept from training: those with the lowest hashes. A patient may have frames on both sides."""


class Frames(NamedTuple):
    """images: (N, S, S, 3) uint8; masks: (N, S, S) bool; names: N file stems."""

    images: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    names: list[str]


def load_frames(split: str, polypgen: Path, size: int, folder: Path) -> Frames:
    """Return the `train` or `held-out` frames of the five centres, at size x size, in the order of their hashes."""
    folder.mkdir(parents=True, exist_ok=True)
    cache = folder / f"polypgen-{size}.npz"
    if not cache.exists():
        _read(polypgen, size, cache)
    held = np.load(cache)
    part = slice(None, HELD_OUT) if split == "held-out" else slice(HELD_OUT, None)
    return Frames(held["images"][part], held["masks"][part], held["names"].tolist()[part])


def _read(polypgen: Path, size: int, cache: Path) -> None:
    files = sorted(polypgen.glob("data_C*/images_C*/*"), key=lambda path: derive_seed("recipe", "polypgen", path.stem))
    if not files:
        raise DataError(f"{polypgen}: found no data_C*/images_C*/ there; give the folder of PolypGen")
    images, masks = [], []
    for path in files:
        mask = next(path.parents[1].glob(f"masks_*/{path.stem}_mask.*"))
        images.append(resize_image(read_image(path), size))
        masks.append(resize_mask(read_mask(mask), size))
    np.savez(cache, images=np.stack(images), masks=np.stack(masks), names=[path.stem for path in files])
