"""Weights that somebody hands over: nothing in them is run, and what they are is said in one line."""

import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ccbench.base.tensor_files import (
    load_checked,
    load_safetensors,
    load_state,
    save_checked,
    tensors_only,
    weights_hash,
)
from ccbench.diffusion.backbone import load_backbone, open_reconstruction
from ccbench.errors import CcbenchError, DataError, MissingError, UsageError
from ccbench.features import open_encoder
from ccbench_controlnet.model import load_pretrained
from hostile import Bomb, no_plain_files
from tiny_backbone import write_tiny_backbone


def write_pointer(path: Path) -> None:
    path.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 1\n")


def write_script(path: Path) -> None:
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)


def write_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights/a.txt", "a")


KINDS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "pointer": (write_pointer, "Git LFS pointer"),
    "page": (lambda path: path.write_text("\n <!DOCTYPE html><title>sign in</title>"), "HTML"),
    "json": (lambda path: path.write_text('{"weight_map": {"a": "b"}}'), "JSON document"),
    "json with a mark": (lambda path: path.write_bytes(b'\xef\xbb\xbf{"message": "Not Found"}'), "JSON document"),
    "TorchScript": (write_script, "TorchScript archive"),
    "zip": (write_zip, "is a ZIP archive"),
    "numpy": (lambda path: np.save(path.open("wb"), np.zeros(2)), "NumPy array"),
    "hdf5": (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100)), "HDF5"),
    "empty": (lambda path: path.write_bytes(b""), "empty file"),
    "folder": (lambda path: path.mkdir(), "is a folder, wanted a weights file"),
}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_files_of_another_kind_are_called_by_their_name(kind: str, suffix: str, tmp_path: Path) -> None:
    write, words = KINDS[kind]
    file = tmp_path / f"file{suffix}"
    write(file)
    for encoder in ("inception", "clip-vit-b-16", "dinov2", "lite0"):
        with pytest.raises(DataError, match=words) as found:
            open_encoder(encoder, weights=file)
        assert str(file) in str(found.value) and "\n" not in str(found.value)


def test_a_folder_names_the_file_that_may_be_meant(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "own.safetensors")
    with pytest.raises(DataError, match=r"is a folder, wanted a weights file; give .*own\.safetensors"):
        weights_hash(tmp_path)


CLIP_OF_TRANSFORMERS = {"text_model.final_layer_norm.bias": (4,), "vision_model.post_layernorm.bias": (4,)}
DINO_OF_TRANSFORMERS = {"embeddings.cls_token": (1, 1, 384), "encoder.layer.0.norm1.bias": (384,)}


@pytest.mark.parametrize("names", [CLIP_OF_TRANSFORMERS, DINO_OF_TRANSFORMERS, {"cls_token": ()}, {"a.b": (2,)}, {}])
def test_tensors_of_another_layout_are_named_in_one_line(names: dict[str, tuple[int, ...]], tmp_path: Path) -> None:
    file = tmp_path / "other.safetensors"
    save_file({name: torch.zeros(shape) for name, shape in names.items()}, file)
    what = "transformers'" if names in (CLIP_OF_TRANSFORMERS, DINO_OF_TRANSFORMERS) else "tensors"
    for encoder in ("inception", "clip-vit-b-16", "dinov2", "lite0"):
        with pytest.raises(DataError, match=f"holds .*{what}") as found:
            open_encoder(encoder, weights=file)
        assert str(file) in str(found.value) and "\n" not in str(found.value) and len(str(found.value)) < 600


def test_devices_pipes_and_dangling_links_are_refused_at_once(tmp_path: Path) -> None:
    """In a process of its own, which a device that never ends would fill and a pipe would stop."""
    code = """
import sys
from pathlib import Path
from ccbench.base.tensor_files import is_pickle, load_safetensors, load_state, weights_hash
from ccbench.errors import CcbenchError
from ccbench.base.images import open_image, sha256_file
for name in sys.argv[1:]:
    for read in (weights_hash, load_state, load_safetensors, is_pickle, sha256_file, open_image):
        try:
            read(Path(name))
        except CcbenchError as error:
            assert name in str(error) and "\\n" not in str(error), error
        else:
            raise SystemExit(f"{read.__name__} has read {name}")
"""
    files = no_plain_files(tmp_path / "odd", ".safetensors")
    ran = subprocess.run([sys.executable, "-c", code, *map(str, files)], capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0, ran.stderr


def test_no_pickle_is_read_for_more_than_tensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark, file = tmp_path / "ran", tmp_path / "weights.pth"
    torch.save({"state_dict": {"a": torch.zeros(1)}, "meta": Bomb(mark)}, file)
    with pytest.raises(DataError, match="not a checkpoint of plain tensors"):
        load_state(file)
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")  # as some tutorials advise
    with tensors_only(), pytest.raises(pickle.UnpicklingError):
        torch.load(file, weights_only=False)
    assert not mark.exists() and os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] == "1"
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ


