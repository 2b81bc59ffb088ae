"""Weights files: what they are is told from their content, and shipped ones must match their card."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ccbench.base import assets, tensor_files
from ccbench.base.images import sha256_file
from ccbench.errors import CcbenchError, DataError, MissingError, VerificationError


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(assets, "WEIGHTS_ROOT", tmp_path)
    folder = tmp_path / "net"
    (folder / "unet").mkdir(parents=True)
    (folder / "unet" / "model.bin").write_bytes(b"numbers")
    card = {"sha256": {"unet/model.bin": sha256_file(folder / "unet" / "model.bin")}}
    (folder / "card.json").write_text(json.dumps(card))
    return folder


def test_shipped_weights_that_match_their_card(shipped: Path) -> None:
    assert assets.shipped_weights("net") == shipped


def test_shipped_weights_that_do_not(shipped: Path) -> None:
    cases: list[tuple[str, type[CcbenchError]]] = [
        ("changed", VerificationError),
        ("extra", VerificationError),
        ("gone", MissingError),
        ("card", VerificationError),
    ]
    (shipped / "unet" / "model.bin").write_bytes(b"others!")
    for case, error in cases:
        if case == "extra":
            (shipped / "more.bin").write_bytes(b"")
        if case == "gone":
            (shipped / "unet" / "model.bin").unlink()
        if case == "card":
            (shipped / "card.json").write_text("{}")
        with pytest.raises(error) as caught:
            assets.shipped_weights("net")
        assert str(shipped) in str(caught.value), case
    with pytest.raises(MissingError, match=r"card\.json is missing"):
        assets.shipped_weights("unknown")


def test_home_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CCBENCH_HOME", "/x/y")
    assert assets.home() == Path("/x/y")
    monkeypatch.delenv("CCBENCH_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert assets.home() == Path("/cache/ccbench")


def test_state_of_both_formats_is_equal(tmp_path: Path) -> None:
    state = {"w": torch.arange(6.0).view(2, 3)}
    save_file(state, tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "a.pt")
    torch.save({"state_dict": state}, tmp_path / "wrapped.pt")
    for name in ("a.safetensors", "a.pt", "wrapped.pt"):
        assert torch.equal(tensor_files.load_state(tmp_path / name)["w"], state["w"]), name
    (tmp_path / "renamed.pt").write_bytes((tmp_path / "a.safetensors").read_bytes())  # content counts, not the suffix
    assert torch.equal(tensor_files.load_state(tmp_path / "renamed.pt")["w"], state["w"])


def test_files_that_are_no_weights_say_what_they_are(tmp_path: Path) -> None:
    save_file({"w": torch.zeros(100)}, tmp_path / "whole")
    torch.save({"w": torch.zeros(2)}, tmp_path / "pickle")
    contents = {
        "html": (b"\n<!DOCTYPE html><html>", "HTML"),
        "lfs": (b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
        "cut": ((tmp_path / "whole").read_bytes()[:-8], "not a whole safetensors"),
        "archive": ((tmp_path / "pickle").read_bytes(), "PyTorch pickle"),
        "empty": (b"", "an empty file"),
    }
    for name, (content, words) in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=words):
            tensor_files.load_safetensors(tmp_path / name)
    with pytest.raises(MissingError, match="gone"):
        tensor_files.load_safetensors(tmp_path / "gone")


class _Trap:
    def __reduce__(self) -> tuple[object, ...]:
        return (exec, ("raise SystemExit('a pickle was executed')",))


@pytest.mark.filterwarnings("ignore")  # torch says that TorchScript is old, and that this file is one
def test_a_checkpoint_that_holds_code_is_refused_unexecuted(tmp_path: Path) -> None:
    torch.save({"w": _Trap()}, tmp_path / "trap.pt")
    with pytest.raises(DataError, match="plain tensors"):
        tensor_files.load_state(tmp_path / "trap.pt")
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), tmp_path / "script.pt")
    with pytest.raises(DataError, match="plain tensors"):
        tensor_files.load_state(tmp_path / "script.pt")


def test_where_there_is_no_home_folder_caches_lie_where_nobody_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in containers whose user id has no entry: `Path.home` and `expanduser` raise there."""

    def none(*_: object) -> str:
        raise RuntimeError("Could not determine home directory.")

    for name in ("CCBENCH_HOME", "XDG_CACHE_HOME", "TORCH_HOME", "HF_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "expanduser", none)
    assert assets.home() == Path("/.cache/ccbench")
    assert (assets.torch_home(), assets.hugging_face_home()) == (Path("/.cache/torch"), Path("/.cache/huggingface"))
    monkeypatch.setenv("CCBENCH_HOME", "~nobody/here")
    assert assets.home() == Path("/here")
