"""The invariants of CCIS-DIFF (derived from the paper's equations) on a small random model."""

import pytest
import torch
from annotated_types import Le
from diffusers import UNet2DConditionModel
from pydantic import ValidationError

from ccbench.diffusion.backbone import Backbone, EncodedPrompts, encode_prompts
from ccbench.diffusion.branch import Residuals, predict_noise
from ccbench.errors import UsageError
from ccbench.protocols.config import resolve_config
from ccbench.protocols.protocol import find_protocol
from ccbench_ccis_diff import METHOD
from ccbench_ccis_diff.config import BmwsSettings, CcisDiffConfig, TaamSettings
from ccbench_ccis_diff.model import BlurMaskWeighting, CcisDiffBranch, blur_masks, build
from ccbench_ccis_diff.text_aware_attention import TextAwareBlock, reweighted_attention, text_scores
from ccbench_controlnet.config import ControlNetConfig
from ccbench_controlnet.model import build as build_controlnet
from tiny_backbone import wake

PROMPTS = ["a large red polyp", "a flat pale polyp, dim light"]
TIMES = torch.tensor([40, 800])
PLAIN = TaamSettings(smooth=False)


def residuals(branch: CcisDiffBranch, texts: EncodedPrompts, masks: torch.Tensor) -> Residuals:
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found: Residuals = branch(latents, TIMES, texts, branch.encode_hint(masks))
    return found


def largest_difference(a: Residuals, b: Residuals) -> float:
    return max((x - y).abs().max().item() for x, y in zip([*a.skips, a.middle], [*b.skips, b.middle], strict=True))


def make(backbone: Backbone, awake: bool = True, **settings: object) -> CcisDiffBranch:
    torch.manual_seed(0)
    branch = build(backbone, CcisDiffConfig.model_validate(settings)).eval()
    if awake:
        wake(branch)
    return branch


@pytest.mark.parametrize("mode", ["A", "B", "C", "D"])
@pytest.mark.parametrize("bmws", ["on", "off"])
def test_untrained_branch_leaves_the_backbone_as_it_is(
    backbone: Backbone, masks: torch.Tensor, mode: str, bmws: str
) -> None:
    branch = make(backbone, awake=False, bmws=bmws, taam={"mode": mode})
    latents, texts = torch.randn(2, 4, 8, 8), encode_prompts(backbone, PROMPTS)
    with torch.no_grad():
        plain = backbone.unet(latents, TIMES, texts.context).sample
        found = branch(latents, TIMES, texts, branch.encode_hint(masks))
        assert torch.equal(plain, predict_noise(backbone.unet, latents, TIMES, texts.context, found))


def test_both_modules_off_is_controlnet(backbone: Backbone, masks: torch.Tensor) -> None:
    ours = make(backbone, bmws="off", taam="off")
    torch.manual_seed(0)
    theirs = build_controlnet(backbone, ControlNetConfig()).eval()
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    theirs.load_state_dict(ours.state_dict())
    texts = encode_prompts(backbone, PROMPTS)
    assert largest_difference(residuals(ours, texts, masks), residuals(theirs, texts, masks)) == 0  # type: ignore[arg-type]


def test_shared_part_has_controlnets_names(backbone: Backbone) -> None:
    shared = {key for key in make(backbone).state_dict() if key.startswith("control.")}
    assert shared == set(build_controlnet(backbone, ControlNetConfig()).state_dict())


@pytest.mark.parametrize("mode", ["A", "B", "C", "D"])
def test_empty_prompt_switches_taam_off(backbone: Backbone, masks: torch.Tensor, mode: str) -> None:
    aware = make(backbone, taam={"mode": mode})
    plain = make(backbone, taam="off")
    plain.load_state_dict(aware.state_dict())
    empty, told = encode_prompts(backbone, ["", ""]), encode_prompts(backbone, PROMPTS)
    assert largest_difference(residuals(aware, empty, masks), residuals(plain, empty, masks)) < 1e-5
    assert largest_difference(residuals(aware, told, masks), residuals(plain, told, masks)) > 1e-5


def test_mode_a_needs_an_inside_and_an_outside(backbone: Backbone) -> None:
    aware, plain = make(backbone, taam={"mode": "A"}), make(backbone, taam="off")
    plain.load_state_dict(aware.state_dict())
    texts = encode_prompts(backbone, PROMPTS)
    for fill in (0.0, 1.0):
        masks = torch.full((2, 3, 64, 64), fill)
        assert largest_difference(residuals(aware, texts, masks), residuals(plain, texts, masks)) < 1e-5


def random_heads() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    q, k, v = (torch.randn(2, 3, 16, 8, generator=generator) for _ in range(3))
    return q, k, v


INSIDE = (torch.arange(16) % 3 == 0).expand(2, 16)


