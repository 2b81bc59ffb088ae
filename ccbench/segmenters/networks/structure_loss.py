"""The structure loss of PraNet and Polyp-PVT: cross-entropy and IoU, heavier near the mask's edge."""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from ccbench.segmenters.mmlab import MODELS

Bce = Literal["legacy_mean", "weighted"]


@MODELS.register_module()
class StructureLoss(nn.Module):
    """w = 1 + 5 |avgpool(m) - m|, summed over the pixels of an image, mean over the batch (Wei et al., AAAI 2020).

    Args:
        bce: "weighted" is the paper's cross-entropy, sum(w bce) / sum(w). "legacy_mean" is what the published code
            computes: `reduce='none'` is a deprecated flag that any text switches on, so that the cross-entropy is its
            plain mean over the batch.
        window: pixels, odd, in which an edge is looked for; 31 at 352 pixels.
    """

    def __init__(self, bce: Bce = "legacy_mean", window: int = 31) -> None:
        super().__init__()
        if bce not in ("legacy_mean", "weighted"):
            raise ValueError(f"structure loss: bce is {bce!r}, wanted legacy_mean or weighted")
        self.bce, self.window = bce, window

    def forward(self, maps: Sequence[Tensor], masks: Tensor) -> list[Tensor]:
        """Return the loss of each of the logits (B, 1, H, W) against masks of that shape, 0..1."""
        half = self.window // 2
        rows = functional.avg_pool2d(masks, (1, self.window), 1, (0, half))  # in two passes: 15 times as fast
        weight = 1 + 5 * (functional.avg_pool2d(rows, (self.window, 1), 1, (half, 0)) - masks).abs()
        return [self._loss(logits, masks, weight) for logits in maps]

    def _loss(self, logits: Tensor, masks: Tensor, weight: Tensor) -> Tensor:
        if self.bce == "weighted":
            entropy = functional.binary_cross_entropy_with_logits(logits, masks, reduction="none")
            entropy = (weight * entropy).sum((2, 3)) / weight.sum((2, 3))
        else:
            entropy = functional.binary_cross_entropy_with_logits(logits, masks)
        seen = logits.sigmoid()
        both = (seen * masks * weight).sum((2, 3))
        either = ((seen + masks) * weight).sum((2, 3)) - both
        loss: Tensor = (entropy + 1 - (both + 1) / (either + 1)).mean()
        return loss
