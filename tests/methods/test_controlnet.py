"""ControlNet against diffusers' own: same weights, same noise, same settings."""

import copy

import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionControlNetPipeline
from diffusers.models.controlnets.controlnet import ControlNetConditioningEmbedding

from ccbench.diffusion.backbone import Backbone, encode_prompts
from ccbench.diffusion.branch import hint_features, predict_noise, scaled_hint_channels, start_hint_encoder
from ccbench.diffusion.sampler import sample_latents
from ccbench_controlnet.config import ControlNetConfig
from ccbench_controlnet.model import ControlNetBranch, build
from tiny_backbone import wake

PROMPTS = ["a large red polyp", "a flat pale polyp, dim light"]


def awake(backbone: Backbone) -> ControlNetBranch:
    torch.manual_seed(0)
    branch = build(backbone, ControlNetConfig()).eval().requires_grad_(False)
    wake(branch)
    return branch


def test_walk_equals_diffusers_forward(backbone: Backbone, masks: torch.Tensor) -> None:
    branch = awake(backbone)
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    times, texts = torch.tensor([3, 700]), encode_prompts(backbone, PROMPTS)
    ours = branch(latents, times, texts, branch.encode_hint(masks))
    skips, middle = branch.control(latents, times, texts.context, masks, return_dict=False)
    assert len(ours.skips) == 12
    assert all(torch.equal(a, b) for a, b in zip([*ours.skips, ours.middle], [*skips, middle], strict=True))
    assert all(s.abs().max() > 0 for s in ours.skips)


def test_latents_equal_the_diffusers_pipeline(backbone: Backbone, masks: torch.Tensor) -> None:
    """Bar of the project: at most 1e-4 apart in latents, float32, 20 DDIM steps, guidance 7."""
    branch = awake(backbone)
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    pipeline = StableDiffusionControlNetPipeline(
        vae=backbone.vae,
        text_encoder=backbone.text_encoder,
        tokenizer=backbone.tokenizer,
        unet=backbone.unet,
        controlnet=branch.control,
        scheduler=DDIMScheduler.from_config(backbone.scheduler.config),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(
        PROMPTS, image=masks, latents=noise, num_inference_steps=20, guidance_scale=7.0, output_type="latent"
    ).images
    ours = sample_latents(backbone, branch, masks, PROMPTS, noise, 20, 7.0)
    assert (ours - theirs).abs().max() < 1e-4
    unguided = sample_latents(backbone, branch, masks, PROMPTS, noise, 20, 1.0)
    assert (ours - unguided).abs().max() > 1e-2  # guidance matters here, so the equality above means something


def test_untrained_branch_leaves_the_backbone_as_it_is(backbone: Backbone, masks: torch.Tensor) -> None:
    branch = build(backbone, ControlNetConfig()).eval()
    latents, times = torch.randn(2, 4, 8, 8), torch.tensor([10, 900])
    texts = encode_prompts(backbone, PROMPTS)
    with torch.no_grad():
        plain = backbone.unet(latents, times, texts.context).sample
        steered = predict_noise(
            backbone.unet, latents, times, texts.context, branch(latents, times, texts, branch.encode_hint(masks))
        )
    assert torch.equal(plain, steered)


def test_hint_channels_are_sd15s_at_sd15s_width() -> None:
    class Config:
        block_out_channels = (320, 640, 1280, 1280)

    class Unet:
        config = Config()

    assert scaled_hint_channels(Unet()) == (16, 32, 96, 256)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(5))
def test_a_mask_shows_behind_a_narrow_hint_encoder(backbone: Backbone, masks: torch.Tensor, seed: int) -> None:
    torch.manual_seed(seed)
    encoder = build(backbone, ControlNetConfig()).control.controlnet_cond_embedding
    inside = masks[:, :1, ::8, ::8] > 0
    features = hint_features(encoder, masks)
    apart = [(f[:, i[0]].mean(1) - f[:, ~i[0]].mean(1)).abs().mean() for f, i in zip(features, inside, strict=True)]
    assert min(apart) > 0.03  # as drawn by PyTorch: below 0.001


def test_a_hint_encoder_of_sd15s_width_stays_as_drawn() -> None:
    torch.manual_seed(0)
    drawn = ControlNetConditioningEmbedding(320, 3, (16, 32, 96, 256))
    started = copy.deepcopy(drawn)
    start_hint_encoder(started)
    assert all(torch.equal(a, b) for a, b in zip(drawn.parameters(), started.parameters(), strict=True))


def test_prompt_tokens(backbone: Backbone) -> None:
    texts = encode_prompts(backbone, ["red polyp", ""])
    # The tiny vocabulary has one token a letter: 8 letters, then the end token, after the start token at 0.
    assert texts.words[0].nonzero().flatten().tolist() == list(range(1, 10))
    assert texts.ends[0].nonzero().flatten().tolist() == [9]
    assert not texts.words[1].any() and not texts.ends[1].any()
