"""ArSDM's network: guided-diffusion's UNet whose middle and decoder are normed by the mask (METHODS section 6.2).

The encoder sees the noisy image only. The mask enters through SPADE, spatially adaptive normalisation: a group norm
whose scale and shift are computed for every pixel from the mask.
"""

from typing import Any, TypeVar

import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.resnet import ResnetBlock2D
from torch import nn
from torch.nn import functional as F

from ccbench_arsdm.config import UNetSettings

CLASSES = 2  # background, polyp
M = TypeVar("M", bound=nn.Module)


class SpadeNorm(nn.Module):
    """Group norm without weights of its own, then x (1 + gamma) + beta from the mask."""

    def __init__(self, channels: int, settings: UNetSettings) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(settings.norm_groups, channels, affine=False)
        self.shared = nn.Conv2d(CLASSES, settings.spade_channels, 3, padding=1)
        self.modulation = nn.Conv2d(settings.spade_channels, 2 * channels, 3, padding=1)

    def forward(self, x: torch.Tensor, layout: torch.Tensor) -> torch.Tensor:
        """Norm (B, C, h, w) by a (B, 2, H, W) one-hot mask."""
        hidden = F.relu(self.shared(F.interpolate(layout, size=x.shape[2:], mode="nearest")))
        gamma, beta = self.modulation(hidden).chunk(2, dim=1)
        normed: torch.Tensor = self.norm(x) * (1 + gamma) + beta
        return normed


class SpadeResBlock(nn.Module):
    """guided-diffusion's residual block with both norms by the mask; the second is then scaled and shifted by time."""

    def __init__(self, channels: int, out_channels: int, time_channels: int, settings: UNetSettings, up: bool) -> None:
        super().__init__()
        self.up = up
        self.norm1 = SpadeNorm(channels, settings)
        self.conv1 = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.time = nn.Linear(time_channels, 2 * out_channels)
        self.norm2 = SpadeNorm(out_channels, settings)
        self.conv2 = _zeroed(nn.Conv2d(out_channels, out_channels, 3, padding=1))
        self.skip = nn.Identity() if channels == out_channels else nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: torch.Tensor, time: torch.Tensor, layout: torch.Tensor) -> torch.Tensor:
        """Return (B, out_channels, h, w), twice as large where the block is an upsampling one."""
        h = F.silu(self.norm1(x, layout))
        if self.up:
            x, h = (F.interpolate(tensor, scale_factor=2.0, mode="nearest") for tensor in (x, h))
        h = self.conv1(h)
        scale, shift = self.time(F.silu(time))[:, :, None, None].chunk(2, dim=1)
        h = self.norm2(h, layout) * (1 + scale) + shift
        out: torch.Tensor = self.skip(x) + self.conv2(F.silu(h))
        return out


class SpadeUNet(nn.Module):
    """Predicts the noise in an image, given its timestep and its mask.

    With the default settings it has the 652,019,203 parameters of the released network. Two details follow from that
    number: the layer that turns the mask into 128 features is not shared between norms, and the last norm of the
    decoder is a plain one.
    """

    def __init__(self, settings: UNetSettings) -> None:
        super().__init__()
        base, groups = settings.model_channels, settings.norm_groups
        time_channels = 4 * base
        self.timesteps = Timesteps(base, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time_embedding = TimestepEmbedding(base, time_channels)
        widths = [base * factor for factor in settings.channel_mult]

        def plain(channels: int, out_channels: int, down: bool = False) -> nn.Module:
            return _plain_block(channels, out_channels, time_channels, groups, down)

        def spade(channels: int, out_channels: int, up: bool = False) -> nn.Module:
            return SpadeResBlock(channels, out_channels, time_channels, settings, up)

        def attention(channels: int, factor: int) -> nn.Module:
            return _attention(channels, settings) if factor in settings.attention_factors else nn.Identity()

        self.conv_in = nn.Conv2d(3, widths[0], 3, padding=1)
        self.encoder: Any = nn.ModuleList()  # of [block, attention]
        self.decoder: Any = nn.ModuleList()  # of [block, attention], and a block to go up where a level ends
        channels, skips = widths[0], [widths[0]]
        for level, width in enumerate(widths):
            for _ in range(settings.num_res_blocks):
                self.encoder.append(nn.ModuleList([plain(channels, width), attention(width, 2**level)]))
                channels = width
                skips.append(width)
            if level < len(widths) - 1:
                self.encoder.append(nn.ModuleList([plain(width, width, down=True), nn.Identity()]))
                skips.append(width)
        self.middle = nn.ModuleList(
            [spade(channels, channels), _attention(channels, settings), spade(channels, channels)]
        )
        for level, width in reversed(list(enumerate(widths))):
            for index in range(settings.num_res_blocks + 1):
                last = level > 0 and index == settings.num_res_blocks
                up = spade(width, width, up=True) if last else None
                layers = [spade(channels + skips.pop(), width), attention(width, 2**level)]
                self.decoder.append(nn.ModuleList(layers if up is None else [*layers, up]))
                channels = width
        self.norm_out = nn.GroupNorm(groups, channels)
        self.conv_out = _zeroed(nn.Conv2d(channels, 3, 3, padding=1))

    def forward(self, noisy: torch.Tensor, timesteps: torch.Tensor, layout: torch.Tensor) -> torch.Tensor:
        """Return epsilon, (B, 3, S, S), of noisy images of that shape at (B,) timesteps under (B, 2, S, S) masks."""
        time = self.time_embedding(self.timesteps(timesteps))
        h = self.conv_in(noisy)
        skips = [h]
        for block, attend in self.encoder:
            h = attend(block(h, time))
            skips.append(h)
        first, attend, second = self.middle
        h = second(attend(first(h, time, layout)), time, layout)
        for block, attend, *ups in self.decoder:
            h = attend(block(torch.cat([h, skips.pop()], dim=1), time, layout))
            for up in ups:
                h = up(h, time, layout)
        predicted: torch.Tensor = self.conv_out(F.silu(self.norm_out(h)))
        return predicted


def one_hot(masks: torch.Tensor) -> torch.Tensor:
    """Return (B, 2, S, S) float: background, polyp, of (B, S, S) bool masks."""
    return torch.stack([~masks, masks], dim=1).float()


def build(settings: UNetSettings) -> SpadeUNet:
    """Return an untrained network."""
    return SpadeUNet(settings)


def _plain_block(channels: int, out_channels: int, time_channels: int, groups: int, down: bool) -> nn.Module:
    """Return guided-diffusion's residual block: its second norm is scaled and shifted by time."""
    block = ResnetBlock2D(
        in_channels=channels,
        out_channels=out_channels,
        temb_channels=time_channels,
        groups=groups,
        eps=1e-5,
        time_embedding_norm="scale_shift",
        down=down,
    )
    _zeroed(block.conv2)
    return block  # type: ignore[no-any-return]


def _attention(channels: int, settings: UNetSettings) -> nn.Module:
    heads = max(1, channels // settings.head_channels)
    block = Attention(
        channels,
        heads=heads,
        dim_head=channels // heads,
        norm_num_groups=settings.norm_groups,
        bias=True,
        residual_connection=True,
    )
    _zeroed(block.to_out[0])
    return block  # type: ignore[no-any-return]


def _zeroed(module: M) -> M:
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module
