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
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer

from ccbench.assets import load_state
from ccbench.errors import DataError
from ccbench.features.base import check_images, kept_random_state, run_batches
from ccbench.features.fused import fuse
from ccbench.features.paths import open_tower
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
        self._network = network.to(device)
        self._transform = image_transform_v2(preprocess, is_train=False)
        self._tokenize = tokenize
        self._special = special
        self._length = int(network.context_length)
        self._device = device
        self.dim = dim
        self._tower = open_tower(network.visual, self._prepare_images, self.signature, device, _fuse_vision)
        self.path, self.path_error = self._tower.path, self._tower.error

    def encode_images(self, images: Sequence[Image]) -> NDArray[np.float32]:
        """Return (N, D) features, in order."""
        check_images(images, self.id)
        run, split = self._tower.run, self._tower.split
        return run_batches(images, self._prepare_images, run, self.dim, self._device, split=split)

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return (N, D) features; of a long text the first 75 tokens count, both special tokens are kept."""
        split = self._device == "cpu"
        return run_batches(texts, self._prepare_texts, self._forward_texts, self.dim, self._device, split=split)

    def count_truncated(self, texts: Sequence[str]) -> int:
        """Return how many texts have more tokens than the 75 that fit between the special ones."""
        return sum(len(self._tokenize(text)) > self._length - 2 for text in texts)

    def _prepare_images(self, images: Sequence[Image]) -> torch.Tensor:
        return torch.stack([self._transform(PIL.Image.fromarray(image)) for image in images])

    def _forward_texts(self, tokens: torch.Tensor) -> torch.Tensor:
        network = self._network
        features: torch.Tensor
        if not isinstance(network, CLIP) or network.attn_mask is None or network.text_pool_type != "argmax":
            features = network.encode_text(tokens)
            return features
        # A causal mask lets nothing behind the end token into the features, so what is behind all of them is cut.
        length = int(tokens.argmax(dim=1).max()) + 1
        x = network.token_embedding(tokens[:, :length]) + network.positional_embedding[:length]
        x = network.ln_final(network.transformer(x, attn_mask=network.attn_mask[:length, :length]))
        features = x[torch.arange(len(x)), tokens.argmax(dim=1)]
        projection = network.text_projection
        features = projection(features) if isinstance(projection, torch.nn.Linear) else features @ projection
        return features

    def _prepare_texts(self, texts: Sequence[str]) -> torch.Tensor:
        tokens = torch.full((len(texts), self._length), self._special.pad, dtype=torch.long)
        for row, text in enumerate(texts):
            ids = [self._special.begin, *self._tokenize(text)[: self._length - 2], self._special.end]
            tokens[row, : len(ids)] = torch.tensor(ids)
        return tokens


def _fuse_vision(tower: torch.nn.Module) -> torch.nn.Module:
    """Return `fuse(tower)`, a vision transformer's last block cut to the class token: no other is read after it."""
    fused = fuse(tower)
    if isinstance(fused, VisionTransformer) and fused.attn_pool is None and fused.pool_type == "tok":
        blocks = fused.transformer.resblocks
        if type(blocks[-1]) is ResidualAttentionBlock and not hasattr(blocks[-1], "ln_1_kv"):
            blocks[-1] = _ClassTokenBlock(blocks[-1])
    return fused


class _ClassTokenBlock(torch.nn.Module):
    """A last attention block that gives (B, 1, D), the class token, of (B, L, D)."""

    def __init__(self, block: torch.nn.Module) -> None:
        super().__init__()
        self._block = block

    def forward(self, x: torch.Tensor, attn_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Return what the block would give for the first token."""
        block, normed = self._block, self._block.ln_1(x)
        token = x[:, :1] + block.ls_1(block.attention(normed[:, :1], normed, normed))
        result: torch.Tensor = token + block.ls_2(block.mlp(block.ln_2(token)))
        return result
