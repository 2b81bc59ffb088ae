"""The small CLIP that is shipped with ccbench, or any open_clip network kept in the same folder format."""

from pathlib import Path
from typing import Any

import tokenizers
from open_clip.transform import PreprocessCfg
from pydantic import Field, ValidationError

from ccbench.base.model_errors import first_problem
from ccbench.errors import DataError, MissingError
from ccbench.features.clip_encoder import ClipEncoder, SpecialTokens
from ccbench.plugins.contract import Settings

CONFIG, WEIGHTS, TOKENIZER = "open_clip_config.json", "model.safetensors", "tokenizer.json"
BEGIN, END = "<|startoftext|>", "<|endoftext|>"


class _TokenIds(Settings):
    bos_id: int
    eos_id: int
    pad_id: int


class _ConfigFile(Settings):
    """`open_clip_config.json`; without `tokenizer_cfg` the ids come from CLIP's token names and `text_cfg.pad_id`."""

    model_cfg: dict[str, Any]
    preprocess_cfg: dict[str, Any] = Field(default_factory=dict)
    tokenizer_cfg: _TokenIds | None = None


def open(weights: Path, device: str) -> ClipEncoder:
    """Return the encoder of a folder that holds `open_clip_config.json`, `model.safetensors` and `tokenizer.json`.

    Raises:
        MissingError: one of them is not there.
        DataError: one of them is not what its name says, or they do not fit.
    """
    for name in (CONFIG, WEIGHTS, TOKENIZER):
        if not (weights / name).is_file():
            raise MissingError(f"encoder mini-clip: {weights / name} is missing; wanted a folder with this file in it")
    config = _read_config(weights / CONFIG)
    try:
        size = config.model_cfg["vision_cfg"]["image_size"]
        preprocess = PreprocessCfg(**{"size": size, **config.preprocess_cfg})
    except (KeyError, TypeError) as error:
        raise DataError(f"{weights / CONFIG}: model_cfg or preprocess_cfg is not open_clip's ({error!r})") from error
    tokenizer = _read_tokenizer(weights / TOKENIZER)
    return ClipEncoder(
        name="mini-clip",
        model_cfg=config.model_cfg,
        weights=weights / WEIGHTS,
        preprocess=preprocess,
        tokenize=lambda text: list(tokenizer.encode(text, add_special_tokens=False).ids),
        special=_special_tokens(config, tokenizer, weights),
        device=device,
    )


def _read_config(path: Path) -> _ConfigFile:
    try:
        return _ConfigFile.model_validate_json(path.read_bytes())
    except ValidationError as error:
        wanted = "wanted model_cfg and preprocess_cfg of open_clip"
        raise DataError(f"{path}: {first_problem(error)}; {wanted}") from error


def _read_tokenizer(path: Path) -> tokenizers.Tokenizer:
    try:
        tokenizer = tokenizers.Tokenizer.from_buffer(path.read_bytes())
    except ValueError as error:
        raise DataError(f"{path}: not a tokenizer file of Hugging Face tokenizers ({error})") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _special_tokens(config: _ConfigFile, tokenizer: tokenizers.Tokenizer, folder: Path) -> SpecialTokens:
    text_cfg = config.model_cfg.get("text_cfg", {})
    if config.tokenizer_cfg is not None:
        ids = config.tokenizer_cfg
        special = SpecialTokens(ids.bos_id, ids.eos_id, ids.pad_id)
    else:
        begin, end = tokenizer.token_to_id(BEGIN), tokenizer.token_to_id(END)
        if begin is None or end is None:
            raise DataError(f"{folder / TOKENIZER}: no tokens {BEGIN} and {END}; name their ids in tokenizer_cfg")
        special = SpecialTokens(begin, end, int(text_cfg.get("pad_id", 0)))
    largest = max(tokenizer.get_vocab().values())
    if text_cfg.get("pool_type", "argmax") == "argmax" and special.end != largest:
        # open_clip finds the end of a text as its greatest id, so any other end token would pool a random word.
        raise DataError(f"{folder / TOKENIZER}: the end token is {special.end}, wanted the greatest id, {largest}")
    return special
