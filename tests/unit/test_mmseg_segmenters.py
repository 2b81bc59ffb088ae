"""Any model of mmsegmentation as a segmenter: its own configuration files, as they come with the package."""

import json
import pickle
from pathlib import Path
from typing import Any
from urllib.error import URLError

import mmseg
import numpy as np
import pytest
import torch
from timm.models import get_pretrained_cfg_value
from torch import nn

from ccbench.data.phantom.phantom_source import open_phantoms
from ccbench.errors import CcbenchError, DataError, MissingError, UsageError
from ccbench.segmenters import SEGMENTERS, Segmenter, find_segmenter, locate_weights
from ccbench.segmenters.loading import Labelled
from ccbench.segmenters.prediction import predict_maps
from ccbench.segmenters.segmenter_training import Budget, Exercise, build_network, train_segmenter
from hostile import Bomb

CONFIGS = Path(mmseg.__file__).parent / ".mim" / "configs"
UNET = "unet/unet-s5-d16_fcn_4xb4-40k_chase-db1-128x128.py"
SEGFORMER = "segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py"
PSPNET = (
    "pspnet/pspnet_r50-d8_4xb4-20k_voc12aug-512x512.py"  # names its weights as older files do, and has a second head
)


def find(config: str) -> Segmenter:
    return find_segmenter(f"mmseg:{CONFIGS / config}")


@pytest.mark.parametrize("config", [UNET, SEGFORMER])
def test_it_trains_on_phantoms_and_sees_polyps_or_mucosa(config: str, tmp_path: Path) -> None:
    segmenter = find(config)
    settings = segmenter.mini.model_copy(update={"weights": "random", "size": 32, "batch_size": 2})
    pairs = open_phantoms("train", 32, 4).pairs
    data, check, budget = Labelled.of(pairs, 32), open_phantoms("test", 32, 2).pairs, Budget(1, "validation")
    network, trained = train_segmenter(Exercise(segmenter, settings, data, check, budget, 0), tmp_path)
    assert (trained.steps, trained.taken, segmenter.title) == (2, 1, Path(config).stem)
    classifiers = [part.conv_seg.out_channels for part in network.modules() if hasattr(part, "conv_seg")]
    assert set(classifiers) == {2} and not [one for one in network.modules() if isinstance(one, nn.SyncBatchNorm)]
    seen = [found for found, _ in predict_maps(network, check, 32)]
    assert [one.shape for one in seen] == [(32, 32)] * 2 and all(np.ptp(one) for one in seen)