@pytest.mark.parametrize("mode", ["A", "B", "C", "D"])
def test_scores_of_one_are_plain_attention(mode: str) -> None:
    q, k, v = random_heads()
    found = reweighted_attention(q, k, v, torch.ones(2, 16), TaamSettings.model_validate({"mode": mode}), INSIDE)
    assert torch.allclose(found, torch.nn.functional.scaled_dot_product_attention(q, k, v), atol=1e-6)


def test_scores_of_zero_in_mode_b_give_every_query_the_mean_value() -> None:
    q, k, v = random_heads()
    found = reweighted_attention(q, k, v, torch.zeros(2, 16), TaamSettings(mode="B"), INSIDE)
    assert torch.allclose(found, v.mean(2, keepdim=True).expand_as(found), atol=1e-6)


@pytest.mark.parametrize("mode", ["A", "B", "C", "D"])
def test_fused_form_equals_the_explicit_map(mode: str) -> None:
    """Explicit (h w, h w) maps, written from the definitions of the four modes."""
    q, k, v = random_heads()
    s = torch.rand(2, 16, generator=torch.Generator().manual_seed(5))
    logits = q @ k.transpose(2, 3) / 8**0.5
    keys = s[:, None, None, :]
    gate = INSIDE[:, None, :, None] & ~INSIDE[:, None, None, :]
    if mode == "A":
        weights = (logits * torch.where(gate, keys, 1.0)).softmax(3)
    elif mode == "B":
        weights = (logits * keys).softmax(3)
    elif mode == "C":
        weights = (logits * (1 + 0.7 * keys)).softmax(3)
    else:
        weights = logits.softmax(3) * (keys + 1e-6)
        weights = weights / weights.sum(3, keepdim=True)
    settings = TaamSettings.model_validate({"mode": mode, "strength": 0.7})
    assert torch.allclose(reweighted_attention(q, k, v, s, settings, INSIDE), weights @ v, atol=1e-5)


def test_all_tokens_give_no_scores_and_are_refused() -> None:
    """Every softmax row sums to 1, so the median-shifted sum is 0 everywhere, up to rounding over a maximum of 1."""
    probabilities = torch.rand(2, 16, 77, generator=torch.Generator().manual_seed(6)).softmax(2)
    scores = text_scores(probabilities, torch.ones(2, 77, dtype=torch.bool), 4, PLAIN)
    assert scores.max() < 1e-5
    with pytest.raises(ValidationError, match="sums to 1"):
        TaamSettings.model_validate({"tokens": "all"})


def test_scores_by_hand() -> None:
    """Sums 0.1 0.2 0.3 0.6: lower median 0.2, maximum 0.6."""
    probabilities = torch.zeros(1, 4, 77)
    probabilities[0, :, 1] = torch.tensor([0.1, 0.2, 0.3, 0.6])
    words = torch.zeros(1, 77, dtype=torch.bool)
    words[0, 1] = True
    found = text_scores(probabilities, words, 2, PLAIN)[0]
    assert torch.allclose(found, torch.tensor([0.0, 0.0, 1 / 6, 4 / 6]), atol=1e-6)


def test_smoothing_kernel_sums_to_one_inside() -> None:
    probabilities = torch.zeros(1, 25, 77)
    probabilities[0, 12, 1] = 1.0  # an impulse in the middle of 5 x 5
    words = torch.zeros(1, 77, dtype=torch.bool)
    words[0, 1] = True
    scores = text_scores(probabilities, words, 5, TaamSettings()).view(5, 5)
    assert scores[2, 2] == 1.0  # the maximum; the median is 0
    assert torch.allclose(scores[2, 1], torch.tensor(0.21194156 / 0.57611688), atol=1e-6)


@pytest.mark.parametrize("side", [1, 2, 4, 8, 16])
def test_words_that_look_everywhere_alike_mark_no_place(side: int) -> None:
    even = torch.full((1, side * side, 77), 1 / 77)
    assert text_scores(even, torch.arange(77)[None] == 1, side, TaamSettings()).max() < 1e-5


@pytest.mark.parametrize("side", [4, 8])
def test_smoothing_favours_neither_border_nor_middle(side: int) -> None:
    """Zeros around the frame lower s at its border; the border repeated leaves only its larger variance."""
    words = torch.arange(77)[None] == 1
    border = torch.nn.functional.pad(torch.zeros(side - 2, side - 2), (1, 1, 1, 1), value=1.0).flatten()
    drawn = 1 + torch.rand(1000, side * side, 77, generator=torch.Generator().manual_seed(0))

    def correlation(settings: TaamSettings) -> float:
        scores = text_scores(drawn, words.expand(1000, -1), side, settings)
        return float(torch.corrcoef(torch.stack([scores.flatten(), border.repeat(1000)]))[0, 1])

    assert abs(correlation(TaamSettings())) < 0.15
    assert correlation(TaamSettings(smooth_padding="zeros")) < -0.5


