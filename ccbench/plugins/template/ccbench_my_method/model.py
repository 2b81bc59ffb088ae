"""Two colours with their spread, of mucosa and of polyp, and how an image is drawn from them."""

from dataclasses import dataclass

import numpy as np
from ccbench.types import Image, Mask
from numpy.typing import NDArray

from ccbench_my_method.config import MyMethodConfig

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Colours:
    """Row 0 is mucosa, row 1 is polyp: (2, 3) RGB, 0..255."""

    mean: Floats
    spread: Floats


def draw(colours: Colours, mask: Mask, seed: int, config: MyMethodConfig) -> Image:
    """Return (H, W, 3) noise around the colour of each side of the mask, blended at its edge."""
    rng = np.random.default_rng(seed)  # of this image alone: what else is in the batch must not matter
    height, width = mask.shape
    grain = config.grain
    coarse = rng.normal(size=(-(-height // grain), -(-width // grain), 1))
    noise = soften(coarse.repeat(grain, axis=0).repeat(grain, axis=1)[:height, :width], grain // 2)
    polyp = soften(mask[..., None].astype(np.float64), config.edge)  # (H, W, 1) in 0..1
    sides = colours.mean + noise[..., None] * colours.spread  # (H, W, 1, 3) broadcasts to (H, W, 2, 3)
    image = (1 - polyp) * sides[..., 0, :] + polyp * sides[..., 1, :]
    return np.clip(image.round(), 0, 255).astype(np.uint8)


def soften(values: Floats, radius: int) -> Floats:
    """Return (H, W, 1) averaged over a square of 2 * radius + 1 pixels; the borders repeat."""
    for axis in (0, 1):
        pad = [(radius, radius) if axis == i else (0, 0) for i in range(3)]
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(values, pad, mode="edge"), 2 * radius + 1, axis=axis)
        values = windows.mean(axis=-1)
    return values
