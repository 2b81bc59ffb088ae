"""Files that are not code: the shipped weights, the user's cache, and weights files checked before they are loaded."""

import functools
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ccbench.errors import DataError, MissingError, VerificationError
from ccbench.files import write_atomic
from ccbench.images import sha256_file
from ccbench.text import one_line

if TYPE_CHECKING:
    import torch

WEIGHTS_ROOT = Path(__file__).parent / "weights"
CARD = "card.json"
BackboneKind = Literal["shipped", "folder", "file", "hub"]
_LOOKS_LIKE = {  # first bytes -> what such a file is
    b"<": "an HTML or XML page, such as a download's error page",
    b"version https://git-lfs": "a Git LFS pointer, not the file it points to",
    b"PK\x03\x04": "a PyTorch pickle archive",
    b"\x80": "a Python pickle",
    b"\x1f\x8b": "a gzip archive",
}


def home() -> Path:
    """Return the folder of ccbench's caches: `CCBENCH_HOME`, else `ccbench` in the XDG cache folder. Not created."""
    if own := os.environ.get("CCBENCH_HOME"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "ccbench"


def shipped_weights(name: str) -> Path:
    """Return the folder of the shipped weights `name`, verified once per process.

    Its `card.json` holds `sha256`, an object from file path (relative, forward slashes) to hex digest; every file of
    the folder but the card must be in it.

    Raises:
        MissingError: the folder, its card or a listed file is not there.
        VerificationError: a file differs from the card or is not on it.
    """
    return _verified(WEIGHTS_ROOT / name)


@functools.cache
def _verified(folder: Path) -> Path:
    card_path = folder / CARD
    if not card_path.is_file():
        raise MissingError(f"{folder}: no shipped weights here ({CARD} is missing); reinstall ccbench")
    try:
        listed: dict[str, str] = json.loads(card_path.read_text(encoding="utf-8"))["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise VerificationError(
            f"{card_path}: not a card with `sha256` per file ({error}); reinstall ccbench"
        ) from error
    found = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path != card_path and not path.name.startswith(".")
    }
    if missing := sorted(set(listed) - found):
        raise MissingError(f"{folder / missing[0]}: listed in {CARD} but not there; reinstall ccbench")
    if unlisted := sorted(found - set(listed)):
        raise VerificationError(f"{folder / unlisted[0]}: not listed in {CARD}; remove it or reinstall ccbench")
    for file, wanted in listed.items():
        if (digest := sha256_file(folder / file)) != wanted:
            raise VerificationError(
                f"{folder / file}: sha256 is {digest[:12]}, its card says {wanted[:12]}; reinstall ccbench"
            )
    return folder


class BackboneSource(NamedTuple):
    """Where a user has the protocol's backbone lie; None = where the protocol says. The weights must be the same.

    Attributes:
        allow_pickle: whether a file may be a PyTorch pickle, of which only tensors are read.
    """

    reference: str | None = None
    allow_pickle: bool = False


def backbone_kind(name: str) -> BackboneKind:
    """Return what the name of a backbone is.

    Raises:
        MissingError: neither a shipped name, a folder, a file nor a hub id (`owner/name`).
    """
    if (WEIGHTS_ROOT / name).is_dir() and "/" not in name:
        return "shipped"
    if Path(name).exists():
        return "folder" if Path(name).is_dir() else "file"
    if re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name):
        return "hub"
    shipped = sorted(path.parent.name for path in WEIGHTS_ROOT.glob("*/model_index.json"))
    raise MissingError(
        f"backbone {name!r}: no such file or folder; wanted a shipped one ({', '.join(shipped)}), a folder in "
        "diffusers format, a single-file checkpoint, or a hub id (owner/name)"
    )


def find_backbone(name: str) -> str:
    """Return the folder of a shipped backbone, checked; any other backbone is returned as it is.

    Raises:
        MissingError: see `backbone_kind`. VerificationError: shipped weights differ from their card.
    """
    return str(shipped_weights(name)) if backbone_kind(name) == "shipped" else name


def locate_backbone(name: str) -> Path:
    """Return where a backbone lies on this machine; nothing is fetched.

    Raises:
        MissingError: see `backbone_kind`, or a hub id that the hub's cache does not hold.
    """
    if backbone_kind(name) != "hub":
        return Path(find_backbone(name))
    import huggingface_hub

    cached = huggingface_hub.try_to_load_from_cache(name, "unet/config.json")
    if not isinstance(cached, str):
        raise MissingError(
            f"backbone {name}: not in the hub's cache; the first run fetches it, or give a copy with --backbone "
            "(a diffusers folder or a .safetensors checkpoint)"
        )
    return Path(cached).parent.parent


def load_safetensors(path: Path) -> "dict[str, torch.Tensor]":
    """Return the tensors of a safetensors file, on the CPU and in their stored dtype.

    Raises:
        MissingError: no such file. DataError: it is something else, or cut short.
    """
    import safetensors
    from safetensors.torch import load_file

    start = _first_bytes(path)
    if (kind := _kind(start)) is not None:
        raise DataError(f"{path}: is {kind}; wanted a safetensors file")
    try:
        return load_file(path)
    except safetensors.SafetensorError as error:
        raise DataError(f"{path}: not a whole safetensors file ({error}); copy or download it again") from error


def save_state(path: Path, network: "torch.nn.Module") -> None:
    """Write a network's tensors as safetensors, whole or not at all."""
    from safetensors.torch import save

    write_atomic(path, save({name: tensor.contiguous().cpu() for name, tensor in network.state_dict().items()}))


def load_state(path: Path) -> "dict[str, torch.Tensor]":
    """Return the tensors of a safetensors file or of a PyTorch checkpoint, told apart by content.

    Checkpoints are read with `weights_only=True`: nothing in them is executed. One that wraps its tensors in
    `state_dict` is unwrapped.

    Raises:
        MissingError: no such file. DataError: it is neither, cut short, or holds code (a TorchScript archive).
    """
    import pickle

    import torch

    if not is_pickle(path):
        return load_safetensors(path)
    archive = _first_bytes(path).startswith(b"PK")  # the older kind cannot be mapped
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
        raise DataError(
            f"{path}: not a checkpoint of plain tensors ({one_line(error, 120)}); wanted safetensors"
        ) from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise DataError(f"{path}: holds {type(state).__name__}, wanted a table of tensors (a state_dict)")
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
    if not path.is_file():
        raise MissingError(f"{path}: no such weights file")
    with path.open("rb") as file:
        return file.read(64)


def _kind(start: bytes) -> str | None:
    """Return what the first bytes of a file say it is; None for what may be safetensors."""
    if len(start) > 8 and start[8:9] == b"{":  # safetensors: 8 bytes of header length, then a JSON header
        return None
    text = start.lstrip()
    return next((kind for magic, kind in _LOOKS_LIKE.items() if text.startswith(magic)), None)
