"""Training and sampling of every latent method on a tiny random backbone, end to end through the plugin contract."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ccbench.diffusion import branch_training, training_loop
from ccbench.diffusion.backbone import decode_latents, encode_images, load_backbone, open_reconstruction
from ccbench.diffusion.branch_training import NoiseObjective
from ccbench.diffusion.training_loop import batch_order
from ccbench.errors import DataError, MissingError, UsageError
from ccbench.plugins.contract import LoadContext, Method, TrainContext, TrainingSettings, TrainReport
from ccbench.types import Condition, RealPair
from ccbench_ccis_diff import METHOD as CCIS_DIFF
from ccbench_controlnet import METHOD as CONTROLNET
from ccbench_uni_controlnet import METHOD as UNI_CONTROLNET
from tiny_backbone import SIDE

METHODS = pytest.mark.parametrize("method", [CONTROLNET, CCIS_DIFF, UNI_CONTROLNET], ids=lambda m: m.info.name)
Train = Callable[..., TrainReport]


@pytest.fixture
def train(backbone_folder: Path, pairs: list[RealPair]) -> Train:
    def run(
        method: Method[Any], checkpoint: Path, steps: int = 6, shared: Path | None = None, **settings: Any
    ) -> TrainReport:
        budget = TrainingSettings(max_steps=steps, batch_size=2, learning_rate=1e-3, checkpoint_every=2)
        config = method.config.model_validate({"num_inference_steps": 3, **settings})
        return method.train(
            TrainContext(pairs, config, budget, str(backbone_folder), SIDE, checkpoint, seed=5, shared=shared)
        )

    return run


@METHODS
def test_interrupted_training_ends_equal(
    method: Method[Any], train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(method, tmp_path / "whole")
    real_loss, calls = NoiseObjective.forward, []

    def stop_at_the_sixth(self: NoiseObjective, step: int, share: training_loop.Share) -> torch.Tensor:
        calls.append(step)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return real_loss(self, step, share)

    with monkeypatch.context() as patch:
        patch.setattr(NoiseObjective, "forward", stop_at_the_sixth)
        with pytest.raises(KeyboardInterrupt):
            train(method, tmp_path / "cut")
    assert not (tmp_path / "cut" / training_loop.WEIGHTS).exists()
    resumed = train(method, tmp_path / "cut")
    assert calls == [0, 1, 2, 3, 4, 5]  # and the resumed call went on from the checkpoint of step 4
    a, b = (load_file(tmp_path / name / training_loop.WEIGHTS) for name in ("whole", "cut"))
    assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
    assert resumed.loss[-1][0] == whole.loss[-1][0] == 6
    assert not (tmp_path / "cut" / training_loop.STATE).exists()


@METHODS
def test_what_another_training_has_encoded_gives_the_same_weights(
    method: Method[Any], train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("alone", "first", "second"):
        train(method, tmp_path / name, shared=None if name == "alone" else tmp_path / "shared")
        if name == "first":
            monkeypatch.setattr(branch_training, "_encode_set", lambda *_: pytest.fail("encoded again"))
    alone, first, second = (load_file(tmp_path / name / training_loop.WEIGHTS) for name in ("alone", "first", "second"))
    assert all(torch.equal(alone[key], first[key]) and torch.equal(alone[key], second[key]) for key in alone)


@METHODS
def test_training_lowers_the_loss_of_its_own_images(method: Method[Any], train: Train, tmp_path: Path) -> None:
    report = train(method, tmp_path / "c", steps=16)
    assert report.loss[-1][1] < report.loss[0][1]
    assert report.parameters_trained == sum(
        t.numel() for t in load_file(tmp_path / "c" / training_loop.WEIGHTS).values()
    )


@METHODS
def test_generates_by_condition_and_seed(
    method: Method[Any], train: Train, backbone_folder: Path, pairs: list[RealPair], tmp_path: Path
) -> None:
    train(method, tmp_path / "c", steps=2)
    config = method.config.model_validate({"num_inference_steps": 3})
    conditions = [pair.condition for pair in pairs[:3]]
    two, three = (
        method.load(LoadContext(config, str(backbone_folder), SIDE, tmp_path / "c", batch_size=size)) for size in (2, 3)
    )
    images = two.generate(conditions, [1, 2, 3])
    assert [image.shape for image in images] == [(SIDE, SIDE, 3)] * 3 and images[0].dtype == np.uint8
    assert all(np.array_equal(a, b) for a, b in zip(images, two.generate(conditions, [1, 2, 3]), strict=True))
    others = three.generate(conditions, [1, 2, 3])
    assert max(np.abs(a.astype(int) - b).max() for a, b in zip(images, others, strict=True)) <= 1
    assert not np.array_equal(images[0], two.generate(conditions[:1], [9])[0])


@METHODS
@pytest.mark.parametrize("side", [72, 136, 160])
def test_sizes_that_do_not_halve_evenly_train_and_sample(
    method: Method[Any], side: int, backbone_folder: Path, tmp_path: Path
) -> None:
    mask = np.zeros((side, side), bool)
    mask[side // 4 : side // 2, side // 3 :] = True
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    pair = RealPair(image, Condition("c", mask, "a small red polyp"))
    config = method.config.model_validate({"num_inference_steps": 2})
    budget = TrainingSettings(max_steps=1, batch_size=2)
    method.train(TrainContext([pair, pair], config, budget, str(backbone_folder), side, tmp_path, seed=5))
    generator = method.load(LoadContext(config, str(backbone_folder), side, tmp_path))
    (made,) = generator.generate([pair.condition], [1])
    assert made.shape == (side, side, 3)


@METHODS
def test_a_size_between_two_latent_cells_is_refused(
    method: Method[Any], train: Train, backbone_folder: Path, tmp_path: Path
) -> None:
    mask = np.ones((100, 100), bool)
    pair = RealPair(np.zeros((100, 100, 3), np.uint8), Condition("c", mask, "a polyp"))
    budget, config = TrainingSettings(max_steps=1, batch_size=1), method.config()
    message = "images of 100 px: wanted a multiple of 8 for this backbone, such as 96"
    with pytest.raises(UsageError, match=message):
        method.train(TrainContext([pair], config, budget, str(backbone_folder), 100, tmp_path / "c", seed=5))
    train(method, tmp_path / "d", steps=1)
    with pytest.raises(UsageError, match=message):
        method.load(LoadContext(config, str(backbone_folder), 100, tmp_path / "d")).generate([pair.condition], [1])


def test_frozen_backbone_stays_frozen(train: Train, backbone_folder: Path, tmp_path: Path) -> None:
    before = {f.name: f.read_bytes() for f in (backbone_folder / "unet").iterdir()}
    train(CCIS_DIFF, tmp_path / "c", steps=2)
    assert before == {f.name: f.read_bytes() for f in (backbone_folder / "unet").iterdir()}
    loaded = load_backbone(str(backbone_folder))
    assert not any(
        p.requires_grad for part in (loaded.unet, loaded.vae, loaded.text_encoder) for p in part.parameters()
    )


def test_checkpoint_of_other_settings_is_refused(train: Train, backbone_folder: Path, tmp_path: Path) -> None:
    train(CCIS_DIFF, tmp_path / "c", steps=1, bmws="off")
    context = LoadContext(CCIS_DIFF.config(), str(backbone_folder), SIDE, tmp_path / "c")
    with pytest.raises(DataError, match="keys do not fit"):
        CCIS_DIFF.load(context)


def test_missing_backbone_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="diffusers format") as caught:
        load_backbone(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_reconstruction_is_the_way_through_the_latents(backbone_folder: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    backbone = load_backbone(str(backbone_folder))
    mean, _ = encode_images(backbone, image[None])
    (wanted,) = decode_latents(backbone, mean)
    assert np.array_equal(open_reconstruction(str(backbone_folder))(image), wanted)


def test_every_sample_comes_once_a_pass() -> None:
    order = torch.cat([batch_order(10, 4, seed=1, step=step) for step in range(5)])
    assert sorted(order[:10].tolist()) == sorted(order[10:].tolist()) == list(range(10))
    assert order[:10].tolist() != order[10:].tolist()
