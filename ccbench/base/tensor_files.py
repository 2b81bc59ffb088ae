"""Files of tensors: checked before they are loaded, nothing in them executed, written whole or not at all."""

import contextlib
import hashlib
import json
import os
import zipfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ccbench.base.files import open_plain, whole_file, write_atomic
from ccbench.base.images import sha256_file
from ccbench.base.text import one_line
from ccbench.errors import DataError, MissingError, UsageError

if TYPE_CHECKING:
    import torch

_LONGEST_HEADER = 100_000_000  # bytes, of safetensors
_TORN = (RuntimeError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError, OSError, RecursionError)
_CHECKED = "checked"  # one entry holds all: safetensors writes several in any order
_LOOKS_LIKE = {  # first bytes -> what such a file is
    b"<": "an HTML or XML page, such as a download's error page",
    b"version https://git-lfs": "a Git LFS pointer, not the file it points to",
    b"PK\x03\x04": "a PyTorch pickle archive",
    b"\x80": "a Python pickle",
    b"\x1f\x8b": "a gzip archive",
    b"{": "a JSON document, such as an error message or a list of weights files",
    b"GGUF": "a GGUF file",
    b"\x89HDF": "an HDF5 file, such as Keras writes",
    b"\x93NUMPY": "a NumPy array",
}
_WEIGHTS_SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")
_LAYOUTS = {  # names of tensors that tell whose they are -> what such weights are
    ("text_model.", "vision_model."): "transformers' CLIP",
    ("visual.", "transformer.resblocks."): "open_clip's CLIP",
    ("embeddings.cls_token", "encoder.layer."): "transformers' vision transformer",
    ("cls_token", "blocks.0."): "timm's vision transformer",
    ("model.diffusion_model.",): "a Stable Diffusion checkpoint in the original layout",
    ("down_blocks.", "mid_block."): "a network of diffusers",
    ("Conv2d_1a_3x3.", "Mixed_7c."): "InceptionV3",
    ("layer1.0.", "layer4.0."): "a ResNet",
}


def load_safetensors(path: Path) -> "dict[str, torch.Tensor]":
    """Return the tensors of a safetensors file, on the CPU and in their stored dtype.

    Raises:
        MissingError: no such file.
        DataError: it is something else, or cut short.
    """
    import safetensors
    from safetensors.torch import load_file

    if (kind := _kind(_first_bytes(path))) is not None:
        raise DataError(f"{path}: is {kind}; wanted a safetensors file")
    try:
        return load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError, RecursionError) as error:
        raise DataError(
            f"{path}: not a whole safetensors file ({one_line(error, 120)}); copy or download it again"
        ) from error


def weights_hash(path: Path) -> str:
    """Return the first eight hex digits of the sha256 of a weights file.

    Raises:
        MissingError: no such file.
        DataError: it is no weights file: a folder, a device, a web page, a pointer.
    """
    start = _first_bytes(path)
    if not is_pickle(path) and (kind := _kind(start)) is not None:
        raise DataError(f"{path}: is {kind}; wanted a weights file, .safetensors or a PyTorch checkpoint")
    return sha256_file(path)[:8]


def describe_tensors(names: Collection[str]) -> str:
    """Return what tensors of these names are, for a message about a file of another network."""
    for signs, what in _LAYOUTS.items():
        if all(any(name.startswith(sign) for name in names) for sign in signs):
            return what
    return f"{len(names)} tensors such as {one_line(min(names), 60)}" if names else "no tensors"


def save_state(path: Path, network: "torch.nn.Module") -> None:
    """Write a network's tensors as safetensors, whole or not at all."""
    from safetensors.torch import save

    write_atomic(path, save({name: tensor.contiguous().cpu() for name, tensor in network.state_dict().items()}))


def save_checked(path: Path, tensors: "Mapping[str, torch.Tensor]", facts: Mapping[str, Any]) -> None:
    """Write named tensors and a JSON object as one safetensors file with a checksum over both, whole or not at all.

    Raises:
        UsageError: it cannot be written.
    """
    text = json.dumps(facts, allow_nan=False)
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_tensors(path, plain, {_CHECKED: f"{_checksum(plain, text)} {text}"})


