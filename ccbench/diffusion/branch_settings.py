"""Settings that every mask-conditioned latent-diffusion method has. Imports no torch."""

from pydantic import Field

from ccbench.plugins.contract import MethodConfig


class LatentMethodConfig(MethodConfig):
    """Sampler and hint-encoder settings shared by the methods that extend a frozen Stable Diffusion."""

    conditioning_scale: float = Field(1.0, ge=0, description="factor on the branch's residuals when sampling")
    hint_channels: tuple[int, int, int, int] | None = Field(
        None, description="widths of the hint encoder; None = SD 1.5's (16, 32, 96, 256), narrowed with the backbone"
    )
