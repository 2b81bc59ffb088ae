"""ArSDM: its network, loss, geometry, noise and refinement. Closed forms are worked out by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from ccbench.diffusion.training_loop import WEIGHTS, Objective, Share
from ccbench.plugins.contract import LoadContext, TrainContext, TrainingSettings, TrainReport
from ccbench.segmenters.networks.structure_loss import StructureLoss
from ccbench.types import Condition, RealPair
from ccbench_arsdm import METHOD, refinement
from ccbench_arsdm.config import ArsdmConfig, Bce, UNetSettings
from ccbench_arsdm.generator import ArsdmGenerator
from ccbench_arsdm.geometry import Frame
from ccbench_arsdm.model import SpadeNorm, SpadeResBlock, build, one_hot
from ccbench_arsdm.refinement import FOLDER, Segmenter, edge_window, structure_loss
from ccbench_arsdm.sampling import make_schedule, sample
from ccbench_arsdm.train import ArsdmObjective, adaptive_weights, fit_pairs

SIDE = 16
TINY: dict[str, Any] = {
    "native_size": SIDE,
    "unet": {
        "model_channels": 8,
        "channel_mult": [1, 2],
        "num_res_blocks": 1,
        "attention_factors": [2],
        "head_channels": 8,
        "spade_channels": 4,
        "norm_groups": 4,
    },
    "num_inference_steps": 2,
    "learning_rate": 2e-3,
}
ALONE = Share(0, 1)
MakeContext = Callable[..., TrainContext[ArsdmConfig]]


@pytest.fixture
def make_context(pairs: list[RealPair], tmp_path: Path) -> MakeContext:
    """A training run of 8 steps; `steps` and the fields of ArSDM's configuration may be given."""

    def make(steps: int = 8, **settings: Any) -> TrainContext[ArsdmConfig]:
        config = ArsdmConfig.model_validate({**TINY, **settings})
        budget = TrainingSettings(max_steps=steps, batch_size=2)
        return TrainContext(pairs, config, budget, "", 64, tmp_path / "checkpoint", seed=3)

    return make


def make_objective(context: TrainContext[ArsdmConfig], segmenter: Segmenter | None = None) -> ArsdmObjective:
    """An objective on a network that predicts something: its zero-initialised layers are redrawn."""
    torch.manual_seed(0)
    network = build(context.config.unet)
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return ArsdmObjective(context, network, *fit_pairs(context), segmenter)


def gradients(objective: Objective, step: int) -> list[torch.Tensor]:
    objective.network.zero_grad()
    objective(step, ALONE).backward()
    found = [parameter.grad for parameter in objective.network.parameters()]
    return [gradient.clone() for gradient in found if gradient is not None]


def make_segmenter() -> Segmenter:
    torch.manual_seed(1)
    return Segmenter(8).eval().requires_grad_(False)


def test_the_paper_network_has_its_parameters() -> None:
    with torch.device("meta"):
        network = build(UNetSettings())
    # Counted on the released network's description: METHODS section 6.2.
    assert sum(parameter.numel() for parameter in network.parameters()) == 652_019_203


def test_the_mask_enters_the_middle_and_the_decoder_only() -> None:
    with torch.device("meta"):
        network = build(UNetSettings())
    spade = [name for name, module in network.named_modules() if isinstance(module, SpadeNorm)]
    assert {name.partition(".")[0] for name in spade} == {"middle", "decoder"}
    blocks = sum(isinstance(module, SpadeResBlock) for module in network.modules())
    assert blocks == 2 + 6 * 3 + 5 and len(spade) == 2 * blocks  # middle, three a level, one to go up
    factors = [index for index, (_, attend) in enumerate(network.encoder) if not isinstance(attend, torch.nn.Identity)]
    assert factors == [9, 10, 12, 13, 15, 16]  # two blocks and one way down a level: levels 3, 4 and 5


def test_an_untrained_network_predicts_zero_and_a_trained_one_sees_the_mask(make_context: MakeContext) -> None:
    noisy, times = torch.randn(2, 3, SIDE, SIDE), torch.tensor([3, 900])
    masks = torch.zeros(2, SIDE, SIDE, dtype=torch.bool)
    assert not build(make_context().config.unet)(noisy, times, one_hot(masks)).any()
    network = make_objective(make_context()).network
    empty = network(noisy, times, one_hot(masks))
    masks[1, 4:9, 4:9] = True
    other = network(noisy, times, one_hot(masks))
    assert torch.equal(empty[0], other[0]) and not torch.allclose(empty[1], other[1])