@pytest.fixture
def pickled(tmp_path: Path) -> Path:
    """A backbone in diffusers' layout whose weights are pickles, and one of them a bomb."""
    folder = tmp_path / "backbone"
    write_tiny_backbone(folder)
    for file in folder.rglob("*.safetensors"):
        name = "pytorch_model.bin" if file.parent.name == "text_encoder" else "diffusion_pytorch_model.bin"
        torch.save(load_file(file), file.with_name(name))
        file.unlink()
    return folder


def test_a_folder_of_pickles_needs_the_users_word(pickled: Path, tmp_path: Path) -> None:
    for read in (load_backbone, open_reconstruction):
        with pytest.raises(UsageError, match=r"\.bin: is a PyTorch pickle; .* --allow-pickle"):
            read(str(pickled))
    load_backbone(str(pickled), allow_pickle=True)
    unet = pickled / "unet" / "diffusion_pytorch_model.bin"
    torch.save({**torch.load(unet), "more": Bomb(tmp_path / "ran")}, unet)
    with pytest.raises(CcbenchError) as found:
        load_backbone(str(pickled), allow_pickle=True)
    assert "\n" not in str(found.value) and not (tmp_path / "ran").exists()


def test_a_pretrained_controlnet_of_pickles_needs_the_users_word(tmp_path: Path) -> None:
    from diffusers import ControlNetModel, UNet2DConditionModel

    write_tiny_backbone(tmp_path / "backbone")
    unet = UNet2DConditionModel.from_pretrained(tmp_path / "backbone" / "unet")
    control = ControlNetModel.from_unet(unet)
    folder = tmp_path / "control"
    control.save_pretrained(folder, safe_serialization=False)
    with pytest.raises(UsageError, match=r"diffusion_pytorch_model\.bin: is a PyTorch pickle"):
        load_pretrained(control, str(folder), allow_pickle=False)
    load_pretrained(control, str(folder), allow_pickle=True)


def test_a_model_folder_with_a_device_is_refused(tmp_path: Path) -> None:
    write_tiny_backbone(tmp_path / "backbone")
    file = tmp_path / "backbone" / "vae" / "config.json"
    file.unlink()
    file.symlink_to("/dev/zero")
    with pytest.raises(DataError, match=r"config\.json: is no plain file"):
        load_backbone(str(tmp_path / "backbone"))


def test_a_checked_file_is_what_was_written_and_any_bit_counts(tmp_path: Path) -> None:
    file = tmp_path / "state.safetensors"
    tensors = {"b": torch.arange(6.0).view(2, 3), "a": torch.ones((), dtype=torch.bfloat16), "none": torch.empty(0)}
    save_checked(file, tensors, {"pass": 1, "rate": 0.1})
    found, facts = load_checked(file)
    assert facts == {"pass": 1, "rate": 0.1} and found.keys() == tensors.keys()
    assert all(
        torch.equal(found[name], tensor) and found[name].dtype == tensor.dtype for name, tensor in tensors.items()
    )
    data = file.read_bytes()
    again = tmp_path / "again.safetensors"
    save_checked(again, tensors, {"pass": 1, "rate": 0.1})
    assert again.read_bytes() == data
    rng = np.random.default_rng(0)
    for place in (*rng.integers(8, len(data), 60).tolist(), data.index(b"pass")):
        file.write_bytes(data[:place] + bytes([data[place] ^ (1 << int(rng.integers(8)))]) + data[place + 1 :])
        try:
            found, facts = load_checked(file)
        except DataError:
            continue
        # a bit that changes neither a tensor nor a fact, such as one of the header's order
        assert facts == {"pass": 1, "rate": 0.1} and all(torch.equal(found[name], tensors[name]) for name in tensors)
    save_file(tensors, file)
    with pytest.raises(DataError, match="differs from its checksum"):
        load_checked(file)
    with pytest.raises(MissingError):
        load_checked(tmp_path / "none")


def test_a_header_that_is_nested_too_deeply_is_no_crash(tmp_path: Path) -> None:
    file = tmp_path / "deep.safetensors"
    header = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    file.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(DataError, match="not a whole safetensors file"):
        load_safetensors(file)
    save_checked(file, {}, json.loads("[" * 900 + "]" * 900) and {"deep": json.loads("[" * 900 + "]" * 900)})
    load_checked(file)
