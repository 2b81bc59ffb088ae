"""What PraNet and Polyp-PVT share: convolutions with batch norm, the partial decoder, and deep supervision in mmseg."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ccbench.segmenters.mmlab import MODELS, BaseSegmentor, PixelData, SegDataSample
from ccbench.segmenters.networks.structure_loss import StructureLoss

SOFT_MASK = "soft_mask"
"""Field of a data sample that holds its mask as (1, H, W) float: a resized mask has values between 0 and 1."""


def conv_norm(inputs: int, outputs: int, kernel: int | tuple[int, int] = 1, dilation: int = 1) -> nn.Sequential:
    """Return a convolution that keeps the size, and its batch norm; no ReLU, which both papers' code leaves out."""
    sides = (kernel, kernel) if isinstance(kernel, int) else kernel
    height, width = (dilation * (side // 2) for side in sides)
    conv = nn.Conv2d(inputs, outputs, sides, padding=(height, width), dilation=dilation, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


class PartialDecoder(nn.Module):
    """Cascaded partial decoder: three levels of C channels -> (B, 3 C, H, W) at the finest one's size.

    Wu et al., Cascaded Partial Decoder for Fast and Accurate Salient Object Detection, CVPR 2019. Polyp-PVT calls it
    CFM. A coarser level multiplies the finer ones, and is concatenated with them.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gates = nn.ModuleList(conv_norm(channels, channels, 3) for _ in range(4))
        self.joined_up = conv_norm(2 * channels, 2 * channels, 3)
        self.join_middle = conv_norm(2 * channels, 2 * channels, 3)
        self.join_fine = conv_norm(3 * channels, 3 * channels, 3)

    def forward(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> Tensor:
        """Join levels (B, C, H, W), (B, C, H/2, W/2) and (B, C, H/4, W/4)."""
        coarse_up, middle_up = upsample(coarse, middle), upsample(middle, fine)
        gated_middle = self.gates[0](coarse_up) * middle
        gated_fine = self.gates[1](upsample(coarse_up, fine)) * self.gates[2](middle_up) * fine
        joined = self.join_middle(torch.cat([gated_middle, self.gates[3](coarse_up)], 1))
        found: Tensor = self.join_fine(torch.cat([gated_fine, self.joined_up(upsample(joined, fine))], 1))
        return found


def upsample(x: Tensor, like: Tensor) -> Tensor:
    """Return x (B, C, h, w) at the size of `like`, bilinear with aligned corners, as both decoders do."""
    return functional.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=True)


def resize(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Return x (B, C, h, w) at (H, W), bilinear, corners not aligned: the maps' way to the image's size."""
    return functional.interpolate(x, tuple(shape), mode="bilinear", align_corners=False)


class DeeplySupervised(BaseSegmentor):  # type: ignore[misc]  # mmseg is untyped
    """A segmentor of mmsegmentation with one channel, polyp or not, and several maps that are all trained on."""

    def __init__(self, backbone: dict[str, Any], loss: dict[str, Any], data_preprocessor: dict[str, Any]) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        self.backbone: Any = MODELS.build(backbone)
        self.structure_loss: StructureLoss = MODELS.build(loss)

    @abstractmethod
    def maps(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Return the logits (B, 1, h, w) that are trained on, from the backbone's levels, finest first."""

    @abstractmethod
    def join(self, maps: Sequence[Tensor]) -> Tensor:
        """Return the logits (B, 1, H, W) that are the prediction, from the maps at one size."""

    def extract_feat(self, inputs: Tensor) -> Sequence[Tensor]:
        """Return the backbone's levels, finest first."""
        levels: Sequence[Tensor] = self.backbone(inputs)
        return levels

    def encode_decode(self, inputs: Tensor, batch_data_samples: Sequence[SegDataSample]) -> Tensor:
        """Return the logits (B, 1, H, W) of images (B, 3, H, W)."""
        return self.join(self._forward(inputs))

    def _forward(self, inputs: Tensor, data_samples: Sequence[SegDataSample] | None = None) -> list[Tensor]:
        return [resize(one, inputs.shape[-2:]) for one in self.maps(self.extract_feat(inputs))]

    def loss(self, inputs: Tensor, data_samples: Sequence[SegDataSample]) -> dict[str, Tensor]:
        """Return the structure loss of each map; they are summed."""
        masks = torch.stack([sample.get(SOFT_MASK).data for sample in data_samples])
        losses = self.structure_loss(self._forward(inputs), masks)
        return {f"loss_{number}": loss for number, loss in enumerate(losses)}

    def predict(self, inputs: Tensor, data_samples: Sequence[SegDataSample]) -> Sequence[SegDataSample]:
        """Set `seg_logits` of each sample: probability (1, H, W) at its `ori_shape`, resized as logits."""
        for one, sample in zip(self.encode_decode(inputs, data_samples), data_samples, strict=True):
            whole = resize(one[None], sample.ori_shape)[0]
            sample.set_data({"seg_logits": PixelData(data=whole.sigmoid())})
        return data_samples
