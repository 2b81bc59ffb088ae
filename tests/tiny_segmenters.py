"""Small data and small settings for trainings of segmenters that take a second."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ccbench.segmenters import SEGMENTERS, Segmenter, SegmenterSettings
from ccbench.segmenters.loading import Labelled
from ccbench.segmenters.mmlab import MODELS
from ccbench.segmenters.networks.mmseg_configs import pranet
from ccbench.segmenters.networks.parts import DeeplySupervised
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


@MODELS.register_module()
class OneLayer(DeeplySupervised):
    """A convolution of 28 weights, for tests in which it matters what is written and not what is learnt."""

    def maps(self, levels: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        return [levels[0]]

    def join(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        return maps[0]


@MODELS.register_module()
class OneConvolution(torch.nn.Conv2d):
    def __init__(self) -> None:
        super().__init__(3, 1, 3, padding=1)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor]:
        return (super().forward(images),)


def one_layer(name: str, settings: SegmenterSettings) -> dict[str, Any]:
    whole = pranet(name, settings)
    kept = {key: whole[key] for key in ("loss", "data_preprocessor")}
    return {"type": "OneLayer", "backbone": {"type": "OneConvolution"}, **kept}


ONE_LAYER = Segmenter(
    "one-layer", "OneLayer", "none", tiny(weights="random"), tiny(weights="random"), "tiny_segmenters:one_layer"
)