def test_the_adaptive_loss_is_its_closed_form() -> None:
    masks = torch.zeros(3, 1, 4, 4)
    masks[0, 0, 0] = 1  # a quarter is polyp
    masks[2] = 1
    weights = adaptive_weights(masks)
    assert weights[0, 0, 0].tolist() == [0.75] * 4 and weights[0, 0, 1:].unique().tolist() == [0.25]
    assert weights[0].mean() == 2 * 0.25 * 0.75
    assert not weights[1:].any()  # no polyp, or nothing else: there is nothing to balance


def test_the_loss_is_l1_weighed_by_area(make_context: MakeContext) -> None:
    # An untrained network predicts 0, so that the error is the noise itself, E|n| = sqrt(2 / pi).
    plain, adaptive = make_context(adaptive_loss=False), make_context()
    losses = [ArsdmObjective(c, build(c.config.unet), *fit_pairs(c))(0, ALONE).item() for c in (plain, adaptive)]
    assert losses[0] == pytest.approx((2 / np.pi) ** 0.5, rel=0.05)  # 1,536 draws: 3 standard errors are 0.046
    share = fit_pairs(plain)[1].float().mean().item()
    assert losses[1] == pytest.approx(losses[0] * 2 * share * (1 - share), rel=0.15)  # 240 draws in the polyp


def test_an_empty_mask_gives_no_loss(make_context: MakeContext, pairs: list[RealPair]) -> None:
    pairs[:] = [RealPair(pair.image, Condition(pair.condition.id, np.zeros((64, 64), bool), "")) for pair in pairs]
    assert make_objective(make_context())(0, ALONE).item() == 0


def test_letterbox_there_and_back() -> None:
    frame = Frame(height=30, width=60, side=32, letterbox=True)
    assert frame.box == (0, 8, 32, 24)
    image = np.broadcast_to(np.linspace(40, 220, 60).astype(np.uint8)[None, :, None], (30, 60, 3)).copy()
    fitted = frame.fit_image(image)
    assert not fitted[:8].any() and not fitted[24:].any() and fitted[8:24].min() > 30
    restored = frame.restore(fitted)
    assert restored.shape == image.shape
    # A ramp of 3 levels a pixel through half the pixels: no bar has bled in.
    assert np.abs(restored.astype(int) - image).max() <= 8
    mask = np.zeros((30, 60), bool)
    mask[:, 20:40] = True
    expected = np.zeros((32, 32), bool)
    expected[8:24, 11:21] = True  # nearest: columns whose centre 1.875 (j + 0.5) lies in 20..40
    assert np.array_equal(frame.fit_mask(mask), expected)
    upright = Frame(60, 30, 32, letterbox=True)
    assert np.array_equal(upright.fit_mask(mask.T), expected.T)


def test_a_square_frame_has_no_bars_and_squash_never_has() -> None:
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    square = Frame(16, 16, 16, letterbox=True)
    assert np.array_equal(square.fit_image(image), image) and np.array_equal(square.restore(image), image)
    assert Frame(64, 64, 16, True).box == Frame(30, 60, 16, False).box == (0, 0, 16, 16)


def test_the_schedule_is_the_released_one() -> None:
    schedule = make_schedule()
    schedule.set_timesteps(200)
    assert schedule.betas[0].item() == pytest.approx(0.0015) and schedule.betas[-1].item() == pytest.approx(0.0205)
    assert schedule.betas[500].sqrt().item() == pytest.approx(0.0015**0.5 + 500 / 999 * (0.0205**0.5 - 0.0015**0.5))
    assert schedule.timesteps.tolist() == list(range(996, 0, -5))


def test_sampling_is_ddim_with_its_noise() -> None:
    """Song et al. 2021, Eq. 12 and 16, written out for two steps with a network that predicts 0.1 x."""
    alphas = make_schedule().alphas_cumprod.double()
    layout = one_hot(torch.zeros(1, 4, 4, dtype=torch.bool))
    sampled = sample(lambda x, t, m: 0.1 * x, layout, [torch.Generator().manual_seed(7)], steps=2, eta=0.6)
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(3, 4, 4, generator=generator).double()
    for now, then in ((alphas[501], alphas[1]), (alphas[1], alphas[0])):
        sigma = 0.6 * ((1 - then) / (1 - now) * (1 - now / then)).sqrt()
        clean = (x - (1 - now).sqrt() * 0.1 * x) / now.sqrt()
        noise = torch.randn(3, 4, 4, generator=generator).double()
        x = then.sqrt() * clean + (1 - then - sigma**2).sqrt() * 0.1 * x + sigma * noise
    assert torch.allclose(sampled[0].double(), x, atol=1e-5)


