"""InceptionV3 of the original FID with torch-fidelity's or clean-fid's resize: the encoders of `fid` and `kid`."""

import io
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

from ccbench.base.tensor_files import describe_tensors, load_state, weights_hash
from ccbench.errors import DataError
from ccbench.features.encoder import kept_random_state
from ccbench.features.fast_paths import TowerEncoder
from ccbench.types import Image

SIZE = 299


def open(weights: Path, device: str) -> TowerEncoder:
    """Return the encoder with a PyTorch or safetensors file of torch-fidelity's InceptionV3 and its resize.

    That is TensorFlow 1's bilinear filter without antialias. Features are pooled, (N, 2048).
    """
    return _open(weights, device, "inception", "tf1-bilinear", _tf1_bilinear)


def open_clean(weights: Path, device: str) -> TowerEncoder:
    """Return the encoder of the same file with clean-fid's resize: PIL's bicubic filter, antialias, float channels."""
    return _open(weights, device, "inception-clean", "clean-bicubic", _clean_bicubic)


def _open(weights: Path, device: str, name: str, mode: str, resize: Callable[[Image], torch.Tensor]) -> TowerEncoder:
    """Return the encoder of images that `resize` makes (3, 299, 299) float32 of, in 0..255."""
    signature = f"enc:inception-tf1|w:{weights_hash(weights)}|resize:{mode}{SIZE}"
    prepare = partial(_prepare, resize=resize)
    return TowerEncoder(name, signature, 2048, device, lambda: _load(weights, name).to(device), prepare)


def _load(weights: Path, encoder: str) -> torch.nn.Module:
    # The extractor can only read a file, and unpickles it unsafely: hand it a copy of tensors that were read safely.
    copy, state = io.BytesIO(), load_state(weights)
    torch.save(state, copy)
    copy.seek(0)
    try:
        with kept_random_state():
            network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=copy)
    except RuntimeError as error:
        found = describe_tensors(state)
        raise DataError(f"encoder {encoder}: {weights} holds {found}, wanted torch-fidelity's InceptionV3") from error
    # Its layers are registered in the order in which it runs them; before them it resizes, the last makes the logits.
    layers = [layer for name, layer in network.eval().named_children() if name != "fc"]
    return torch.nn.Sequential(*layers, torch.nn.Flatten())


def _prepare(images: Sequence[Image], resize: Callable[[Image], torch.Tensor]) -> torch.Tensor:
    return (torch.stack([resize(image) for image in images]) - 128) / 128  # (B, 3, 299, 299)


def _tf1_bilinear(image: Image) -> torch.Tensor:
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()  # (1, 3, H, W)
    resized: torch.Tensor = interpolate_bilinear_2d_like_tensorflow1x(pixels, size=(SIZE, SIZE), align_corners=False)
    return resized[0]


def _clean_bicubic(image: Image) -> torch.Tensor:
    size, bicubic = (SIZE, SIZE), PIL.Image.Resampling.BICUBIC
    channels = [PIL.Image.fromarray(image[:, :, c].astype(np.float32)).resize(size, bicubic) for c in range(3)]
    return torch.from_numpy(np.stack([np.asarray(channel) for channel in channels]).clip(0, 255))
