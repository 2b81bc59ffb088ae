"""What the CLIP encoders share: an open_clip network, its preprocessing and a tokenizer."""

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray
from open_clip.model import CLIP, CustomTextCLIP
from open_clip.transform import PreprocessCfg, image_transform_v2
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer

from ccbench.base.tensor_files import describe_tensors, load_state, weights_hash
from ccbench.base.text import one_line
from ccbench.errors import DataError
from ccbench.features.encoder import kept_random_state, run_batches
from ccbench.features.fast_paths import TowerEncoder
from ccbench.features.fused import fuse
from ccbench.types import Image

_STEP = 8  # tokens: texts are filled up to a multiple
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
        found = f"holds {describe_tensors(state)}, which does not fit its configuration ({one_line(error, 120)})"
        raise DataError(f"encoder {encoder}: {weights} {found}; wanted open_clip's file of this network") from error
    return network.float().eval().requires_grad_(False)


class ClipEncoder(TowerEncoder):
    """Projected features (N, D), not normalised, of an open_clip network's two towers.

    Args:
        model_cfg: as `build_network` takes it.
        tokenize: gives the token ids of a text without the special ones.
    """

    def __init__(
        self,
        name: str,
        model_cfg: dict[str, Any],
        weights: Path,
        preprocess: PreprocessCfg,
        tokenize: Callable[[str], list[int]],
        special: SpecialTokens,
        device: str,
    ) -> None:
        size = preprocess.size if isinstance(preprocess.size, int) else preprocess.size[0]
        resize = f"clean-{preprocess.interpolation}{size}{_RESIZES[preprocess.resize_mode]}"
        signature = f"enc:{name}|w:{weights_hash(weights)}|resize:{resize}"
        config = hashlib.sha256(json.dumps(model_cfg, sort_keys=True).encode()).hexdigest()[:8]
        self._build: Callable[[], CLIP | CustomTextCLIP] = lambda: build_network(model_cfg, weights, name).to(device)
        self._transform = image_transform_v2(preprocess, is_train=False)
        self._tokenize = tokenize
        self._special = special
        self._length = int(model_cfg.get("text_cfg", {}).get("context_length", 77))
        super().__init__(
            name,
            signature,
            int(model_cfg.get("embed_dim", 0)),
            device,
            lambda: self._network.visual,
            self._prepare_images,
            _fuse_vision,
            f"{signature}|config:{config}",
        )

    @cached_property
    def _network(self) -> CLIP | CustomTextCLIP:
        return self._build()

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return (N, D) features; of a long text the first 75 tokens count, both special tokens are kept."""
        rows = [self._ids(text) for text in texts]
        features = np.empty((len(rows), self.dim), dtype=np.float32)
        forward = _causal_text_tower(self._network)
        # Together with others of about their own length, so that no text's features depend on another text.
        lengths = [min(-(-len(row) // _STEP) * _STEP, self._length) if forward else self._length for row in rows]
        for length in sorted(set(lengths)):
            numbers = [number for number, own in enumerate(lengths) if own == length]
            alike, pad = [rows[number] for number in numbers], partial(self._pad, length=length)
            network = forward or self._network.encode_text
            features[numbers] = run_batches(alike, pad, network, self.dim, self._device)
        return features

    def count_truncated(self, texts: Sequence[str]) -> int:
        """Return how many texts have more tokens than the 75 that fit between the special ones."""
        return sum(len(self._tokenize(text)) > self._length - 2 for text in texts)

    def _prepare_images(self, images: Sequence[Image]) -> torch.Tensor:
        return torch.stack([self._transform(PIL.Image.fromarray(image)) for image in images])

    def _ids(self, text: str) -> list[int]:
        return [self._special.begin, *self._tokenize(text)[: self._length - 2], self._special.end]

    def _pad(self, rows: Sequence[list[int]], length: int) -> torch.Tensor:
        return torch.tensor([[*row, *[self._special.pad] * (length - len(row))] for row in rows])


def _causal_text_tower(network: CLIP | CustomTextCLIP) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """Return the text tower for tokens (B, L) cut behind their end tokens: a causal mask keeps those from the features.

    None if the network is not of this kind. Its own function takes its full length only.
    """
    if not isinstance(network, CLIP) or network.attn_mask is None or network.text_pool_type != "argmax":
        return None

    def forward(tokens: torch.Tensor) -> torch.Tensor:
        length = tokens.shape[1]
        x = network.token_embedding(tokens) + network.positional_embedding[:length]
        x = network.ln_final(network.transformer(x, attn_mask=network.attn_mask[:length, :length]))
        x = x[torch.arange(len(x)), tokens.argmax(dim=1)]
        projection = network.text_projection
        features: torch.Tensor = projection(x) if isinstance(projection, torch.nn.Linear) else x @ projection
        return features

    return forward


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

    def __init__(self, block: Any) -> None:
        super().__init__()
        self._block: Any = block

    def forward(self, x: torch.Tensor, attn_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Return what the block would give for the first token."""
        block, normed = self._block, self._block.ln_1(x)
        token = x[:, :1] + block.ls_1(block.attention(normed[:, :1], normed, normed))
        result: torch.Tensor = token + block.ls_2(block.mlp(block.ln_2(token)))
        return result