def test_blur() -> None:
    mask = torch.zeros(1, 3, 128, 128)
    mask[..., 40:90, 40:90] = 1
    assert torch.equal(blur_masks(mask, 0.0), mask)
    soft = blur_masks(mask, 8.0)  # 2 px at 128
    assert 0 < soft[0, 0, 38, 64] < 0.5 < soft[0, 0, 42, 64] < 1
    assert torch.allclose(soft.sum(), mask.sum(), rtol=1e-5)  # far from the border a blur moves mass, it makes none
    assert torch.allclose(blur_masks(torch.ones_like(mask), 8.0), torch.ones_like(mask))  # the border is no edge
    widest = next(one.le for one in BmwsSettings.model_fields["sigma"].metadata if isinstance(one, Le))
    assert blur_masks(mask[..., :64, :64], float(str(widest))).shape == (1, 3, 64, 64)


def test_weight_is_between_zero_and_one_and_of_the_features_shape(backbone: Backbone, masks: torch.Tensor) -> None:
    branch = make(backbone)
    weighting, embedding = branch.blur_weighting, branch.control.controlnet_cond_embedding
    assert weighting is not None and weighting.weight is not None
    seen: list[torch.Tensor] = []
    weighting.weight.register_forward_hook(lambda *call: seen.append(call[2]))
    _, f_b = weighting(embedding, masks)
    assert seen[0].shape == f_b.shape == (2, 32, 8, 8)
    assert seen[0].min() > 0 and seen[0].max() < 1 and seen[0].std() > 0


def test_combine_and_weight_options(backbone: Backbone, masks: torch.Tensor) -> None:
    branch = make(backbone)
    embedding = branch.control.controlnet_cond_embedding
    assert branch.blur_weighting is not None
    stem, f_b = branch.blur_weighting(embedding, masks)
    assert torch.allclose(stem, embedding(masks) + f_b, atol=1e-6)
    convex = BlurMaskWeighting(embedding, BmwsSettings(combine="convex"))
    convex.load_state_dict(branch.blur_weighting.state_dict())
    mixed, _ = convex(embedding, masks)
    assert not torch.allclose(mixed, stem, atol=1e-4)
    unweighted = BlurMaskWeighting(embedding, BmwsSettings(weight="one"))
    assert not any(key.startswith("weight.") for key in unweighted.state_dict())


@pytest.mark.parametrize(("reinject", "used"), [("none", 0), ("mid", 1), ("first_per_level", 4), ("all", 7)])
def test_reinjection_sites(backbone: Backbone, masks: torch.Tensor, reinject: str, used: int) -> None:
    branch = make(backbone, reinject=reinject)
    hint = branch.encode_hint(masks)
    assert sum(site is not None for site in hint.sites) == used
    if reinject == "all":
        assert [tuple(s.shape[1:]) for s in hint.sites if s is not None] == [
            (32, 8, 8), (32, 8, 8), (32, 4, 4), (32, 4, 4), (64, 2, 2), (64, 2, 2), (64, 1, 1)
        ]  # fmt: skip


def test_four_of_seven_reinjections_precede_a_resnet(backbone: Backbone, masks: torch.Tensor) -> None:
    """The others, the second of each of three levels, precede a downsampling convolution."""
    branch = make(backbone)
    walked: list[str] = []
    for name, module in branch.control.named_modules():
        if name.rpartition(".")[0].endswith(("resnets", "attentions", "downsamplers")):
            module.register_forward_hook(lambda *call, name=name: walked.append(name))
    residuals(branch, encode_prompts(backbone, PROMPTS), masks)
    after = {name: walked[index + 1] for index, name in enumerate(walked) if ".attentions." in name}
    assert after == {
        "down_blocks.0.attentions.0": "down_blocks.0.resnets.1",
        "down_blocks.0.attentions.1": "down_blocks.0.downsamplers.0",
        "down_blocks.1.attentions.0": "down_blocks.1.resnets.1",
        "down_blocks.1.attentions.1": "down_blocks.1.downsamplers.0",
        "down_blocks.2.attentions.0": "down_blocks.2.resnets.1",
        "down_blocks.2.attentions.1": "down_blocks.2.downsamplers.0",
        "mid_block.attentions.0": "mid_block.resnets.1",
    }


def test_half_of_the_keys_lose_their_logits(backbone: Backbone) -> None:
    """s is 0 up to the median: in mode B these keys keep their place in the softmax, with a logit of 0."""
    drawn = torch.rand(50, 64, 77, generator=torch.Generator().manual_seed(0))
    scores = text_scores(drawn, (torch.arange(77)[None] == 1).expand(50, -1), 8, TaamSettings())
    assert ((scores == 0).float().mean(1) >= 0.5).all()


