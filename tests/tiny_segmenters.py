"""Small data and small settings for trainings of segmenters that take a second."""

from collections.abc import Sequence

import numpy as np

from ccbench.segmenters import SEGMENTERS, SegmenterSettings
from ccbench.segmenters.loading import Labelled
from ccbench.types import Condition, RealPair

SIDE = 32


def draw_discs(count: int, seed: int, size: int = SIDE) -> list[RealPair]:
    """Red discs on pale noise, each with its mask."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size]
    pairs = []
    for number in range(count):
        (y, x), radius = rng.uniform(0.3, 0.7, 2) * size, rng.uniform(0.12, 0.3) * size
        mask = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
        image = rng.normal([190, 160, 150], 12, (size, size, 3))
        image[mask] = rng.normal([170, 60, 60], 12, (int(mask.sum()), 3))
        pairs.append(RealPair(image.clip(0, 255).astype(np.uint8), Condition(f"{seed}-{number}", mask, "")))
    return pairs


def label(pairs: Sequence[RealPair], size: int = SIDE) -> Labelled:
    return Labelled.of(pairs, size)


def tiny(name: str = "pranet", **changes: object) -> SegmenterSettings:
    """The mini settings of a segmenter at 32 pixels, one size, batches of four."""
    given = {"size": SIDE, "ratios": (1.0,), "batch_size": 4, **changes}
    return SEGMENTERS[name].mini.model_copy(update=given)
