"""Files that come with the package or lie in the user's caches: shipped weights, backbones, and where caches are."""

import functools
import json
import os
import re
from pathlib import Path
from typing import Literal, NamedTuple

from ccbench.base.images import sha256_file
from ccbench.errors import MissingError, VerificationError

WEIGHTS_ROOT = Path(__file__).parent.parent / "weights"
CARD = "card.json"
BackboneKind = Literal["shipped", "folder", "file", "hub"]


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
        MissingError: see `backbone_kind`.
        VerificationError: shipped weights differ from their card.
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
