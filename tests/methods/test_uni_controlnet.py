"""Uni-ControlNet: sizes, the feature denormalisation in closed form, mask drop, and the global adapter's two stages."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file
from torch.nn import functional as F
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from ccbench.diffusion.backbone import Backbone, encode_prompts
from ccbench.diffusion.branch import predict_noise
from ccbench.diffusion.branch_training import BranchObjective, encode_set
from ccbench.diffusion.training_loop import Share
from ccbench.errors import DataError, MissingError
from ccbench.plugins.contract import LoadContext, TrainContext, TrainingSettings
from ccbench.types import RealPair
from ccbench_uni_controlnet import METHOD
from ccbench_uni_controlnet.config import UniControlNetConfig
from ccbench_uni_controlnet.global_adapter import TOKENS, GlobalAdapter
from ccbench_uni_controlnet.model import FeatureDenorm, LocalAdapter, LocalResnet, build
from tiny_backbone import SIDE, wake


@pytest.fixture
def adapter(backbone: Backbone) -> LocalAdapter:
    torch.manual_seed(0)
    built = build(backbone, UniControlNetConfig()).eval().requires_grad_(False)
    wake(built)
    return built


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP vision tower of the real class, a few kilobytes wide."""
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=32,
        patch_size=16,
        projection_dim=24,
    )
    CLIPVisionModelWithProjection(config).save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32).save_pretrained(folder)
    return folder


