"""PraNet: Fan et al., Parallel Reverse Attention Network for Polyp Segmentation, MICCAI 2020.

A partial decoder of the three deepest levels draws a rough map; three reverse attentions, deep to shallow, look where
the map so far sees no polyp and correct it. All four maps are trained on, the shallowest is the prediction.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ccbench.segmenters.mmlab import MODELS
from ccbench.segmenters.networks.parts import DeeplySupervised, PartialDecoder, conv_norm, resize


@MODELS.register_module()
class PraNet(DeeplySupervised):
    """Levels at strides 8, 16 and 32 -> four maps. With Res2Net-50 v1b as published 30,498,319 parameters.

    Args:
        channels: of the levels.
        width: channels of the decoder.
        attention: channels of the reverse attentions, of the deepest level and of the others.
    """

    def __init__(
        self,
        backbone: dict[str, Any],
        loss: dict[str, Any],
        data_preprocessor: dict[str, Any],
        channels: Sequence[int] = (512, 1024, 2048),
        width: int = 32,
        attention: tuple[int, int] = (256, 64),
    ) -> None:
        super().__init__(backbone, loss, data_preprocessor)
        self.fields = nn.ModuleList(ReceptiveField(count, width) for count in channels)
        self.decoder = PartialDecoder(width)
        self.head = nn.Sequential(conv_norm(3 * width, 3 * width, 3), nn.Conv2d(3 * width, 1, 1))
        deep, other = attention
        self.attentions = nn.ModuleList(
            [ReverseAttention(count, other, 3, 2, head=3) for count in channels[:-1]]
            + [ReverseAttention(channels[-1], deep, 5, 3, head=1)]
        )

    def maps(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Return the maps in the order in which they arise: rough first, the prediction last."""
        found: list[Tensor] = [self.head(self.decoder(*map(_call, self.fields, levels)))]
        for attention, level in zip(reversed(self.attentions), levels[::-1], strict=True):
            found.append(attention(level, resize(found[-1], level.shape[-2:])))
        return found

    def join(self, maps: Sequence[Tensor]) -> Tensor:
        """Return the last map."""
        return maps[-1]


class ReceptiveField(nn.Module):
    """Receptive field block (Liu et al., ECCV 2018) as PraNet has it: (B, inputs, H, W) -> (B, width, H, W)."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList([conv_norm(inputs, width)])
        for side in (3, 5, 7):
            rows, columns = conv_norm(width, width, (1, side)), conv_norm(width, width, (side, 1))
            self.branches.append(
                nn.Sequential(conv_norm(inputs, width), rows, columns, conv_norm(width, width, 3, dilation=side))
            )
        self.join = conv_norm(4 * width, width, 3)
        self.residual = conv_norm(inputs, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the joined branches, rectified."""
        joined = self.join(torch.cat([branch(x) for branch in self.branches], 1))
        return functional.relu(joined + self.residual(x))


class ReverseAttention(nn.Module):
    """What a level (B, C, H, W) adds to a map (B, 1, H, W), seen where the map holds no polyp."""

    def __init__(self, inputs: int, width: int, kernel: int, count: int, head: int) -> None:
        super().__init__()
        self.squeeze = conv_norm(inputs, width)
        self.convs = nn.ModuleList(conv_norm(width, width, kernel) for _ in range(count))
        self.head = conv_norm(width, 1, head)

    def forward(self, level: Tensor, guide: Tensor) -> Tensor:
        """Return the corrected map."""
        x = self.squeeze(level * (1 - guide.sigmoid()))
        for conv in self.convs:
            x = functional.relu(conv(x))
        corrected: Tensor = self.head(x) + guide
        return corrected


def _call(module: nn.Module, x: Tensor) -> Tensor:
    found: Tensor = module(x)
    return found
