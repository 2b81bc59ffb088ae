"""Backbones for mmsegmentation: timm's feature pyramids, and the one whose ImageNet weights come with a pip package."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor

from ccbench.base.text import one_line
from ccbench.errors import CcbenchError, DataError, MissingError, UsageError
from ccbench.features.lite0 import load_lite0
from ccbench.segmenters.mmlab import MODELS, BaseModule


@MODELS.register_module()
class TimmPyramid(BaseModule):  # type: ignore[misc]  # mmengine is untyped
    """Levels of a network of timm, finest first.

    Args:
        model: timm's name.
        levels: numbers of its levels. options: further arguments of `timm.create_model`.
        weights: "hub" = ImageNet weights from timm's hub, fetched unless they are in its cache; a file; or "random".

    Raises:
        UsageError: timm has no such model.
        DataError: the file is damaged, or none of this network.
        MissingError: no such file, or the hub cannot be reached and its cache does not hold them.
    """

    def __init__(self, model: str, levels: Sequence[int], weights: str, **options: Any) -> None:
        super().__init__()
        self._is_init = True  # or mmengine would draw the weights anew
        if not timm.is_model(model):
            raise UsageError(f"--set backbone={model}: timm has no such model")
        given = {} if weights in ("hub", "random") else {"file": weights}
        if given and not Path(weights).is_file():
            raise MissingError(f"{weights}: no such file; wanted ImageNet weights of timm's {model}")
        try:
            self.network: Any = timm.create_model(
                model,
                pretrained=weights != "random",
                features_only=True,
                out_indices=tuple(levels),
                pretrained_cfg_overlay=given or None,
                **options,
            )
        except Exception as error:  # whatever a hub that is not reached raises, or a damaged file
            raise not_loaded(f"ImageNet weights of timm's {model}", weights, error) from error

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the levels of images (B, 3, H, W)."""
        levels: list[Tensor] = self.network(x)
        return levels


def not_loaded(what: str, weights: str, error: Exception) -> CcbenchError:
    """Return the error that says why `weights`, "hub" or a file, could not be loaded."""
    if weights == "hub":
        return MissingError(
            f"segmenter: {what} are not on this machine and cannot be fetched ({type(error).__name__}); "
            "give a file with --set weights=FILE"
        )
    reason = one_line(error, 120)
    return DataError(f"{weights}: holds no {what} ({reason}); give another file")


@MODELS.register_module()
class Lite0Pyramid(BaseModule):  # type: ignore[misc]
    """EfficientNet-Lite0 with ImageNet weights: levels of 24, 40, 112 and 320 channels at strides 4, 8, 16 and 32.

    Batch norm keeps ImageNet's statistics: batches of a small budget are too few for others.

    Args:
        levels: which of the four.
        frozen: stages, from the first, that keep their weights: they cost the most and change the least.
    """

    def __init__(self, levels: Sequence[int] = (0, 1, 2, 3), frozen: int = 2) -> None:
        super().__init__()
        self._is_init = True
        network: Any = load_lite0()
        self.network = network
        network.blocks[frozen:].requires_grad_(True)
        self._levels, self._frozen = [(1, 2, 4, 6)[level] for level in levels], frozen

    def train(self, mode: bool = True) -> "Lite0Pyramid":
        """Set the mode of everything but batch norm, which stays in evaluation."""
        super().train(mode)
        self.network.eval()
        return self

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the levels of images (B, 3, H, W) in -1..1."""
        learning, found = torch.is_grad_enabled(), []
        with torch.set_grad_enabled(False):
            x = self.network.bn1(self.network.conv_stem(x.contiguous(memory_format=torch.channels_last)))
        for number, stage in enumerate(self.network.blocks):
            with torch.set_grad_enabled(learning and number >= self._frozen):
                x = stage(x)
            if number in self._levels:
                found.append(x)
        return found