def test_an_image_depends_on_its_own_seed_and_mask_only(make_context: MakeContext) -> None:
    context = make_context(eta=1.0, num_inference_steps=4)
    network = make_objective(context).network.eval()
    masks = [np.zeros((20, 20), bool), np.zeros((12, 24), bool), np.zeros((20, 20), bool)]
    masks[1][3:9, 5:15] = True
    conditions = [Condition(f"c{i}", mask, "") for i, mask in enumerate(masks)]
    loaded: LoadContext[ArsdmConfig] = LoadContext(context.config, "", 20, context.checkpoint, batch_size=2)
    generator = ArsdmGenerator(loaded, network)
    images = generator.generate(conditions, [1, 2, 3])
    assert [image.shape for image in images] == [(20, 20, 3), (12, 24, 3), (20, 20, 3)]
    turned = generator.generate(conditions[::-1], [3, 2, 1])[::-1]
    assert max(np.abs(a.astype(int) - b).max() for a, b in zip(images, turned, strict=True)) <= 1
    assert not np.array_equal(images[0], images[2])
    with pytest.raises(ValueError, match="one seed per condition"):
        generator.generate(conditions, [1])


@pytest.mark.parametrize(("key", "value"), [("num_inference_steps", 30), ("guidance_scale", 3.0)])
def test_settings_that_cannot_work_are_refused(key: str, value: float) -> None:
    with pytest.raises(ValidationError, match=key):
        ArsdmConfig.model_validate({key: value})


def test_training_lowers_the_loss_and_saves_the_average(make_context: MakeContext) -> None:
    context = make_context(steps=30, ema_decay=0.9, learning_rate=1e-2)
    report: TrainReport = METHOD.train(context)
    assert report.loss[-1][1] < 0.8 * report.loss[0][1]
    state = load_file(context.checkpoint / WEIGHTS)
    assert report.parameters_trained == sum(tensor.numel() for tensor in state.values())


def test_the_average_warms_up(make_context: MakeContext) -> None:
    """One step: the decay is min(0.9999, (1 + 1) / (10 + 1)), so that 9/11 of the first update are in it."""
    torch.manual_seed(0)
    averaged = METHOD.train(make_context(steps=1)) and load_file(make_context().checkpoint / WEIGHTS)
    # Adam's first update of conv_out's bias is the learning rate in size, and the bias starts at 0.
    assert averaged["conv_out.bias"].abs().tolist() == pytest.approx([9 / 11 * 2e-3] * 3, rel=1e-3)


def test_structure_loss_is_zero_for_a_sure_right_answer_and_counts_edges() -> None:
    masks = torch.zeros(2, 1, 64, 64)
    masks[:, :, 20:44, 20:44] = 1
    logits = (masks * 2 - 1) * 40
    assert structure_loss(logits, masks, "weighted").abs().max() < 1e-5
    at_edge, inside = logits.clone(), logits.clone()
    at_edge[:, :, 20, 20:44] *= -1
    inside[:, :, 32, 20:44] *= -1
    for bce in get_args(Bce):
        assert (structure_loss(at_edge, masks, bce) > structure_loss(inside, masks, bce)).all()


def test_the_edge_window_is_the_released_one_at_its_size() -> None:
    assert {side: edge_window(side) for side in (16, 64, 176, 352, 384, 704)} == {
        16: 3, 64: 5, 176: 15, 352: 31, 384: 33, 704: 61
    }  # fmt: skip


@pytest.mark.parametrize("bce", get_args(Bce))
def test_structure_loss_is_pranets_at_its_size(bce: Bce) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 1, 352, 352, generator=generator)
    masks = torch.zeros(2, 1, 352, 352)
    masks[0, :, 100:180, 60:200] = 1
    masks[1, :, 300:, :90] = 1
    (wanted,) = StructureLoss(bce, 31)([logits], masks)
    assert structure_loss(logits, masks, bce).mean().item() == pytest.approx(wanted.item(), rel=1e-6)


