"""CCIS-DIFF's settings: one field for each point that the paper leaves open, the default stated with its reason."""

from typing import Any, Literal

from pydantic import Field, field_validator

from ccbench.diffusion.branch_settings import LatentMethodConfig
from ccbench.plugins.contract import Settings


class BmwsSettings(Settings):
    """Blur mask weighting: a second hint encoder sees the blurred mask, weighted per pixel and channel."""

    enabled: bool = Field(True, description="off also removes the re-injection")
    sigma: float = Field(8.0, ge=0, le=128, description="blur in pixels at 512; scales with the image size")
    weight: Literal["mlp", "one"] = Field("mlp", description="M_w of Eq. 1: learned, or 1 everywhere")
    combine: Literal["add", "convex"] = Field("add", description="F_m + M_w F_b, or (1 - M_w) F_m + M_w F_b")


class TaamSettings(Settings):
    """Text-aware attention: how far the prompt's words look at a position re-weights it in self-attention."""

    enabled: bool = True
    mode: Literal["A", "B", "C", "D"] = Field(
        "B", description="A: outside keys seen from inside the mask; B: all keys; C: 1 + strength s; D: after softmax"
    )
    tokens: Literal["words_eot", "words", "no_sot"] = Field("words_eot", description="tokens summed into s")
    layers: Literal["middle", "all"] = Field(
        "middle", description="middle: attention at 1/2 and 1/4 of the latent size"
    )
    smooth: bool = Field(True, description="3 x 3 Gaussian smoothing of s, sigma 0.5 as HD-Painter's kernel")
    smooth_padding: Literal["replicate", "zeros"] = Field(
        "replicate",
        description="what the smoothing takes around the frame; zeros, HD-Painter's, lower s at the border",
        json_schema_extra={"added_later": True},
    )
    one_pass: bool = Field(False, description="query of s from the input, without a first self-attention pass")
    gradient: bool = Field(False, description="let gradients flow through s")
    strength: float = Field(1.0, ge=0, description="lambda of mode C")

    @field_validator("tokens", mode="before")
    @classmethod
    def _refuse_all(cls, value: Any) -> Any:
        if value == "all":
            raise ValueError("with all 77 tokens every softmax row sums to 1 and s is 0 everywhere; use words_eot")
        return value


class CcisDiffConfig(LatentMethodConfig):
    """Settings of CCIS-DIFF; `bmws=off` and `taam=off` together make it ControlNet."""

    bmws: BmwsSettings = BmwsSettings()
    taam: TaamSettings = TaamSettings()
    reinject: Literal["none", "mid", "first_per_level", "all"] = Field(
        "all", description="after which transformers the weighted blur feature is added once more"
    )

    @field_validator("bmws", "taam", mode="before")
    @classmethod
    def _switch(cls, value: Any) -> Any:
        """Accept `off` and `on` for a whole module."""
        switches = {"off": False, "on": True, False: False, True: True}
        return {"enabled": switches[value]} if isinstance(value, str | bool) and value in switches else value