def save_tensors(path: Path, tensors: "Mapping[str, torch.Tensor]", metadata: dict[str, str] | None = None) -> None:
    """Write named tensors as one safetensors file, whole or not at all.

    Raises:
        UsageError: it cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        with whole_file(path) as temporary:  # not through memory, as write_atomic: a state may be gigabytes
            save_file(plain, temporary, metadata)
    except SafetensorError as error:
        raise UsageError(f"{path}: cannot be written ({error}); free the disk, and the same command goes on") from error


def load_checked(path: Path) -> "tuple[dict[str, torch.Tensor], dict[str, Any]]":
    """Return the tensors and the JSON object of a file of `save_checked`.

    Raises:
        MissingError: no such file.
        DataError: it is something else, cut short, or differs from its checksum.
    """
    from safetensors import safe_open

    tensors = load_safetensors(path)
    with safe_open(path, framework="pt") as file:
        checksum, _, text = (file.metadata() or {}).get(_CHECKED, "").partition(" ")
    if _checksum(tensors, text) != checksum:
        raise DataError(f"{path}: differs from its checksum; it was changed or damaged after it was written")
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: holds no JSON object ({one_line(error)})") from error
    if not isinstance(facts, dict):
        raise DataError(f"{path}: holds no JSON object")
    return tensors, facts


def under(prefix: str, tensors: "Mapping[str, torch.Tensor]") -> "dict[str, torch.Tensor]":
    """Return the tensors whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _checksum(tensors: "Mapping[str, torch.Tensor]", text: str) -> str:
    """Return sha256 hex over contiguous tensors by name, dtype, shape and bytes, and over a text."""
    import torch

    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"|{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


@contextlib.contextmanager
def tensors_only() -> Iterator[None]:
    """Let no library unpickle anything but tensors while inside, whatever it asks `torch.load` for."""
    wanted = {"TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "0"}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def load_state(path: Path) -> "dict[str, torch.Tensor]":
    """Return the tensors of a safetensors file or of a PyTorch checkpoint, recognised by its content.

    Checkpoints are read with `weights_only=True`: nothing in them is executed. One that wraps its tensors in
    `state_dict` is unwrapped.

    Raises:
        MissingError: no such file.
        DataError: it is neither, cut short, or holds code (a TorchScript archive).
    """
    import pickle

    import torch

    if not is_pickle(path):
        return load_safetensors(path)
    archive = _first_bytes(path).startswith(b"PK")  # the older kind cannot be mapped
    if archive and (kind := _archive_kind(path)) is not None:
        raise DataError(f"{path}: is {kind}; wanted a checkpoint of plain tensors, best as .safetensors")
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
    except (*_TORN, pickle.UnpicklingError) as error:
        reason = one_line(error, 120)
        raise DataError(f"{path}: not a checkpoint of plain tensors ({reason}); wanted safetensors") from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict):
        raise DataError(f"{path}: holds {type(state).__name__}, wanted a table of tensors (a state_dict)")
    if (other := next((key for key, value in state.items() if not isinstance(value, torch.Tensor)), None)) is not None:
        found = f"{one_line(other, 60)}, a {type(state[other]).__name__}"
        raise DataError(f"{path}: holds {found}, wanted a table of tensors (a state_dict)")
    return state


def is_pickle(path: Path) -> bool:
    """Return whether a weights file is a PyTorch checkpoint, told by content.

    Raises:
        MissingError: no such file.
    """
    return _kind(_first_bytes(path)) in (_LOOKS_LIKE[b"PK\x03\x04"], _LOOKS_LIKE[b"\x80"])


def key_misfits(found: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Say what is wrong with a file's tensors, name -> shape, one line a tensor; nothing when they fit."""
    wrong = [f"missing {key}, wanted {wanted[key]}" for key in wanted.keys() - found.keys()]
    wrong += [f"unknown {key} {found[key]}" for key in found.keys() - wanted.keys()]
    shared = wanted.keys() & found.keys()
    return wrong + [f"{key} of shape {found[key]}, wanted {wanted[key]}" for key in shared if found[key] != wanted[key]]


def _first_bytes(path: Path) -> bytes:
    """Return the start of a weights file; see `weights_hash`."""
    if not path.exists():
        raise MissingError(f"{path}: no such weights file")
    if path.is_dir():
        inside = sorted(file.name for file in path.iterdir() if file.suffix.lower() in _WEIGHTS_SUFFIXES)
        raise DataError(f"{path}: is a folder, wanted a weights file{f'; give {path / inside[0]}' if inside else ''}")
    with open_plain(path) as file:
        return file.read(64)


def _kind(start: bytes) -> str | None:
    """Return what the first bytes of a file say it is; None for what may be safetensors."""
    if not start:
        return "an empty file"
    if len(start) > 8 and int.from_bytes(start[:8], "little") < _LONGEST_HEADER:
        return None
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    return next((kind for magic, kind in _LOOKS_LIKE.items() if text.startswith(magic)), None)


def _archive_kind(path: Path) -> str | None:
    """Return what a ZIP archive is that is no PyTorch checkpoint; None for one that is, or is torn."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, ValueError, zipfile.BadZipFile):
        return None
    if any("/code/" in name or name.endswith("constants.pkl") for name in names):
        return "a TorchScript archive, which holds code"
    return None if any(name.endswith("data.pkl") for name in names) else "a ZIP archive"
