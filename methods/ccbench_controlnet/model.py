"""ControlNet's branch: a trainable copy of the encoder, fed by one hint encoder (METHODS section 2)."""

import torch

from ccbench.diffusion.backbone import Backbone, EncodedPrompts
from ccbench.diffusion.branch import ControlBranch, Hint, Residuals
from ccbench_controlnet.config import ControlNetConfig


class ControlNetBranch(ControlBranch):
    """The copy with the encoded mask added once, after its first convolution."""

    def encode_hint(self, masks: torch.Tensor) -> Hint:
        """Encode (B, 3, H, W) masks in {0, 1}."""
        return Hint(masks[:, :1], stem=self.control.controlnet_cond_embedding(masks))

    def forward(self, latents: torch.Tensor, timesteps: torch.Tensor, prompts: EncodedPrompts, hint: Hint) -> Residuals:
        """Return 12 skip residuals and the middle one."""
        return self.walk(latents, timesteps, prompts.context, hint)


def build(backbone: Backbone, config: ControlNetConfig) -> ControlNetBranch:
    """Return an untrained branch: the backbone's encoder with zero output convolutions."""
    return ControlNetBranch(backbone.unet, config.hint_channels)
