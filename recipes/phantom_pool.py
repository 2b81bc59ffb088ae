"""Phantoms to train the embedded weights on: rendered once, kept under work/, never a phantom of a protocol."""

import json
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ccbench.base.seeding import derive_seed
from ccbench.data.phantom.render import render_phantom


class Pool(NamedTuple):
    """images: (N, 128, 128, 3) uint8; captions: N texts."""

    images: NDArray[np.uint8]
    captions: list[str]


def _render(seed: int) -> tuple[NDArray[np.uint8], str]:
    phantom = render_phantom(seed)
    return phantom.image, phantom.caption


def load_pool(split: str, count: int, folder: Path, workers: int = 2) -> Pool:
    """Return `count` phantoms of the recipe's own `split`; the seeds' prefix keeps them apart from every protocol's."""
    folder.mkdir(parents=True, exist_ok=True)
    images_file, captions_file = folder / f"{split}-{count}.npy", folder / f"{split}-{count}.json"
    if not captions_file.exists():
        seeds = [derive_seed("recipe", split, index) for index in range(count)]
        with ProcessPoolExecutor(workers) as pool:
            rendered = list(pool.map(_render, seeds, chunksize=64))
        np.save(images_file, np.stack([image for image, _ in rendered]))
        captions_file.write_text(json.dumps([caption for _, caption in rendered]))
    return Pool(np.load(images_file), json.loads(captions_file.read_text()))
