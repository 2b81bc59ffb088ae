"""CCIS-DIFF's branch: ControlNet's copy with blur mask weighting (BMWS) and text-aware attention (TAAM)."""

import torch
from diffusers.models.controlnets.controlnet import ControlNetConditioningEmbedding, zero_module
from torch import nn
from torch.nn import functional as F
from torchvision.transforms.functional import gaussian_blur

from ccbench.diffusion.backbone import Backbone, EncodedPrompts
from ccbench.diffusion.branch import (
    ControlBranch,
    Hint,
    Residuals,
    hint_features,
    start_hint_encoder,
    transformers_of,
)
from ccbench_ccis_diff.config import BmwsSettings, CcisDiffConfig
from ccbench_ccis_diff.text_aware_attention import install

SIGMA_REFERENCE = 512  # pixels: the image size at which `bmws.sigma` is stated


class CcisDiffBranch(ControlBranch):
    """The copy with F_m + F_b at its stem, F_b again after its transformers, and text-aware self-attention."""

    def __init__(self, backbone: Backbone, config: CcisDiffConfig) -> None:
        super().__init__(backbone.unet, config.hint_channels)
        self.config = config
        sites = transformers_of(self.control)
        if config.taam.enabled:
            install(sites, config.taam)
        self.blur_weighting: BlurMaskWeighting | None = None
        self.reinjection: nn.ModuleList | None = None
        if config.bmws.enabled:
            stem = self.control.controlnet_cond_embedding
            self.blur_weighting = BlurMaskWeighting(stem, config.bmws)
            width = stem.conv_out.out_channels
            chosen = _chosen_sites([level for level, _ in sites], config.reinject)
            self.reinjection = nn.ModuleList(
                zero_module(nn.Conv2d(width, transformer.in_channels, 1)) if use else nn.Identity()
                for (_, transformer), use in zip(sites, chosen, strict=True)
            )

    def encode_hint(self, masks: torch.Tensor) -> Hint:
        """Encode (B, 3, H, W) masks in {0, 1}: Eq. 1, and the re-injected features of every site."""
        embedding = self.control.controlnet_cond_embedding
        if self.blur_weighting is None or self.reinjection is None:
            return Hint(masks[:, :1], stem=embedding(masks))
        stem, blurred = self.blur_weighting(embedding, masks)
        levels = [level for level, _ in transformers_of(self.control)]
        # Rounded up as the copy's strided convolutions round; the last window is the mean of what is there.
        added = tuple(
            None if isinstance(layer, nn.Identity) else layer(F.avg_pool2d(blurred, 2**level, ceil_mode=True))
            for level, layer in zip(levels, self.reinjection, strict=True)
        )
        return Hint(masks[:, :1], stem=stem, sites=added)

    def forward(self, latents: torch.Tensor, timesteps: torch.Tensor, prompts: EncodedPrompts, hint: Hint) -> Residuals:
        """Return 12 skip residuals and the middle one."""
        taam = self.config.taam
        if not taam.enabled:
            return self.walk(latents, timesteps, prompts.context, hint)
        attention = {"words": chosen_tokens(prompts, taam.tokens), "masks": hint.masks}
        return self.walk(latents, timesteps, prompts.context, hint, attention)


class BlurMaskWeighting(nn.Module):
    """Eq. 1: F_b = M_w * E(blurred mask), with M_w in (0, 1) of F_b's shape from both encoders' features."""

    def __init__(self, mask_encoder: ControlNetConditioningEmbedding, settings: BmwsSettings) -> None:
        super().__init__()
        self.settings = settings
        widths = [mask_encoder.conv_in.out_channels, *(block.out_channels for block in mask_encoder.blocks[1::2])]
        out, features = mask_encoder.conv_out.out_channels, widths[-1]
        self.encoder = ControlNetConditioningEmbedding(out, 3, tuple(widths))
        start_hint_encoder(self.encoder)
        self.weight: nn.Module | None = None
        if settings.weight == "mlp":
            self.weight = nn.Sequential(
                nn.Conv2d(2 * features, features, 1),
                nn.SiLU(),
                nn.Conv2d(features, features, 1),
                nn.SiLU(),
                nn.Conv2d(features, out, 1),
                nn.Sigmoid(),
            )

    def forward(
        self, mask_encoder: ControlNetConditioningEmbedding, masks: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the stem feature and F_b, (B, C, h, w) each, of (B, 3, H, W) masks."""
        sharp = hint_features(mask_encoder, masks)
        blurred = blur_masks(masks[:, :1], self.settings.sigma).expand_as(masks)  # all channels are the same mask
        soft = hint_features(self.encoder, blurred)
        f_m, f_soft = mask_encoder.conv_out(sharp), self.encoder.conv_out(soft)
        # Read before the zero-init projections, where the features are not all zero at the first step.
        weight = torch.ones_like(f_soft) if self.weight is None else self.weight(torch.cat([sharp, soft], 1))
        f_b = weight * f_soft
        return (f_m + f_b if self.settings.combine == "add" else (1 - weight) * f_m + f_b), f_b


def blur_masks(masks: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian blur of (B, C, H, W) masks, reflect padding, three standard deviations to each side.

    Args:
        sigma: in pixels at 512; 0 returns the masks.
    """
    scaled = sigma * masks.shape[-1] / SIGMA_REFERENCE
    if scaled == 0:
        return masks
    kernel = 2 * round(3 * scaled) + 1
    blurred: torch.Tensor = gaussian_blur(masks, [max(kernel, 3)] * 2, [scaled] * 2)
    return blurred


def chosen_tokens(prompts: EncodedPrompts, tokens: str) -> torch.Tensor:
    """Return the (B, 77) tokens that `taam.tokens` sums over; none for an empty prompt."""
    if tokens == "words":
        return prompts.words & ~prompts.ends
    if tokens == "no_sot":
        every = prompts.words.any(1, keepdim=True).expand_as(prompts.words).clone()
        every[:, 0] = False
        return every
    return prompts.words


def _chosen_sites(levels: list[int], reinject: str) -> list[bool]:
    """Which transformers, given their levels in walking order (the middle block's is last), get F_b again."""
    middle = len(levels) - 1
    if reinject == "first_per_level":
        return [index == 0 or level != levels[index - 1] for index, level in enumerate(levels)]
    return [reinject == "all" or (reinject == "mid" and index == middle) for index in range(len(levels))]


def build(backbone: Backbone, config: CcisDiffConfig) -> CcisDiffBranch:
    """Return an untrained branch."""
    return CcisDiffBranch(backbone, config)
