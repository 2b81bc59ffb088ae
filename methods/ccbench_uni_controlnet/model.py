"""Uni-ControlNet's local adapter: the mask's features modulate the norms of the copy, level by level (METHODS 3.1)."""

import torch
from diffusers.models.controlnets.controlnet import zero_module
from diffusers.models.resnet import ResnetBlock2D
from torch import nn
from torch.nn import functional as F

from ccbench.diffusion.backbone import Backbone, EncodedPrompts
from ccbench.diffusion.branch import (
    SD15_WIDTH,
    ControlBranch,
    Hint,
    Residuals,
    scaled_hint_channels,
    start_convolutions,
)
from ccbench_uni_controlnet.config import UniControlNetConfig

STEM_CHANNELS, LEVEL_CHANNELS = (32, 64, 64, 128, 128), (192, 256, 384, 512)
STEM_STRIDES = (1, 2, 1, 2, 1)  # with the first level's own stride: 1/8 of the image, SD's latent size


class LocalAdapter(ControlBranch):
    """The copy without a hint at its stem; the first ResNet of each level takes that level's mask features."""

    def __init__(self, backbone: Backbone, config: UniControlNetConfig) -> None:
        super().__init__(backbone.unet, None)
        self.mask_drop = config.mask_drop
        self.control.controlnet_cond_embedding = nn.Identity()
        stem, levels = (scaled_hint_channels(backbone.unet, widths) for widths in (STEM_CHANNELS, LEVEL_CHANNELS))
        self.features = FeatureExtractor(stem, levels, narrow=backbone.unet.config.block_out_channels[0] < SD15_WIDTH)
        for block, width in zip(self.control.down_blocks, levels, strict=True):
            block.resnets[0] = LocalResnet(block.resnets[0], width)

    def encode_hint(self, masks: torch.Tensor) -> Hint:
        """Encode (B, 3, H, W) masks in {0, 1}."""
        return Hint(masks[:, :1], levels=self.features(masks))

    def forward(self, latents: torch.Tensor, timesteps: torch.Tensor, prompts: EncodedPrompts, hint: Hint) -> Residuals:
        """Return 12 skip residuals and the middle one."""
        return self.walk(latents, timesteps, prompts.context, hint)


class FeatureExtractor(nn.Module):
    """Convolutions that bring the mask to the size of each level, each output behind a zero convolution."""

    def __init__(self, stem: tuple[int, ...], levels: tuple[int, ...], narrow: bool) -> None:
        super().__init__()
        widths = (3, *stem, *levels)
        strides = (*STEM_STRIDES, *(2 for _ in levels))
        self.layers = nn.ModuleList(
            nn.Conv2d(before, after, 3, stride, padding=1)
            for before, after, stride in zip(widths, widths[1:], strides, strict=False)
        )
        self.outputs = nn.ModuleList(zero_module(nn.Conv2d(width, width, 3, padding=1)) for width in levels)
        if narrow:
            start_convolutions([*self.layers], size=512)

    def forward(self, masks: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return one (B, C_l, H / 2^(3 + l), W / 2^(3 + l)) tensor per level l of (B, 3, H, W) masks."""
        x, found = masks, []
        for layer in self.layers:
            x = F.silu(layer(x))
            found.append(x)
        levels = found[-len(self.outputs) :]
        return tuple(output(level) for output, level in zip(self.outputs, levels, strict=True))


class FeatureDenorm(nn.Module):
    """FDN(x; c) = GroupNorm(x) (1 + conv_gamma(c)) + conv_beta(c), the norm without weights of its own."""

    def __init__(self, channels: int, features: int, groups: int, eps: float) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, eps=eps, affine=False)
        self.gamma = nn.Conv2d(features, channels, 3, padding=1)
        self.beta = nn.Conv2d(features, channels, 3, padding=1)

    def forward(self, x: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """Return (B, C, h, w) of x and (B, C_l, h, w) features."""
        normed: torch.Tensor = self.norm(x) * (1 + self.gamma(features)) + self.beta(features)
        return normed


class LocalResnet(nn.Module):
    """A ResNet of the copy whose two norms are feature denormalisations; its convolutions stay Stable Diffusion's."""

    def __init__(self, resnet: ResnetBlock2D, features: int) -> None:
        super().__init__()
        norms = resnet.norm1, resnet.norm2
        self.norm1, self.norm2 = (FeatureDenorm(n.num_channels, features, n.num_groups, n.eps) for n in norms)
        self.conv1, self.conv2 = resnet.conv1, resnet.conv2
        self.time_emb_proj, self.conv_shortcut = resnet.time_emb_proj, resnet.conv_shortcut

    def forward(self, x: torch.Tensor, time: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """Return (B, C', h, w) of x (B, C, h, w), the time embedding (B, D) and the level's mask features."""
        h = self.conv1(F.silu(self.norm1(x, features))) + self.time_emb_proj(F.silu(time))[:, :, None, None]
        h = self.conv2(F.silu(self.norm2(h, features)))
        residual: torch.Tensor = h + (x if self.conv_shortcut is None else self.conv_shortcut(x))
        return residual


def build(backbone: Backbone, config: UniControlNetConfig) -> LocalAdapter:
    """Return an untrained local adapter: the backbone's encoder with zero output convolutions."""
    return LocalAdapter(backbone, config)
