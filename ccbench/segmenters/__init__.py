"""The segmenters: their cards and settings, without torch; what they compute is in the files beside this one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from ccbench.errors import MissingError, UsageError
from ccbench.plugins.contract import Settings

_HUB = {"res2net50d": "timm/res2net50d.in1k", "pvt_v2_b2": "timm/pvt_v2_b2.in1k"}  # as timm, which imports torch, says

MMSEG = "mmseg:"
"""Starts the name of a segmenter that a configuration file of mmsegmentation describes."""


class SegmenterSettings(Settings):
    """How a segmenter is built and trained. Defaults are what PraNet and Polyp-PVT share in print.

    Attributes:
        weights: of the backbone; "hub", a file, "random", or "package" for the embedded one.
        ratios: of `size`, rounded to a multiple of 32: each batch is run at each, with an optimiser step of its own.
        clip: elements of a gradient are cut to this.
        window: of the loss, pixels.
        passes: over the real training images of a setting that has them once.
        schedule: "one-cycle" rises and falls over the whole training; a learning rate is its highest.
        optimizer: "config" = that of the file of mmsegmentation.
    """

    backbone: str = ""
    weights: str = "hub"
    size: int = Field(352, ge=32, description="pixels; images and masks are squashed to it")
    ratios: tuple[float, ...] = (0.75, 1.0, 1.25)
    bce: Literal["legacy_mean", "weighted"] = "legacy_mean"
    window: int = Field(31, ge=1)
    optimizer: Literal["adam", "adamw", "config"] = "adam"
    learning_rate: float = Field(1e-4, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    clip: float = Field(0.5, gt=0)
    schedule: Literal["constant", "one-cycle"] = "constant"
    batch_size: int = Field(16, ge=1)
    passes: int = Field(19, ge=1)
    precision: Literal["fp32", "fp16", "bf16"] = "fp32"

    def sides(self) -> list[int]:
        """Return the sizes in pixels at which a batch is run."""
        return [round(self.size * ratio / 32) * 32 for ratio in self.ratios]

    def steps(self, images: int, passes: int) -> int:
        """Return the optimiser steps of so many passes over so many images."""
        return passes * -(-images // self.batch_size) * len(self.ratios)


@dataclass(frozen=True)
class Segmenter:
    """A segmentation model and its two budgets.

    Attributes:
        published: settings as in print.
        mini: those of the small protocols.
        build_ref: `module:function` that turns settings into a model configuration of mmsegmentation.
        reported: test set -> mDice and mIoU in print, trained as published on real images alone.
    """

    name: str
    title: str
    paper: str
    published: SegmenterSettings
    mini: SegmenterSettings
    build_ref: str
    reported: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def model_config(self, settings: SegmenterSettings) -> dict[str, Any]:
        """Return the model's configuration, and register what it names."""
        module, _, function = self.build_ref.partition(":")
        build: Callable[[str, SegmenterSettings], dict[str, Any]] = getattr(import_module(module), function)
        return build(self.name, settings)


_ADAMW = SegmenterSettings(backbone="pvt_v2_b2", optimizer="adamw", weight_decay=1e-4, passes=99)
_MINI = SegmenterSettings(
    backbone="lite0",
    weights="package",
    size=96,
    ratios=(0.667, 1.0),
    window=9,
    optimizer="adamw",
    learning_rate=3e-3,
    weight_decay=1e-2,
    schedule="one-cycle",
    batch_size=8,
    passes=2,
)

SEGMENTERS: dict[str, Segmenter] = {
    one.name: one
    for one in (
        Segmenter(
            "pranet",
            "PraNet",
            "Fan et al., Parallel Reverse Attention Network for Polyp Segmentation, MICCAI 2020",
            SegmenterSettings(backbone="res2net50d"),
            _MINI,
            "ccbench.segmenters.networks.mmseg_configs:pranet",
            {
                "kvasir-seg": (0.898, 0.840),
                "cvc-clinicdb": (0.899, 0.849),
                "cvc-300": (0.871, 0.797),
                "cvc-colondb": (0.709, 0.640),
                "etis-larib": (0.628, 0.567),
            },
        ),
        Segmenter(
            "polyp-pvt",
            "Polyp-PVT",
            "Dong et al., Polyp-PVT: Polyp Segmentation with Pyramid Vision Transformers, CAAI AIR 2023",
            _ADAMW,
            _MINI,
            "ccbench.segmenters.networks.mmseg_configs:polyp_pvt",
            {
                "kvasir-seg": (0.917, 0.864),
                "cvc-clinicdb": (0.937, 0.889),
                "cvc-300": (0.900, 0.833),
                "cvc-colondb": (0.808, 0.727),
                "etis-larib": (0.787, 0.706),
            },
        ),
    )
}


def locate_weights(model: str) -> Path:
    """Return where the hub's cache holds the ImageNet weights of a published backbone; nothing is fetched.

    Raises:
        MissingError: it does not hold them.
    """
    from huggingface_hub import try_to_load_from_cache

    hub = _HUB[model]
    cached = try_to_load_from_cache(hub, "model.safetensors")
    if not isinstance(cached, str):
        raise MissingError(f"{hub}: not in the hub's cache; the first training fetches it, or --set weights=FILE")
    return Path(cached)


def find_segmenter(name: str) -> Segmenter:
    """Return a segmenter by its name, or `mmseg:PATH` for a configuration file of mmsegmentation.

    Raises:
        UsageError: an unknown name, or no such file.
    """
    if name in SEGMENTERS:
        return SEGMENTERS[name]
    if not name.startswith(MMSEG):
        raise UsageError(f"--segmenter {name}: wanted {', '.join(SEGMENTERS)}, or {MMSEG}PATH of a configuration file")
    path = Path(name.removeprefix(MMSEG))
    if not path.is_file():
        raise UsageError(f"--segmenter {name}: no such file; give a model configuration of mmsegmentation")
    published = SegmenterSettings(optimizer="config", ratios=(1.0,), passes=99)
    own = {"optimizer": "config", "schedule": "constant", "backbone": "", "weights": "hub", "ratios": (1.0,)}
    mini = _MINI.model_copy(update=own)
    return Segmenter(name, path.stem, str(path), published, mini, "ccbench.segmenters.networks.mmseg_configs:from_file")