def test_sizes_at_sd15s_width() -> None:
    """The counts of METHODS 3.1 and 3.2, derived from the reference code's configuration."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(
            sample_size=64, block_out_channels=(320, 640, 1280, 1280), cross_attention_dim=768, attention_head_dim=8
        )
        local = build(SimpleNamespace(unet=unet), UniControlNetConfig())  # type: ignore[arg-type]
        tokens = GlobalAdapter(768, 768)
    assert sum(p.numel() for p in local.parameters()) == 411_898_368
    assert sum(p.numel() for p in tokens.parameters()) == 47_213_568
    levels = local.features(torch.empty(1, 3, 512, 512, device="meta"))
    assert [tuple(level.shape[1:]) for level in levels] == [(192, 64, 64), (256, 32, 32), (384, 16, 16), (512, 8, 8)]


def test_denorm_is_its_equation() -> None:
    torch.manual_seed(0)
    layer = FeatureDenorm(8, 4, groups=2, eps=1e-5)
    x, features = torch.randn(2, 8, 5, 5), torch.randn(2, 4, 5, 5)
    grouped = x.view(2, 2, -1)
    normed = (grouped - grouped.mean(2, keepdim=True)) / (grouped.var(2, unbiased=False, keepdim=True) + 1e-5).sqrt()
    wanted = normed.view_as(x) * (1 + layer.gamma(features)) + layer.beta(features)
    torch.testing.assert_close(layer(x, features), wanted)
    assert not list(layer.norm.parameters())


def test_a_resnet_with_neutral_features_is_the_backbones_without_its_norms_weights(backbone: Backbone) -> None:
    resnet = backbone.unet.down_blocks[1].resnets[0]
    local = LocalResnet(resnet, 4)
    torch.manual_seed(0)
    x, time = torch.randn(2, resnet.in_channels, 8, 8), torch.randn(2, resnet.time_emb_proj.in_features)
    for norm in (local.norm1, local.norm2):
        torch.nn.init.zeros_(norm.gamma.bias)
        torch.nn.init.zeros_(norm.beta.bias)
    # The norms of a freshly drawn backbone are the identity, so both blocks are one function.
    assert all((n.weight == 1).all() and (n.bias == 0).all() for n in (resnet.norm1, resnet.norm2))
    torch.testing.assert_close(local(x, time, torch.zeros(2, 4, 8, 8)), resnet(x, time))


def test_only_the_first_resnet_of_each_level_takes_features(adapter: LocalAdapter) -> None:
    kinds = [[isinstance(r, LocalResnet) for r in block.resnets] for block in adapter.control.down_blocks]
    assert kinds == [[True, False]] * 4
    assert not any("controlnet_cond_embedding" in name for name, _ in adapter.named_parameters())


def test_untrained_branch_leaves_the_backbone_as_it_is(backbone: Backbone, masks: torch.Tensor) -> None:
    branch = build(backbone, UniControlNetConfig()).eval()
    latents, times = torch.randn(2, 4, 8, 8), torch.tensor([10, 900])
    texts = encode_prompts(backbone, ["a red polyp", ""])
    with torch.no_grad():
        plain = backbone.unet(latents, times, texts.context).sample
        residuals = branch(latents, times, texts, branch.encode_hint(masks))
        assert torch.equal(plain, predict_noise(backbone.unet, latents, times, texts.context, residuals))


def test_the_mask_reaches_every_level(backbone: Backbone, masks: torch.Tensor) -> None:
    torch.manual_seed(0)
    features = build(backbone, UniControlNetConfig()).features
    x = masks = F.interpolate(masks, scale_factor=8.0)
    for layer in features.layers:
        x = F.silu(layer(x))
        inside = F.adaptive_avg_pool2d(masks[:, :1], x.shape[-1]) > 0.5
        apart = (x * inside).sum((2, 3)) / inside.sum((2, 3)) - (x * ~inside).sum((2, 3)) / (~inside).sum((2, 3))
        assert apart.abs().mean() > 0.03  # as drawn by PyTorch it falls below 0.001


def test_mask_drop_hides_the_mask_from_the_loss(
    backbone: Backbone, backbone_folder: Path, pairs: list[RealPair], tmp_path: Path, adapter: LocalAdapter
) -> None:
    empty = [
        dataclasses.replace(
            pair, condition=dataclasses.replace(pair.condition, mask=np.zeros_like(pair.condition.mask))
        )
        for pair in pairs
    ]

    def loss(shown: list[RealPair], drop: float) -> float:
        budget = TrainingSettings(max_steps=1, batch_size=4)
        context = TrainContext(shown, UniControlNetConfig(), budget, str(backbone_folder), SIDE, tmp_path, seed=5)
        adapter.mask_drop = drop
        objective = BranchObjective(context, backbone, adapter, encode_set(context, backbone))
        return float(objective(0, Share(0, 1)))

    assert loss(pairs, 1.0) == loss(empty, 0.0) != loss(pairs, 0.0)
    assert loss(pairs, 0.5) not in (loss(pairs, 0.0), loss(pairs, 1.0))
    assert METHOD.config().mask_drop == build(backbone, METHOD.config()).mask_drop == 0.1


def test_the_global_adapter_has_its_own_stage_and_steers_by_the_background(
    backbone_folder: Path, clip_folder: Path, pairs: list[RealPair], tmp_path: Path
) -> None:
    def settings(**changes: Any) -> UniControlNetConfig:
        adapter = {"enabled": True, "encoder": str(clip_folder), **changes}
        return UniControlNetConfig.model_validate({"num_inference_steps": 2, "global_adapter": adapter})

    budget = TrainingSettings(max_steps=3, batch_size=2, learning_rate=1e-3)
    report = METHOD.train(TrainContext(pairs, settings(), budget, str(backbone_folder), SIDE, tmp_path, seed=5))
    local, tokens = (load_file(tmp_path / name) for name in ("model.safetensors", "global/model.safetensors"))
    assert report.parameters_trained == sum(t.numel() for part in (local, tokens) for t in part.values())
    assert tokens["layers.3.net.2.weight"].shape[0] == TOKENS * 32

    seen = [dataclasses.replace(p.condition, background=p.image) for p in pairs[:2]]
    turned = [dataclasses.replace(c, background=o.background) for c, o in zip(seen, seen[::-1], strict=True)]

    def images(config: UniControlNetConfig, conditions: list[Any]) -> list[Any]:
        return METHOD.load(LoadContext(config, str(backbone_folder), SIDE, tmp_path)).generate(conditions, [1, 2])

    assert not np.array_equal(images(settings(), seen), images(settings(), turned))
    assert not np.array_equal(images(settings(), seen), images(settings(strength=0), seen))
    assert np.array_equal(images(settings(strength=0), seen), images(settings(strength=0), turned))
    with pytest.raises(DataError, match=r"c0.*background"):
        images(settings(), [pair.condition for pair in pairs[:2]])
    with pytest.raises(MissingError, match=r"global_adapter\.encoder"):
        images(settings(encoder=str(tmp_path)), seen)


def test_the_global_adapter_is_off_unless_asked_for() -> None:
    assert not UniControlNetConfig().global_adapter.enabled
    assert UniControlNetConfig.model_validate({"global_adapter": "on"}).global_adapter.enabled
