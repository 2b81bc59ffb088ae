"""phantom-128: 800 / 100 / 200 rendered phantoms, whose seeds are hashes of their split and index."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from typing import NamedTuple

import numpy as np

from ccbench.base.images import resize_image, resize_mask
from ccbench.base.seeding import derive_seed
from ccbench.data.pairs import DataSplit, LazyPairs
from ccbench.data.phantom.render import Phantom, render_phantom
from ccbench.types import Condition, RealPair

COUNTS = {"train": 800, "validation": 100, "test": 200}

MANIFESTS = {
    "train": "a9123487d422a277348371295958579cbe3c600b2bb79225c528c58960d7a8b7",
    "validation": "2469a095a2e0dfe3906e4273f2556744dc9c6316cf787e5aca6511255cafa1b3",
    "test": "733c975eafd1e3c1319a54f69a13b3c16455d208bafc05a411c283090efd657d",
}
"""Expected manifest of each whole split.

It covers ids, seeds, attributes, captions and masks. Pixels are left out on purpose: the last bit of a float operation
differs between processors, and a grey level with it; with NumPy's AVX2 code switched off pixels moved, and none of
these values did.
"""


_render = cache(render_phantom)  # 64 kB each, 70 MB of all: every step of a command and its runs share a rendering


class PhantomItem(NamedTuple):
    """A phantom before it is rendered."""

    id: str
    seed: int


def open_phantoms(split: str, image_size: int, limit: int | None = None) -> DataSplit:
    """Open a split of phantoms, resized (squash) when `image_size` is not the renderer's own."""
    count = COUNTS[split] if limit is None else min(limit, COUNTS[split])
    items = [PhantomItem(f"phantom-{split}-{i:04d}", derive_seed("phantom-128", split, i)) for i in range(count)]

    def load(item: PhantomItem) -> RealPair:
        return _pair(item, _render(item.seed), image_size)

    def lines() -> Iterator[str]:
        return (_manifest_line(item, _render(item.seed)) for item in items)

    return DataSplit(split, LazyPairs(items, load), lines, "rendered by ccbench, Apache-2.0")


def _pair(item: PhantomItem, phantom: Phantom, size: int) -> RealPair:
    image, mask = phantom.image.copy(), phantom.mask.copy()
    if mask.shape != (size, size):
        image, mask = resize_image(image, size), resize_mask(mask, size)
    return RealPair(image, Condition(item.id, mask, phantom.caption))


def _manifest_line(item: PhantomItem, phantom: Phantom) -> str:
    mask = hashlib.sha256(np.packbits(phantom.mask).tobytes()).hexdigest()
    attributes = json.dumps(asdict(phantom.attributes), sort_keys=True)
    return "\t".join((item.id, str(item.seed), attributes, phantom.caption, mask))