def test_the_released_loss_is_the_default_and_reaches_the_judge(make_context: MakeContext) -> None:
    def judged(**refine: Any) -> float:
        context = make_context(refine={"mode": "x0_onestep", "max_timestep": 999, **refine})
        return make_objective(context, make_segmenter())(0, ALONE).item()

    assert judged() == judged(bce="legacy_mean") != judged(bce="weighted")


@pytest.mark.parametrize("bce", get_args(Bce))
def test_the_segmenter_is_trained_with_the_loss_that_judges(
    make_context: MakeContext, monkeypatch: pytest.MonkeyPatch, bce: Bce
) -> None:
    seen: set[str] = set()

    def noted(logits: torch.Tensor, masks: torch.Tensor, bce: Bce) -> torch.Tensor:
        seen.add(bce)
        return structure_loss(logits, masks, bce)

    monkeypatch.setattr(refinement, "structure_loss", noted)
    refine = {"mode": "x0_onestep", "steps": 1, "segmenter_steps": 1, "segmenter_channels": 8, "bce": bce}
    METHOD.train(make_context(steps=1, refine=refine))
    assert seen == {bce}


@pytest.mark.parametrize("size", [(72, 72), (136, 136), (100, 37)])
def test_frames_of_every_size_train_and_sample(
    make_context: MakeContext, pairs: list[RealPair], size: tuple[int, int]
) -> None:
    mask = np.zeros(size, bool)
    mask[10:30, 5:25] = True
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    pairs[:] = [RealPair(image, Condition("c", mask, ""))] * 2
    context = make_context(steps=1)
    METHOD.train(context)
    (made,) = METHOD.load(LoadContext(context.config, "", max(size), context.checkpoint)).generate(
        [pairs[0].condition], [1]
    )
    assert made.shape == image.shape


def test_a_network_that_cannot_be_halved_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"(?s)native_size.*between the 6 levels .* multiple of 32, such as 64"):
        ArsdmConfig.model_validate({"native_size": 72})
    with pytest.raises(ValidationError, match=r"(?s)native_size.*multiple of 256, such as 512"):
        ArsdmConfig.model_validate({"unet": {"channel_mult": [1] * 9}})


def test_refinement_as_released_changes_no_gradient(make_context: MakeContext) -> None:
    off = make_objective(make_context())
    on = make_objective(make_context(refine={"mode": "official_nograd"}), make_segmenter())
    assert on(0, ALONE) > off(0, ALONE)
    assert all(torch.equal(a, b) for a, b in zip(gradients(off, 0), gradients(on, 0), strict=True))


def test_refinement_as_released_judges_the_averaged_weights(make_context: MakeContext) -> None:
    objective = make_objective(make_context(refine={"mode": "official_nograd"}), make_segmenter())
    first = objective(0, ALONE)
    objective.averaged = {key: value * 1.5 for key, value in objective.network.state_dict().items()}
    assert objective(0, ALONE) != first


def test_one_step_refinement_has_a_gradient_inside_its_window_only(make_context: MakeContext) -> None:
    segmenter = make_segmenter()
    everywhere, nowhere = (
        make_objective(make_context(refine={"mode": "x0_onestep", "max_timestep": limit}), segmenter)
        for limit in (999, 0)
    )
    plain = gradients(make_objective(make_context()), 0)
    assert all(torch.equal(a, b) for a, b in zip(plain, gradients(nowhere, 0), strict=True))
    assert any(not torch.allclose(a, b) for a, b in zip(plain, gradients(everywhere, 0), strict=True))
    assert not any(parameter.requires_grad for parameter in segmenter.parameters())


def test_only_the_last_steps_are_refined(make_context: MakeContext) -> None:
    refine = {"mode": "x0_onestep", "max_timestep": 999, "steps": 3}
    refined, plain = make_objective(make_context(refine=refine), make_segmenter()), make_objective(make_context())
    assert [step for step in range(8) if refined(step, ALONE) != plain(step, ALONE)] == [5, 6, 7]


def test_a_refined_run_trains_and_keeps_its_segmenter(make_context: MakeContext) -> None:
    refine = {"mode": "x0_onestep", "steps": 1, "segmenter_steps": 2, "segmenter_channels": 8}
    context = make_context(steps=2, refine=refine)
    METHOD.train(context)
    assert (context.checkpoint / FOLDER / WEIGHTS).is_file() and (context.checkpoint / WEIGHTS).is_file()
