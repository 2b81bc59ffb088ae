"""What the CLIP encoders share: an open_clip network, its preprocessing and a tokenizer."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray
from open_clip.model import CLIP, CustomTextCLIP
from open_clip.transform import PreprocessCfg, image_transform_v2

from ccbench.assets import load_state
from ccbench.errors import DataError
from ccbench.features.base import check_images, kept_random_state, run_batches
from ccbench.images import sha256_file
from ccbench.types import Image

_RESIZES = {"squash": "", "shortest": "-crop", "longest": "-pad"}


class SpecialTokens(NamedTuple):
    """Ids of the tokens around and after a text."""

    begin: int
    end: int
    pad: int


def build_network(model_cfg: dict[str, Any], weights: Path, encoder: str) -> CLIP | CustomTextCLIP:
    """Return the open_clip network of `model_cfg` (open_clip's own form) in float32 with the tensors of `weights`.

    Built from its class and not through open_clip's factory, which logs to the root logger and may go to the hub.

    Raises:
        DataError: the configuration is not open_clip's, or the tensors do not fit it.
    """
    settings = dict(model_cfg)
    kind = CustomTextCLIP if settings.pop("custom_text", False) else CLIP
    state = load_state(weights)
    try:
        with kept_random_state():
            network = kind(**settings)
        network.load_state_dict(state)
    except (TypeError, KeyError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0][:160]
        raise DataError(f"encoder {encoder}: {weights} and its configuration do not fit ({reason})") from error
    return network.float().eval().requires_grad_(False)


class ClipEncoder:
    """Projected features (N, D), not normalised, of an open_clip network's two towers.

    `tokenize` gives the token ids of a text without the special ones.
    """

    def __init__(
        self,
        name: str,
        network: CLIP | CustomTextCLIP,
        dim: int,
        weights: Path,
        preprocess: PreprocessCfg,
        tokenize: Callable[[str], list[int]],
        special: SpecialTokens,
        device: str,
    ) -> None:
        size = preprocess.size if isinstance(preprocess.size, int) else preprocess.size[0]
        resize = f"clean-{preprocess.interpolation}{size}{_RESIZES[preprocess.resize_mode]}"
        self.id = name
        self.signature = f"enc:{name}|w:{sha256_file(weights)[:8]}|resize:{resize}"
        self.path = f"eager {device}"
        self._network = network.to(device)
        self._transform = image_transform_v2(preprocess, is_train=False)
        self._tokenize = tokenize
        self._special = special
        self._length = int(network.context_length)
        self._device = device
        self.dim = dim

    def encode_images(self, images: Sequence[Image]) -> NDArray[np.float32]:
        """Return (N, D) features, in order."""
        check_images(images, self.id)
        return run_batches(images, self._prepare_images, self._network.encode_image, self.dim, self._device)

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return (N, D) features; of a long text the first 75 tokens count, both special tokens are kept."""
        return run_batches(texts, self._prepare_texts, self._network.encode_text, self.dim, self._device)

    def count_truncated(self, texts: Sequence[str]) -> int:
        """Return how many texts have more tokens than the 75 that fit between the special ones."""
        return sum(len(self._tokenize(text)) > self._length - 2 for text in texts)

    def _prepare_images(self, images: Sequence[Image]) -> torch.Tensor:
        return torch.stack([self._transform(PIL.Image.fromarray(image)) for image in images])

    def _prepare_texts(self, texts: Sequence[str]) -> torch.Tensor:
        tokens = torch.full((len(texts), self._length), self._special.pad, dtype=torch.long)
        for row, text in enumerate(texts):
            ids = [self._special.begin, *self._tokenize(text)[: self._length - 2], self._special.end]
            tokens[row, : len(ids)] = torch.tensor(ids)
        return tokens
