"""EfficientNet-Lite0 with ImageNet weights: the embedded encoder of the set distances."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import timm
import torch
from numpy.typing import NDArray

from ccbench.base.assets import describe_tensors, load_state, weights_hash
from ccbench.base.images import resize_image
from ccbench.errors import DataError
from ccbench.features.encoder import check_images, kept_random_state, run_batches
from ccbench.features.encoder_weights import find_lite0
from ccbench.features.fast_paths import open_tower
from ccbench.types import Image

SIZE = 224  # pixels, as trained: fed 128 px as they are, the features tell two hospitals apart less well
MEAN = STD = (0.5, 0.5, 0.5)  # as the weights were trained: TensorFlow's (x - 127.5) / 127.5, timm's card


class Lite0Encoder:
    """Globally pooled features (N, 1280) of timm's `tf_efficientnet_lite0` at 224 x 224 unless told otherwise.

    Images of other sizes are squashed to it by PIL's bicubic filter with antialias, on 8-bit channels.
    """

    id = "lite0"
    dim = 1280

    def __init__(self, weights: Path, device: str, size: int = SIZE) -> None:
        self.signature = f"enc:lite0|w:{weights_hash(weights)}|resize:clean-bicubic{size}"
        self._device, self._prepare = device, partial(_prepare, size=size)
        self._tower = open_tower(lambda: load_lite0(weights).to(device), self._prepare, self.signature, device)
        self.path, self.path_error = self._tower.path, self._tower.error

    def encode_images(self, images: Sequence[Image]) -> NDArray[np.float32]:
        """Return (N, 1280) features, in order."""
        check_images(images, self.id)
        run, split = self._tower.run, self._tower.split
        return run_batches(images, self._prepare, run, self.dim, self._device, split=split)


def open(weights: Path, device: str, size: int = SIZE) -> Lite0Encoder:
    """Return the encoder with the weights of the pip package, or another file of the same network.

    At another `size` its features are other ones, with another signature.
    """
    return Lite0Encoder(weights, device, size)


def load_lite0(weights: Path | None = None) -> torch.nn.Module:
    """Return timm's network in evaluation mode, frozen, its classifier replaced by the identity.

    Args:
        weights: a file of EfficientNet-Lite0's 296 tensors in order; None = that of the pip package.
    """
    weights = weights if weights is not None else find_lite0(offline=True)
    with kept_random_state():
        network: torch.nn.Module = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    own, state = network.state_dict(), load_state(weights)
    # The package names the same layers after another implementation; their order and shapes are timm's.
    if [tuple(tensor.shape) for tensor in own.values()] != [tuple(tensor.shape) for tensor in state.values()]:
        raise DataError(f"encoder lite0: {weights} holds {describe_tensors(state)}, wanted EfficientNet-Lite0's")
    network.load_state_dict(dict(zip(own, state.values(), strict=True)))
    network.classifier = torch.nn.Identity()
    return network.eval().requires_grad_(False)


def _prepare(images: Sequence[Image], size: int) -> torch.Tensor:
    pixels = torch.from_numpy(np.stack([resize_image(image, size) for image in images]))  # (B, S, S, 3)
    mean, std = torch.tensor(MEAN).view(1, 3, 1, 1), torch.tensor(STD).view(1, 3, 1, 1)
    return (pixels.permute(0, 3, 1, 2).float() / 255 - mean) / std  # (B, 3, S, S), channels last
