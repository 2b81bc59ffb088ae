"""ControlNet's branch: a trainable copy of the encoder, fed by one hint encoder (METHODS section 2)."""

from pathlib import Path

import torch
from diffusers import ControlNetModel

from ccbench.diffusion.backbone import Backbone, EncodedPrompts, load_network
from ccbench.diffusion.branch import ControlBranch, Hint, Residuals
from ccbench.diffusion.single_file import read_control, refuse_misfits
from ccbench.errors import MissingError
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


def load_pretrained(control: ControlNetModel, reference: str, allow_pickle: bool) -> None:
    """Load published weights, from a hub id, a folder in diffusers format, or a file in either layout.

    Raises:
        MissingError: there is nothing.
        UsageError: a pickle that was not allowed.
        DataError: the weights do not fit.
    """
    if Path(reference).is_file():
        state = read_control(Path(reference), control, allow_pickle)
    elif "/" in reference or Path(reference).is_dir():
        state = load_network(ControlNetModel, reference, None, allow_pickle).state_dict()
    else:
        raise MissingError(
            f"method.pretrained={reference}: no such file or folder; wanted one, or a hub id (owner/name)"
        )
    shapes = ({key: tuple(value.shape) for key, value in tensors.items()} for tensors in (state, control.state_dict()))
    refuse_misfits(reference, *shapes)
    control.load_state_dict(state)
