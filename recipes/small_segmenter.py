"""A small polyp segmenter for studies of budgets and guidance: is there a polyp where the mask says?

It learns on a protocol's real training images only. A head reads four stages of a frozen ImageNet EfficientNet-Lite0;
quick to train, and good enough to tell a polyp in its mask from one that is missing.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ccbench.features.lite0 import load_lite0
from ccbench.types import Image, Mask, PairSequence

STAGES = (1, 2, 4, 6)  # of EfficientNet-Lite0: strides 4, 8, 16, 32
CHANNELS = (24, 40, 112, 320)


class SmallSegmenter(nn.Module):
    """Maps of a frozen network -> logits at a fourth of the image's side."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.net = load_lite0()
        self.sides = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in CHANNELS)
        self.head = nn.Sequential(
            nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, width, 3, 1, 1), nn.SiLU(), nn.Conv2d(width, 1, 1)
        )

    @torch.inference_mode()
    def maps(self, images: Sequence[Image]) -> list[torch.Tensor]:
        """Return the four stages' maps of images of one size, in half precision."""
        x = torch.from_numpy(np.stack(list(images))).permute(0, 3, 1, 2).float() / 127.5 - 1
        x = self.net.bn1(self.net.conv_stem(x.contiguous(memory_format=torch.channels_last)))
        found = []
        for number, stage in enumerate(self.net.blocks):
            x = stage(x)
            if number in STAGES:
                found.append(x.half().contiguous())
        return found

    def forward(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        size = maps[0].shape[-2:]
        joined = sum(
            nn.functional.interpolate(side(part.float()), size, mode="bilinear")
            for side, part in zip(self.sides, maps, strict=True)
        )
        return self.head(joined)  # type: ignore[no-any-return]

    @torch.inference_mode()
    def segment(self, images: Sequence[Image]) -> NDArray[np.bool_]:
        """Return (N, H, W) masks."""
        parts = []
        for start in range(0, len(images), 32):
            chunk = images[start : start + 32]
            logits = nn.functional.interpolate(self(self.maps(chunk)), chunk[0].shape[:2], mode="bilinear")
            parts.append((logits[:, 0] > 0).numpy())
        return np.concatenate(parts)


def train_segmenter(pairs: PairSequence, steps: int = 800, batch_size: int = 16) -> SmallSegmenter:
    """Return a segmenter trained on `pairs`, cross-entropy + soft Dice."""
    torch.manual_seed(0)
    model = SmallSegmenter()
    images, targets = [], []
    for start in range(0, len(pairs), 32):
        chunk = [pairs[i] for i in range(start, min(start + 32, len(pairs)))]
        images.append(model.maps([pair.image for pair in chunk]))
        targets.append(torch.from_numpy(np.stack([pair.condition.mask for pair in chunk])))
    maps = [torch.cat(stage).clone() for stage in zip(*images, strict=True)]
    target = nn.functional.interpolate(torch.cat(targets)[:, None].float(), maps[0].shape[-2:], mode="area")
    trained = [*model.sides.parameters(), *model.head.parameters()]
    optimiser = torch.optim.AdamW(trained, 2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    for step in range(steps):
        generator = torch.Generator().manual_seed(step)
        picked = torch.randint(0, len(target), (batch_size,), generator=generator)
        logits, wanted = model([stage[picked] for stage in maps]), target[picked]
        p = logits.sigmoid()
        dice = 1 - (2 * (p * wanted).sum((1, 2, 3)) + 1) / ((p + wanted).sum((1, 2, 3)) + 1)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, wanted) + dice.mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return model.eval()


def dice(masks: Sequence[Mask], others: Sequence[Mask]) -> NDArray[np.float64]:
    """Return the Dice of each pair of masks (N,)."""
    return np.array(
        [2 * np.sum(a & b) / max(1, np.sum(a) + np.sum(b)) for a, b in zip(masks, others, strict=True)],
        dtype=np.float64,
    )
