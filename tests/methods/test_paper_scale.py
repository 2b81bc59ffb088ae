"""SD 1.5's size without its memory: numbers of parameters and shapes of residuals, on the meta device."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from ccbench.diffusion.backbone import Backbone, EncodedPrompts
from ccbench.diffusion.branch import ControlBranch, Residuals, predict_noise
from ccbench.diffusion.sd15 import SD15
from ccbench_ccis_diff.config import CcisDiffConfig
from ccbench_ccis_diff.model import build as build_ccis_diff
from ccbench_controlnet.config import ControlNetConfig
from ccbench_controlnet.model import build as build_controlnet

# (channels, side) at 512 px: ControlNet's input blocks, as its reference code numbers them.
SKIPS = [(320, 64)] * 3 + [(320, 32)] + [(640, 32)] * 2 + [(640, 16)] + [(1280, 16)] * 2 + [(1280, 8)] * 3


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    with torch.device("meta"):
        parts = {part: SD15.build(part) for part in ("unet", "vae", "text_encoder")}  # type: ignore[arg-type]
    return Backbone(**parts, tokenizer=None, scheduler=SD15.build_scheduler())  # type: ignore[arg-type]


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def run(branch: ControlBranch) -> tuple[torch.Tensor, torch.Tensor, EncodedPrompts, Residuals]:
    latents, times = torch.empty(2, 4, 64, 64), torch.empty(2, dtype=torch.long)
    token = torch.zeros(2, 77, dtype=torch.bool)
    prompts = EncodedPrompts(torch.empty(2, 77, 768), token, token)
    return latents, times, prompts, branch(latents, times, prompts, branch.encode_hint(torch.empty(2, 3, 512, 512)))


def test_backbone_has_the_published_size(backbone: Backbone) -> None:
    """The publicly known counts of the UNet, the VAE and the text encoder."""
    assert (count(backbone.unet), count(backbone.vae), count(backbone.text_encoder)) == (
        859_520_964,
        83_653_863,
        123_060_480,
    )


@pytest.mark.parametrize(
    ("build", "config", "wanted"),
    [
        # the publicly known count
        (build_controlnet, ControlNetConfig(), 361_279_120),
        # a second hint encoder, the weighting's three 1x1 convolutions and seven re-injecting ones more
        (build_ccis_diff, CcisDiffConfig(), 364_493_920),
    ],
    ids=["controlnet", "ccis-diff"],
)
def test_branches_have_the_published_size_and_shapes(
    backbone: Backbone, build: Callable[[Backbone, Any], ControlBranch], config: Any, wanted: int
) -> None:
    with torch.device("meta"):
        branch = build(backbone, config)
        latents, times, prompts, residuals = run(branch)
        noise = predict_noise(backbone.unet, latents, times, prompts.context, residuals)
    assert count(branch) == wanted
    assert [tuple(skip.shape) for skip in residuals.skips] == [(2, c, side, side) for c, side in SKIPS]
    assert residuals.middle.shape == (2, 1280, 8, 8) and noise.shape == latents.shape
