"""Polyp-PVT: Dong et al., Polyp-PVT: Polyp Segmentation with Pyramid Vision Transformers, CAAI AIR 2023.

Three deep levels are joined by a partial decoder (CFM); the finest level, gated by channel and place (CIM), guides a
graph of a few anchors on the joined map (SAM). Both maps are trained on, their sum is the prediction.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ccbench.segmenters.mmlab import MODELS
from ccbench.segmenters.networks.parts import DeeplySupervised, PartialDecoder, conv_norm, upsample


@MODELS.register_module()
class PolypPVT(DeeplySupervised):
    """Levels at strides 4, 8, 16 and 32 -> two maps. With PVTv2-B2 as published 25,107,604 parameters.

    Args:
        channels: of the levels.
        width: channels of the decoder.
    """

    def __init__(
        self,
        backbone: dict[str, Any],
        loss: dict[str, Any],
        data_preprocessor: dict[str, Any],
        channels: Sequence[int] = (64, 128, 320, 512),
        width: int = 32,
    ) -> None:
        super().__init__(backbone, loss, data_preprocessor)
        self.squeeze = nn.ModuleList(conv_norm(count, width) for count in channels)
        self.camouflage = CamouflageIdentification(channels[0])
        self.fusion = conv_norm(3 * width, width, 3)
        self.decoder = PartialDecoder(width)
        self.similarity = SimilarityAggregation(width)
        self.heads = nn.ModuleList([nn.Conv2d(width, 1, 1), nn.Conv2d(width, 1, 1)])

    def maps(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Return the maps of CFM and of SAM."""
        fine = self.squeeze[0](self.camouflage(levels[0]))
        deep = [squeeze(level) for squeeze, level in zip(self.squeeze[1:], levels[1:], strict=True)]
        fused = self.fusion(self.decoder(*deep))
        joined = (fused, self.similarity(fused, upsample(fine, fused)))
        return [head(one) for head, one in zip(self.heads, joined, strict=True)]

    def join(self, maps: Sequence[Tensor]) -> Tensor:
        """Return the sum of both maps."""
        return maps[0] + maps[1]


class CamouflageIdentification(nn.Module):
    """CIM: channel and then spatial attention (Woo et al., CBAM, ECCV 2018) on (B, C, H, W)."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        inner = max(1, channels // reduction)
        self.channel = nn.Sequential(
            nn.Conv2d(channels, inner, 1, bias=False), nn.ReLU(), nn.Conv2d(inner, channels, 1, bias=False)
        )
        self.place = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return x, gated."""
        mean, most = functional.adaptive_avg_pool2d(x, 1), functional.adaptive_max_pool2d(x, 1)
        x = x * (self.channel(mean) + self.channel(most)).sigmoid()
        pooled = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        gated: Tensor = x * self.place(pooled).sigmoid()
        return gated


class SimilarityAggregation(nn.Module):
    """SAM: pixels are assigned to 16 anchors by likeness, a graph convolution runs on the anchors, and goes back.

    Args:
        width: channels of both inputs.
        states: channels of an anchor.
        side: anchors a side.
    """

    def __init__(self, width: int, states: int = 16, side: int = 4) -> None:
        super().__init__()
        self.side = side
        self.state = nn.Conv2d(width, states, 1)
        self.project = nn.Conv2d(width, states, 1)
        self.mix_nodes = nn.Conv1d(side**2, side**2, 1)
        self.mix_states = nn.Conv1d(states, states, 1, bias=False)
        self.extend = nn.Conv2d(states, width, 1, bias=False)

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        """Return x (B, C, H, W) with what its anchors add; `guide` (B, C, H, W), its second softmax channel, gates."""
        gate = guide.softmax(1)[:, 1:2]
        states, projected = self.state(x), self.project(x)
        pooled = functional.adaptive_avg_pool2d(projected * gate, self.side + 2)
        anchors = pooled[:, :, 1:-1, 1:-1].flatten(2)  # (B, S, N)
        assigned = (anchors.transpose(1, 2) @ projected.flatten(2)).softmax(1)  # (B, N, H W)
        nodes = states.flatten(2) @ assigned.transpose(1, 2)  # (B, S, N)
        mixed = self.mix_nodes(nodes.transpose(1, 2)).transpose(1, 2) - nodes
        back = functional.relu(self.mix_states(mixed)) @ assigned  # (B, S, H W)
        found: Tensor = x + self.extend(back.unflatten(2, x.shape[-2:]))
        return found
