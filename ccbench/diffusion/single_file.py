"""Networks from one checkpoint file: Stable Diffusion 1.5 and ControlNet in the original (LDM) layout.

diffusers' converters rename the tensors; the architecture is ours and nothing is looked up. Every tensor must find its
place: the converters drop what they do not know and leave holes for what is missing, so both are checked here.
"""

import gzip
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import ControlNetModel
from diffusers.loaders.single_file_utils import (
    convert_controlnet_checkpoint,
    convert_ldm_clip_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
)
from transformers import CLIPTokenizer

from ccbench.base.tensor_files import is_pickle, key_misfits, load_state
from ccbench.diffusion.sd15 import SD15, Architecture, Part
from ccbench.errors import DataError, UsageError

Tensors = dict[str, torch.Tensor]
Converter = Callable[[Tensors], Mapping[str, torch.Tensor | None]]

PREFIXES: dict[Part, str] = {
    "unet": "model.diffusion_model.",
    "vae": "first_stage_model.",
    "text_encoder": "cond_stage_model.transformer.",
}
CONTROL_PREFIX = "control_model."
_BESIDE = (*PREFIXES.values(), CONTROL_PREFIX, "model_ema.")  # a checkpoint's schedule has names without a dot
_BUFFER = "position_ids"  # a counter that old checkpoints hold and newer networks make themselves


def read_checkpoint(path: Path, allow_pickle: bool) -> Tensors:
    """Return the tensors of a checkpoint file, mapped from disk until they are used.

    Raises:
        MissingError: no such file.
        UsageError: a pickle that was not asked for.
        DataError: see `load_state`.
    """
    if not allow_pickle and is_pickle(path):
        raise UsageError(
            f"{path}: is a PyTorch pickle; give the same weights as .safetensors, or --allow-pickle to read its "
            "tensors without running its code"
        )
    return load_state(path)


def load_part(path: Path, part: Part, allow_pickle: bool, architecture: Architecture = SD15) -> Any:
    """Return one network of a single-file Stable Diffusion, as float32 on the CPU.

    The UNet's are the plain weights: an averaged copy beside them (`model_ema.`) is not read.

    Raises:
        DataError: a tensor is missing, unknown or of another shape, besides what `read_checkpoint` raises.
    """
    state = read_checkpoint(path, allow_pickle)
    unknown = [key for key in state if "." in key and not key.startswith((*_BESIDE, "cond_stage_model.logit_scale"))]
    if unknown or not any(key.startswith(PREFIXES[part]) for key in state):
        found = f"unknown {min(unknown)}" if unknown else f"nothing under {PREFIXES[part]}"
        raise DataError(
            f"{path}: not a Stable Diffusion 1.5 checkpoint ({found}); wanted {', '.join(PREFIXES.values())}"
        )
    own = {key: value for key, value in state.items() if key.startswith(PREFIXES[part]) and not key.endswith(_BUFFER)}
    # The text encoder has a buffer that no file holds, so that it cannot be made without memory.
    with torch.device("cpu" if part == "text_encoder" else "meta"):
        network = architecture.build(part)
    network.load_state_dict(_convert(path, own, _converter(part, architecture), network.state_dict()), assign=True)
    return network


def read_control(path: Path, control: ControlNetModel, allow_pickle: bool) -> Tensors:
    """Return weights for a ControlNet, float32, from a file that has diffusers' names or the original ones.

    Raises:
        DataError: a tensor is missing, unknown or of another shape, besides what `read_checkpoint` raises.
    """
    state = read_checkpoint(path, allow_pickle)
    if any(key.startswith(CONTROL_PREFIX) for key in state):  # the backbone's own weights may lie beside it
        state = {key: value for key, value in state.items() if key.startswith(CONTROL_PREFIX)}
    original = any(key.removeprefix(CONTROL_PREFIX).startswith("input_blocks.") for key in state)

    def convert(tensors: Tensors) -> Mapping[str, torch.Tensor | None]:
        return convert_controlnet_checkpoint(tensors, control.config) if original else tensors

    return _convert(path, state, convert, control.state_dict())


def _converter(part: Part, architecture: Architecture) -> Converter:
    if part == "unet":
        return lambda state: convert_ldm_unet_checkpoint(state, architecture.unet)
    if part == "vae":
        return lambda state: convert_ldm_vae_checkpoint(state, architecture.vae)
    return lambda state: {
        key.removeprefix("text_model."): value for key, value in convert_ldm_clip_checkpoint(state).items()
    }


def _convert(path: Path, state: Tensors, converter: Converter, wanted: Tensors) -> Tensors:
    """Rename tensors, and refuse those that do not fit; messages have the file's own names where it has one."""
    names = list(state)
    # Numbers in the tensors' places come out under the new names and tell which came from where.
    numbers = {name: torch.full((1,) * state[name].ndim, float(i)) for i, name in enumerate(names)}
    try:
        origin = {key: names[int(n.item())] for key, n in converter(numbers).items() if n is not None}
        converted = converter(state)
    except KeyError as error:
        raise DataError(f"{path}: missing {error.args[0]}; the file is cut short or of another model") from error
    found = {origin[key]: tuple(converted[key].shape) for key in origin}  # type: ignore[union-attr]
    found |= {name: tuple(state[name].shape) for name in state.keys() - set(origin.values())}
    refuse_misfits(path, found, {origin.get(key, key): tuple(value.shape) for key, value in wanted.items()})
    # Copied: what stays mapped would change with the file.
    return {key: converted[key].to(torch.float32, copy=True).contiguous() for key in wanted}  # type: ignore[union-attr]


def refuse_misfits(where: object, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise `DataError` if names or shapes differ; both are name -> shape."""
    if wrong := key_misfits(found, wanted):
        raise DataError(f"{where}: {len(wrong)} keys do not fit ({min(wrong)}); wanted this network's weights, whole")


def openai_tokenizer() -> CLIPTokenizer:
    """Return CLIP's tokenizer, made from the vocabulary in open_clip's package: a single file holds none.

    Its 77 ids are those of the hub's SD 1.5: start 49406, then the words, then end 49407 up to the last place.
    open_clip's own tokenizer pads with 0 instead, repairs garbled text first and unescapes HTML.
    """
    from open_clip.tokenizer import bytes_to_unicode, default_bpe  # here, for importing open_clip takes seconds

    lines = gzip.decompress(Path(default_bpe()).read_bytes()).decode().split("\n")
    letters = list(bytes_to_unicode().values())
    merges = [tuple(line.split()) for line in lines[1 : 49152 - 256 - 2 + 1]]  # behind the file's header
    words: Collection[str] = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in merges)]
    vocabulary = {word: i for i, word in enumerate((*words, "<|startoftext|>", "<|endoftext|>"))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77)
