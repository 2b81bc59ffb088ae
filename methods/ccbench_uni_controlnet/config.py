"""Uni-ControlNet's settings."""

from typing import Any

from pydantic import Field, field_validator

from ccbench.diffusion.branch_settings import LatentMethodConfig
from ccbench.plugins.contract import Settings


class GlobalAdapterSettings(Settings):
    """Four more tokens from a CLIP embedding of a reference image.

    Off by default: the only reference a test condition has is its own real frame, whose look would then stand in the
    image that is scored against it.
    """

    enabled: bool = False
    strength: float = Field(1.0, ge=0, le=2, description="lambda, factor on the tokens when sampling")
    encoder: str = Field(
        "openai/clip-vit-large-patch14", description="CLIP with projection, transformers folder or hub id"
    )


class UniControlNetConfig(LatentMethodConfig):
    """Settings of Uni-ControlNet with one local condition, the mask."""

    hint_channels: None = Field(None, description="not used: the mask has a feature extractor of its own")
    mask_drop: float = Field(
        0.1,
        ge=0,
        le=1,
        description="share of training samples without mask; the published rule for several conditions (all kept 0.1, "
        "none 0.1, else each dropped with 0.5) drops an only one in half of them: 0.5",
    )
    global_adapter: GlobalAdapterSettings = GlobalAdapterSettings()

    @field_validator("global_adapter", mode="before")
    @classmethod
    def _switch(cls, value: Any) -> Any:
        """Accept `off` and `on` for the whole adapter."""
        switches = {"off": False, "on": True, False: False, True: True}
        return {"enabled": switches[value]} if isinstance(value, str | bool) and value in switches else value
