"""The trainable copy of the UNet's encoder that every mask-conditioned latent method adds to a frozen backbone."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from diffusers.models.controlnets.controlnet import ControlNetConditioningEmbedding
from torch import nn
from torch.nn import functional as F

from ccbench.diffusion.backbone import Backbone, EncodedPrompts

SD15_HINT_CHANNELS = (16, 32, 96, 256)
SD15_WIDTH = 320


@dataclass(frozen=True)
class Hint:
    """What the branch needs of the masks at every denoising step, encoded once per image.

    Attributes:
        masks: (B, 1, H, W) in {0, 1}.
        stem: (B, C, h, w), added after the branch's first convolution; None = nothing.
        sites: (B, C_l, h_l, w_l) tensors added after the branch's transformers, in walking order; None = nothing.
        levels: (B, C_l, h_l, w_l), one per level, handed to the first ResNet of that level; empty = nothing.
    """

    masks: torch.Tensor
    stem: torch.Tensor | None = None
    sites: tuple[torch.Tensor | None, ...] = ()
    levels: tuple[torch.Tensor, ...] = ()

    def repeat(self, times: int) -> "Hint":
        """Return the hint of the same images stacked `times` times along the batch."""

        def stack(value: torch.Tensor) -> torch.Tensor:
            return torch.cat([value] * times)

        return Hint(
            masks=stack(self.masks),
            stem=None if self.stem is None else stack(self.stem),
            sites=tuple(site if site is None else stack(site) for site in self.sites),
            levels=tuple(map(stack, self.levels)),
        )


@dataclass(frozen=True)
class Residuals:
    """What the branch adds to the frozen decoder: one tensor per skip connection, and one for the middle block."""

    skips: tuple[torch.Tensor, ...]
    middle: torch.Tensor


class ControlBranch(nn.Module):
    """Base of the branches: diffusers' `ControlNetModel` holds the copy, `walk` runs it.

    The walk is our own because diffusers' forward encodes the hint at every step and leaves no place to add a
    feature after a transformer or into a ResNet. With a stem alone it equals diffusers' forward.

    Attributes:
        mask_drop: share of the training samples whose mask is replaced by an empty one.
    """

    mask_drop = 0.0

    def __init__(self, unet: UNet2DConditionModel, hint_channels: Sequence[int] | None) -> None:
        super().__init__()
        self.control = ControlNetModel.from_unet(
            unet, conditioning_embedding_out_channels=tuple(hint_channels or scaled_hint_channels(unet))
        )
        start_hint_encoder(self.control.controlnet_cond_embedding)

    @abstractmethod
    def encode_hint(self, masks: torch.Tensor) -> Hint:
        """Encode (B, 3, H, W) masks in {0, 1}; depends neither on the latents nor on the time step."""

    @abstractmethod
    def forward(self, latents: torch.Tensor, timesteps: torch.Tensor, prompts: EncodedPrompts, hint: Hint) -> Residuals:
        """Return the residuals for (B, 4, h, w) noisy latents at (B,) time steps."""

    def walk(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        context: torch.Tensor,
        hint: Hint,
        attention: dict[str, Any] | None = None,
    ) -> Residuals:
        """Run the copy; `attention` is handed to every transformer block (diffusers' `cross_attention_kwargs`)."""
        net = self.control
        time = net.time_embedding(net.time_proj(timesteps).to(latents.dtype))  # (B, 4 C)
        sites = iter(hint.sites)

        def attend(transformer: nn.Module, x: torch.Tensor) -> torch.Tensor:
            x = transformer(x, encoder_hidden_states=context, cross_attention_kwargs=attention, return_dict=False)[0]
            added = next(sites, None)
            return x if added is None else x + added

        x = net.conv_in(latents)
        x = x if hint.stem is None else x + hint.stem
        skips = [x]
        for level, block in enumerate(net.down_blocks):
            transformers = getattr(block, "attentions", [None] * len(block.resnets))
            for index, (resnet, transformer) in enumerate(zip(block.resnets, transformers, strict=True)):
                x = resnet(x, time, hint.levels[level]) if hint.levels and index == 0 else resnet(x, time)
                x = x if transformer is None else attend(transformer, x)
                skips.append(x)
            for downsampler in block.downsamplers or ():
                x = downsampler(x)
                skips.append(x)
        middle = net.mid_block
        x = middle.resnets[0](x, time)
        for transformer, resnet in zip(middle.attentions, middle.resnets[1:], strict=True):
            x = resnet(attend(transformer, x), time)
        return Residuals(
            tuple(zero(skip) for zero, skip in zip(net.controlnet_down_blocks, skips, strict=True)),
            net.controlnet_mid_block(x),
        )


BranchBuilder = Callable[[Backbone, Any], ControlBranch]
"""Makes an untrained branch from a backbone and a method's configuration."""


def scaled_hint_channels(unet: UNet2DConditionModel, channels: Sequence[int] = SD15_HINT_CHANNELS) -> tuple[int, ...]:
    """Widths stated for SD 1.5, its hint encoder's unless given, narrowed with the backbone in multiples of eight."""
    width = unet.config.block_out_channels[0]
    return tuple(max(8, round(c * width / SD15_WIDTH / 8) * 8) for c in channels)


def start_hint_encoder(encoder: ControlNetConditioningEmbedding) -> None:
    """Start a hint encoder narrower than SD 1.5's as `start_convolutions` does; SD 1.5's stays as drawn."""
    if encoder.conv_out.out_channels < SD15_WIDTH:
        start_convolutions((encoder.conv_in, *encoder.blocks))


@torch.no_grad()
def start_convolutions(layers: Sequence[Any], size: int = 64) -> None:
    """Scale narrow convolutions on the way of a mask, with SiLU between them, so that it still shows behind them.

    In PyTorch's default draw each convolution of 8 channels halves what tells the polyp from the mucosa: behind the
    seventh 2e-4 is left of 1, and after 2,000 steps a branch still ignored its masks. Layer-sequential unit variance
    (Mishkin and Matas 2016) over a disc as the mask, biases zero; what follows them starts at zero and stays so.

    Args:
        layers: in the order in which the mask passes them.
        size: of the disc's image, more than their strides shrink.
    """
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="ij")
    x = (rows**2 + columns**2 < 0.25).float().expand(1, 3, -1, -1)
    for layer in layers:
        layer.bias.zero_()
        layer.weight /= layer(x).std((2, 3)).mean()
        x = F.silu(layer(x))