@pytest.mark.parametrize("latent", [9, 17, 20])
def test_the_blur_feature_fits_every_site_of_odd_latents(backbone: Backbone, latent: int) -> None:
    """72, 136 and 160 px: a level is the one before it halved and rounded up."""
    branch = make(backbone)
    masks = torch.zeros(2, 3, 8 * latent, 8 * latent)
    masks[..., 10:40, 20:50] = 1
    latents, texts = torch.randn(2, 4, latent, latent), encode_prompts(backbone, PROMPTS)
    with torch.no_grad():
        found = branch(latents, TIMES, texts, branch.encode_hint(masks))
    sides = [latent, -(-latent // 2), -(-latent // 4), -(-latent // 8)]
    assert found.middle.shape[2:] == (sides[3], sides[3])
    assert [skip.shape[2] for skip in found.skips] == [sides[0]] * 3 + [sides[1]] * 3 + [sides[2]] * 3 + [sides[3]] * 3


def test_pooling_is_the_mean_of_the_positions_that_are_there(backbone: Backbone) -> None:
    """9 positions in windows of 2: the fifth holds one of them, and a constant stays constant."""
    branch = make(backbone)
    assert branch.reinjection is not None and branch.blur_weighting is not None
    f_b = torch.arange(9.0).expand(2, 32, 9, 9)
    branch.blur_weighting.forward = lambda *_: (f_b, f_b)  # type: ignore[method-assign]
    seen: list[torch.Tensor] = []
    branch.reinjection[2].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    branch.encode_hint(torch.zeros(2, 3, 72, 72))
    assert seen[0][0, 0, 0].tolist() == [0.5, 2.5, 4.5, 6.5, 8.0]


def test_only_middle_levels_are_text_aware(backbone: Backbone) -> None:
    def aware(layers: str) -> int:
        branch = make(backbone, taam={"layers": layers})
        return sum(isinstance(m, TextAwareBlock) and m.settings is not None for m in branch.modules())

    assert aware("middle") == 4  # two transformers at each of two levels
    assert aware("all") == 7


def test_gradients_wake_up_in_order(backbone: Backbone, masks: torch.Tensor) -> None:
    """Zero convolutions in series: outputs first, then hint ends and copied blocks, then trunks, MLP and R_l input."""
    branch = make(backbone, awake=False).train()
    texts = encode_prompts(backbone, PROMPTS)
    optimiser = torch.optim.SGD(branch.parameters(), 0.5)
    generator = torch.Generator().manual_seed(0)

    def awake_after(steps: int) -> set[str]:
        latents, target = (torch.randn(2, 4, 8, 8, generator=generator) for _ in range(2))
        optimiser.zero_grad()
        found = branch(latents, TIMES, texts, branch.encode_hint(masks))
        predicted = predict_noise(backbone.unet, latents, TIMES, texts.context, found)
        torch.nn.functional.mse_loss(predicted, target).backward()
        names = {name for name, p in branch.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
        optimiser.step()
        return names

    outputs = {n for n, _ in branch.named_parameters() if "controlnet_down_blocks" in n or "controlnet_mid_block" in n}
    assert awake_after(0) == outputs
    second = awake_after(1)
    assert {"blur_weighting.encoder.conv_out.weight", "control.conv_in.weight"} <= second
    assert "blur_weighting.weight.0.weight" not in second
    third = awake_after(2)
    assert {"blur_weighting.weight.0.weight", "blur_weighting.encoder.conv_in.weight", "reinjection.0.weight"} <= third


def test_parameters_beyond_controlnet_at_sd15s_size() -> None:
    """361,279,120 and 364,493,920: ControlNet's public count, and the paper's additions counted by hand."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(
            sample_size=64, cross_attention_dim=768, attention_head_dim=8, block_out_channels=(320, 640, 1280, 1280)
        )
        fake = Backbone(unet, None, None, None, None)  # type: ignore[arg-type]
        ours = build(fake, CcisDiffConfig())
        theirs = build_controlnet(fake, ControlNetConfig())
    assert sum(p.numel() for p in theirs.parameters()) == 361_279_120
    assert sum(p.numel() for p in ours.parameters()) == 364_493_920


def test_a_module_is_switched_off_by_name() -> None:
    protocol = find_protocol("phantom-128")
    config = resolve_config(METHOD, protocol, sets=["bmws=off", "taam=on", "taam.mode=D"])
    settings = config.settings
    assert isinstance(settings, CcisDiffConfig)
    assert (settings.bmws.enabled, settings.taam.enabled, settings.taam.mode) == (False, True, "D")
    assert config.overrides == {"method.bmws.enabled": False, "method.taam.enabled": True, "method.taam.mode": "D"}
    with pytest.raises(UsageError, match="group of settings"):
        resolve_config(METHOD, protocol, sets=["taam=B"])
