"""InceptionV3 of the original FID, as torch-fidelity runs it: the encoder of `fid` and `kid`."""

import io
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from ccbench.assets import load_state
from ccbench.errors import DataError
from ccbench.features.base import check_images, kept_random_state, run_batches
from ccbench.images import sha256_file
from ccbench.types import Image


class InceptionEncoder:
    """Pooled features (N, 2048); the network itself resizes to 299 x 299 by TensorFlow 1's bilinear filter."""

    id = "inception"
    dim = 2048

    def __init__(self, weights: Path, device: str) -> None:
        self.signature = f"enc:inception-tf1|w:{sha256_file(weights)[:8]}|resize:tf1-bilinear299"
        self.path = f"eager {device}"
        self._device = device
        self._network = _load(weights).to(device).to(memory_format=torch.channels_last)

    def encode_images(self, images: Sequence[Image]) -> NDArray[np.float32]:
        """Return (N, 2048) features, in order. Images of other sizes than their neighbours go in their own batches."""
        check_images(images, self.id)
        runs = [list(run) for _, run in groupby(images, key=lambda image: image.shape)]
        parts = [run_batches(run, _prepare, self._forward, self.dim, self._device) for run in runs]
        return np.concatenate([np.empty((0, self.dim), dtype=np.float32), *parts])

    def _forward(self, batch: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self._network(batch)[0]
        return features


def open(weights: Path, device: str) -> InceptionEncoder:
    """Return the encoder with a PyTorch or safetensors file of torch-fidelity's InceptionV3."""
    return InceptionEncoder(weights, device)


def _load(weights: Path) -> torch.nn.Module:
    # The extractor can only read a file, and unpickles it unsafely: hand it a copy of tensors that were read safely.
    copy = io.BytesIO()
    torch.save(load_state(weights), copy)
    copy.seek(0)
    try:
        with kept_random_state():
            network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=copy)
    except RuntimeError as error:
        raise DataError(f"encoder inception: {weights} is not torch-fidelity's InceptionV3") from error
    module: torch.nn.Module = network.eval()
    return module


def _prepare(images: Sequence[Image]) -> torch.Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)  # (B, 3, H, W) uint8