def test_what_is_drawn_follows_the_seed() -> None:
    segmenter = find(SEGFORMER)
    settings = segmenter.mini.model_copy(update={"weights": "random"})
    first, again, other = (build_network(segmenter, settings, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("config", [SEGFORMER, PSPNET])
def test_weights_that_cannot_be_fetched_or_read(config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **named: Any) -> None:
        raise URLError("no route\nto host")

    monkeypatch.setattr("mmengine.runner.checkpoint.load_url", refuse)
    segmenter = find(config)
    with pytest.raises(MissingError, match=r"cannot be fetched .* --set weights=FILE") as found:
        build_network(segmenter, segmenter.mini, 0)
    assert found.value.exit_code == 3 and "\n" not in str(found.value)
    file = tmp_path / "weights.pth"
    for content in (b"no weights", pickle.dumps(Path("unpickled"))):
        file.write_bytes(content)
        with pytest.raises(DataError, match=r"weights\.pth: not a "):
            build_network(segmenter, segmenter.mini.model_copy(update={"weights": str(file)}), 0)


def test_every_head_has_two_classes_and_no_weights_are_drawn_from_elsewhere() -> None:
    network = build_network(find(PSPNET), find(PSPNET).mini.model_copy(update={"weights": "random"}), 0)
    assert [head.conv_seg.out_channels for head in (network.decode_head, network.auxiliary_head)] == [2, 2]
    assert not [one for one in network.modules() if isinstance(one, nn.SyncBatchNorm)]


def test_weights_are_looked_for_where_timm_would_fetch_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda repository, file: None)
    for segmenter in SEGMENTERS.values():
        model = segmenter.published.backbone
        with pytest.raises(MissingError, match=f"^{get_pretrained_cfg_value(model, 'hf_hub_id')}: not in"):
            locate_weights(model)


def test_weights_of_a_file_are_loaded(tmp_path: Path) -> None:
    segmenter, file = find(SEGFORMER), tmp_path / "start.pth"
    start = build_network(segmenter, segmenter.mini.model_copy(update={"weights": "random"}), 7).backbone.state_dict()
    torch.save(start, file)
    network = build_network(segmenter, segmenter.mini.model_copy(update={"weights": str(file)}), 0)
    assert all(torch.equal(tensor, start[key]) for key, tensor in network.backbone.state_dict().items())
    with pytest.raises(UsageError, match="names no weights to start from; leave --set weights="):
        build_network(find(UNET), segmenter.mini.model_copy(update={"weights": str(file)}), 0)


@pytest.mark.parametrize(
    ("text", "words"),
    [("model = dict(", "cannot be read"), ("a = 1", "holds no `model`"), ("raise OSError('x')", "cannot be read")],
)
def test_files_that_are_no_configuration(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(text)
    segmenter = find_segmenter(f"mmseg:{path}")
    with pytest.raises(UsageError, match=words) as found:
        segmenter.model_config(segmenter.mini)
    assert "\n" not in str(found.value)


JSON_MODEL = {
    "type": "EncoderDecoder",
    "backbone": {"type": "ResNetV1c", "depth": 18, "norm_cfg": {"type": "BN"}},
    "decode_head": {
        "type": "FCNHead",
        "in_channels": 512,
        "channels": 16,
        "num_classes": 19,
        "norm_cfg": {"type": "BN"},
        "loss_decode": {"type": "CrossEntropyLoss", "use_sigmoid": False},
    },
}


def write_json(path: Path, **content: Any) -> Segmenter:
    path.write_text(json.dumps(content))
    return find_segmenter(f"mmseg:{path}")


def test_a_json_of_plain_names_is_built(tmp_path: Path) -> None:
    segmenter = write_json(tmp_path / "own.json", model=JSON_MODEL, custom="left alone")
    network = build_network(segmenter, segmenter.mini.model_copy(update={"weights": "random"}), 0)
    assert network.decode_head.conv_seg.out_channels == 2


@pytest.mark.parametrize("how", ["call", "model", "base", "imports", "scope", "module", "pickle"])
def test_a_json_runs_nothing(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a function that mmengine finds by its dotted name, nor a module on the path, nor a pickle it names."""
    mark, plain = tmp_path / "ran", {"weights": "hub"}
    (tmp_path / "planted_module.py").write_text(f"import os; os.mkdir({str(mark)!r})")
    (tmp_path / "planted_module" / "registry").parent.mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    start = tmp_path / "start.pth"
    torch.save({"state_dict": {}, "meta": Bomb(mark)}, start)
    content: dict[str, Any] = {
        "call": {"model": {**JSON_MODEL, "data_preprocessor": {"type": "os.mkdir", "path": str(mark)}}},
        "model": {"model": {"type": "os.mkdir", "path": str(mark)}},
        "base": {"_base_": "planted_module.py", "model": JSON_MODEL},
        "imports": {"custom_imports": {"imports": ["planted_module"]}, "model": JSON_MODEL},
        "scope": {"model": {**JSON_MODEL, "_scope_": "planted_module"}},
        "module": {"model": {**JSON_MODEL, "backbone": {"type": "planted_module"}}},
        "pickle": {
            "model": {
                **JSON_MODEL,
                "backbone": {
                    **JSON_MODEL["backbone"],  # type: ignore[dict-item]
                    "init_cfg": {"type": "Pretrained", "checkpoint": str(start)},
                },
            }
        },
    }[how]
    segmenter = write_json(tmp_path / "own.json", **content)
    with pytest.raises(CcbenchError) as found:
        build_network(segmenter, segmenter.mini.model_copy(update=plain), 0)
    assert "\n" not in str(found.value) and not mark.exists()
    if how != "pickle":
        assert "asks for" in str(found.value) and "imports code" in str(found.value)


def test_other_files_than_data_and_code_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("model: !!python/object/apply:os.mkdir [ran]")
    segmenter = find_segmenter(f"mmseg:{path}")
    with pytest.raises(UsageError, match=r"wanted a \.json configuration, which is data, or a \.py, which is run"):
        segmenter.model_config(segmenter.mini)
