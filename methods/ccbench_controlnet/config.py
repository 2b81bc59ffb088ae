"""ControlNet's settings."""

from ccbench.diffusion.config import LatentMethodConfig


class ControlNetConfig(LatentMethodConfig):
    """ControlNet has no settings beyond those of every latent method."""
