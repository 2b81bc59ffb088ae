"""Backbones of segmenters: their weights come from where they should, and what is frozen stays."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from ccbench.errors import DataError, MissingError
from ccbench.features.lite0 import load_lite0
from ccbench.segmenters import SEGMENTERS
from ccbench.segmenters.networks.backbones import Lite0Pyramid, TimmPyramid
from ccbench.segmenters.segmenter_training import Budget, Exercise, build_network, train_segmenter
from tiny_segmenters import draw_discs, label, tiny

SMALL = "resnet10t"  # 5 M parameters, built in 0.1 s; PraNet's own has 23 M


def backbone(network: Any) -> Iterator[tuple[str, torch.Tensor]]:
    state: dict[str, torch.Tensor] = network.backbone.network.state_dict()
    yield from state.items()


@pytest.mark.parametrize("name", SEGMENTERS)
def test_the_mini_segmenters_start_from_imagenet(name: str) -> None:
    """Exactly, also after mmengine's own initialisation, which draws layers anew."""
    network = build_network(SEGMENTERS[name], tiny(name), 0)
    network.init_weights()
    wanted: dict[str, torch.Tensor] = load_lite0().state_dict()
    found = dict(backbone(network))
    assert found.keys() == wanted.keys() and all(torch.equal(found[key], wanted[key]) for key in wanted)


@pytest.mark.parametrize("name", SEGMENTERS)
def test_frozen_stages_and_all_batch_norm_stay_and_the_rest_learns(name: str, tmp_path: Path) -> None:
    data, budget = label(draw_discs(4, 0)), Budget(1, "last")
    network, _ = train_segmenter(Exercise(SEGMENTERS[name], tiny(name), data, (), budget, 0), tmp_path)
    start: dict[str, torch.Tensor] = load_lite0().state_dict()
    moved = {key for key, tensor in backbone(network) if not torch.equal(tensor, start[key])}
    frozen = ("conv_stem", "bn1", "blocks.0.", "blocks.1.", "conv_head", "bn2")
    assert moved and not [key for key in moved if key.startswith(frozen) or "running" in key or "num_batches" in key]
    assert {key.split(".")[1] for key in moved} == {"2", "3", "4", "5", "6"}


def test_levels_of_lite0() -> None:
    with torch.inference_mode():
        levels = Lite0Pyramid()(torch.zeros(1, 3, 64, 64))
    assert [tuple(one.shape) for one in levels] == [(1, 24, 16, 16), (1, 40, 8, 8), (1, 112, 4, 4), (1, 320, 2, 2)]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn weights of the small network, as timm's hub stores them: of the whole network."""
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    torch.manual_seed(5)
    save_file(timm.create_model(SMALL).state_dict(), path)
    return path


def test_weights_of_a_file_are_loaded(file: Path) -> None:
    from safetensors.torch import load_file

    held, found = load_file(file), TimmPyramid(SMALL, (2, 3), str(file)).network.state_dict()
    assert len(found) > 50 and all(torch.equal(found[key], held[key]) for key in found)
    drawn = TimmPyramid(SMALL, (2, 3), "random").network.state_dict()
    assert not torch.equal(drawn["conv1.0.weight"], held["conv1.0.weight"])
    built = build_network(SEGMENTERS["pranet"], tiny(backbone=SMALL, weights="random"), 0)
    again, other = (
        build_network(SEGMENTERS["pranet"], tiny(backbone=SMALL, weights="random"), seed) for seed in (0, 1)
    )
    first, second, third = (one.state_dict()["backbone.network.conv1.0.weight"] for one in (built, again, other))
    assert torch.equal(first, second) and not torch.equal(first, third)


def test_weights_that_are_not_there_or_of_another_network(file: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"nowhere\.safetensors: no such file; wanted ImageNet weights of timm's"):
        TimmPyramid(SMALL, (2, 3), str(tmp_path / "nowhere.safetensors"))
    with pytest.raises(DataError, match="holds no ImageNet weights of timm's resnet18d"):
        TimmPyramid("resnet18d", (2, 3), str(file))
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(DataError, match="holds no ImageNet weights of timm's resnet10t"):
        TimmPyramid(SMALL, (2, 3), str(broken))


@pytest.mark.parametrize("problem", [OSError, RuntimeError, ValueError])
def test_a_hub_that_is_not_reached(problem: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is raised: a line that names the network and the way out."""

    def refuse(*args: object, **named: object) -> None:
        raise problem("no route\nto host")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", refuse)
    with pytest.raises(MissingError, match=r"timm's res2net50d .* --set weights=FILE") as found:
        build_network(SEGMENTERS["pranet"], SEGMENTERS["pranet"].published, 0)
    assert "\n" not in str(found.value) and found.value.exit_code == 3
