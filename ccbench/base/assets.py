"""Files that are not code: the shipped weights, the user's cache, and weights files checked before they are loaded."""

import contextlib
import functools
import hashlib
import json
import os
import re
import zipfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ccbench.base.files import open_plain, whole_file, write_atomic
from ccbench.base.images import sha256_file
from ccbench.base.text import one_line
from ccbench.errors import DataError, MissingError, UsageError, VerificationError

if TYPE_CHECKING:
    import torch

WEIGHTS_ROOT = Path(__file__).parent.parent / "weights"
_LONGEST_HEADER = 100_000_000  # bytes, of safetensors
_TORN = (RuntimeError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError, OSError, RecursionError)
CARD = "card.json"
_CHECKED = "checked"  # one entry holds all: safetensors writes several in any order
BackboneKind = Literal["shipped", "folder", "file", "hub"]
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


def home() -> Path:
    """Return the folder of ccbench's caches: `CCBENCH_HOME`, else `ccbench` in the user's cache folder. Not created.

    It may be one that cannot be written; what would be kept there is then made anew each time.
    """
    own = os.environ.get("CCBENCH_HOME")
    return _expanded(own) if own else user_cache() / "ccbench"


def user_cache() -> Path:
    """Return the XDG cache folder, where Hugging Face's and torch's caches lie too unless they are told otherwise."""
    return _expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache")


def torch_home() -> Path:
    """Return the folder of torch's hub."""
    own = os.environ.get("TORCH_HOME")
    return _expanded(own) if own else user_cache() / "torch"


def hugging_face_home() -> Path:
    """Return the folder of Hugging Face's caches."""
    own = os.environ.get("HF_HOME")
    return _expanded(own) if own else user_cache() / "huggingface"


def _expanded(folder: str) -> Path:
    """Return a folder that may begin with `~`; without a home folder that is the root, where nobody but root writes."""
    try:
        return Path(folder).expanduser()
    except RuntimeError:
        return Path("/", folder.partition("/")[2])


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
        MissingError: no such file. DataError: it is no weights file: a folder, a device, a web page, a pointer.
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
        MissingError: no such file. DataError: it is something else, cut short, or differs from its checksum.
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
