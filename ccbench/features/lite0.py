"""EfficientNet-Lite0 with ImageNet weights: the embedded encoder of the set distances."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import timm
import torch

from ccbench.base.images import resize_image
from ccbench.base.tensor_files import describe_tensors, load_state, weights_hash
from ccbench.errors import DataError
from ccbench.features.encoder import kept_random_state
from ccbench.features.encoder_weights import find_lite0
from ccbench.features.fast_paths import TowerEncoder
from ccbench.types import Image

SIZE = 224  # pixels, as trained: fed 128 px as they are, the features tell two hospitals apart less well
MEAN = STD = (0.5, 0.5, 0.5)  # as the weights were trained: TensorFlow's (x - 127.5) / 127.5, timm's card


def open(weights: Path, device: str, size: int = SIZE) -> TowerEncoder:
    """Return the encoder with the weights of the pip package, or another file of the same network.

    Globally pooled features (N, 1280) of timm's `tf_efficientnet_lite0`. Images of other sizes are squashed to `size`
    by PIL's bicubic filter with antialias, on 8-bit channels; at another `size` features have another signature.
    """
    signature = f"enc:lite0|w:{weights_hash(weights)}|resize:clean-bicubic{size}"
    prepare = partial(_prepare, size=size)
    return TowerEncoder("lite0", signature, 1280, device, lambda: load_lite0(weights).to(device), prepare)


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