def hint_features(encoder: ControlNetConditioningEmbedding, masks: torch.Tensor) -> torch.Tensor:
    """Run a hint encoder up to its zero-init projection: (B, 3, H, W) -> (B, C, h, w)."""
    x: torch.Tensor = F.silu(encoder.conv_in(masks))
    for block in encoder.blocks:
        x = F.silu(block(x))
    return x


def transformers_of(net: ControlNetModel) -> list[tuple[int, Any]]:
    """Return (level, transformer) of every attention site in walking order.

    Level l runs at 1 / 2^l of the latent size.
    """
    found = [(level, t) for level, block in enumerate(net.down_blocks) for t in getattr(block, "attentions", ())]
    return found + [(len(net.down_blocks) - 1, t) for t in net.mid_block.attentions]


def predict_noise(
    unet: UNet2DConditionModel,
    latents: torch.Tensor,
    timesteps: torch.Tensor,
    context: torch.Tensor,
    residuals: Residuals,
    conditioning_scale: float = 1.0,
) -> torch.Tensor:
    """Return the frozen UNet's epsilon with the branch's residuals added to its decoder, (B, 4, h, w)."""
    noise: torch.Tensor = unet(
        latents,
        timesteps,
        encoder_hidden_states=context,
        down_block_additional_residuals=tuple(skip * conditioning_scale for skip in residuals.skips),
        mid_block_additional_residual=residuals.middle * conditioning_scale,
        return_dict=False,
    )[0]
    return noise
