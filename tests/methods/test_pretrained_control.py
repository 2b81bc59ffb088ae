"""Published ControlNet weights in every layout, as the start of training or used as they are."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from ccbench.diffusion.backbone import Backbone
from ccbench.diffusion.training_loop import WEIGHTS
from ccbench.errors import CcbenchError, DataError, MissingError, UsageError
from ccbench.plugins.contract import TrainContext, TrainingSettings
from ccbench.protocols.config import resolve_config
from ccbench.protocols.protocol import find_protocol
from ccbench.types import RealPair
from ccbench_controlnet import METHOD
from ccbench_controlnet.config import ControlNetConfig
from ccbench_controlnet.model import ControlNetBranch, build, load_pretrained
from ldm_layout import control_state, ldm_state, write
from tiny_backbone import SIDE, wake

LAYOUTS = ["folder", "diffusers.safetensors", "original.safetensors", "original.pth", "whole.pth"]
KEY = "zero_convs.3.0.weight"


@pytest.fixture(scope="module")
def published(backbone: Backbone) -> ControlNetBranch:
    torch.manual_seed(11)
    branch = build(backbone, ControlNetConfig())
    wake(branch)
    return branch


def lay_out(branch: ControlNetBranch, backbone: Backbone, place: Path, layout: str) -> Path:
    if layout == "folder":
        branch.control.save_pretrained(place / layout)
        return place / layout
    state = branch.control.state_dict() if layout.startswith("diffusers") else control_state(branch.control)
    return write(place / layout, state | (ldm_state(backbone) if layout.startswith("whole") else {}))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_bits(
    published: ControlNetBranch, backbone: Backbone, tmp_path: Path, layout: str
) -> None:
    reference = lay_out(published, backbone, tmp_path, layout)
    branch = build(backbone, ControlNetConfig())
    load_pretrained(branch.control, str(reference), allow_pickle=layout.endswith("pth"))
    wanted = published.control.state_dict()
    assert all(torch.equal(value, wanted[key]) for key, value in branch.control.state_dict().items())


def test_without_steps_the_weights_are_used_as_they_are(
    published: ControlNetBranch, backbone: Backbone, backbone_folder: Path, pairs: list[RealPair], tmp_path: Path
) -> None:
    file = lay_out(published, backbone, tmp_path, "original.pth")

    def train(steps: int) -> dict[str, Any]:
        config, budget = ControlNetConfig(pretrained=str(file)), TrainingSettings(max_steps=steps, batch_size=2)
        place = tmp_path / str(steps)
        METHOD.train(TrainContext(pairs, config, budget, str(backbone_folder), SIDE, place, 0, allow_pickle=True))
        return load_file(place / WEIGHTS)

    wanted = published.state_dict()
    assert all(torch.equal(value, wanted[key]) for key, value in train(0).items())
    apart = [(value - wanted[key]).abs().max() for key, value in train(1).items()]
    assert 0 < max(apart) < 1e-4  # one step of AdamW at rate 1e-5 moves no weight by more


@pytest.mark.parametrize(
    ("layout", "fault", "words"),
    [
        ("original.safetensors", "missing", "missing controlnet_down_blocks.3.weight, wanted (32, 32, 1, 1)"),
        ("original.safetensors", "unknown", f"unknown control_model.{KEY}.more (3,)"),
        ("original.safetensors", "shape", f"control_model.{KEY} of shape (7,), wanted (32, 32, 1, 1)"),
        ("diffusers.safetensors", "missing", "missing controlnet_down_blocks.3.weight, wanted (32, 32, 1, 1)"),
        ("diffusers.safetensors", "unknown", "unknown controlnet_down_blocks.3.weight.more (3,)"),
        ("diffusers.safetensors", "shape", "controlnet_down_blocks.3.weight of shape (7,), wanted (32, 32, 1, 1)"),
    ],
)
def test_what_does_not_fit_is_one_line(
    published: ControlNetBranch, backbone: Backbone, tmp_path: Path, layout: str, fault: str, words: str
) -> None:
    file = lay_out(published, backbone, tmp_path, layout)
    state = load_file(file)
    key = f"control_model.{KEY}" if layout.startswith("original") else "controlnet_down_blocks.3.weight"
    if fault == "missing":
        del state[key]
    else:
        state[key if fault == "shape" else f"{key}.more"] = torch.zeros(7 if fault == "shape" else 3)
    write(file, state)
    with pytest.raises(DataError) as caught:
        load_pretrained(build(backbone, ControlNetConfig()).control, str(file), allow_pickle=False)
    assert words in str(caught.value) and str(file) in str(caught.value) and "\n" not in str(caught.value)


def test_weights_of_another_width_pickles_and_nothing_are_refused(
    published: ControlNetBranch, backbone: Backbone, tmp_path: Path
) -> None:
    control = build(backbone, ControlNetConfig(hint_channels=(8, 8, 8, 8))).control
    cases: list[tuple[str, type[CcbenchError], str]] = [
        (str(lay_out(published, backbone, tmp_path, "folder")), DataError, "controlnet_cond_embedding"),
        (str(lay_out(published, backbone, tmp_path, "original.pth")), UsageError, "--allow-pickle"),
        ("gone.pth", MissingError, r"method\.pretrained=gone\.pth: no such file"),
        (str(tmp_path / "gone" / "x"), MissingError, "wanted a folder in diffusers format with config.json"),
    ]
    for reference, kind, words in cases:
        with pytest.raises(kind, match=words):
            load_pretrained(control, reference, allow_pickle=False)
    shutil.rmtree(tmp_path / "folder")


def test_setting_is_part_of_the_configuration_only_where_it_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Golden value: the configuration of the board's first run, made before the setting was there."""
    protocol = find_protocol("phantom-128")
    assert resolve_config(METHOD, protocol).config_hash.startswith("023e9be3")
    monkeypatch.chdir(tmp_path)
    Path("cn.safetensors").touch()
    given = [resolve_config(METHOD, protocol, sets=[f"pretrained={name}"]) for name in ("cn.safetensors", "owner/name")]
    assert len({config.config_hash for config in (*given, resolve_config(METHOD, protocol))}) == 3
    assert [c.settings.model_dump()["pretrained"] for c in given] == [str(tmp_path / "cn.safetensors"), "owner/name"]
