"""Writes checkpoints in the original (LDM) layout: diffusers' names turned back, for networks of any width."""

import re
from pathlib import Path

import torch
from diffusers import ControlNetModel
from safetensors.torch import save_file

from ccbench.diffusion.backbone import Backbone

Tensors = dict[str, torch.Tensor]

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_STEMS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "controlnet_mid_block": "middle_block_out.0",
    "controlnet_cond_embedding.conv_in": "input_hint_block.0",
    "controlnet_cond_embedding.conv_out": "input_hint_block.14",
}


def unet_name(key: str) -> str:
    """The name of a UNet's or ControlNet's tensor in the original code, which counts blocks in one row."""
    stem, _, kind = key.rpartition(".")
    if stem in _STEMS:
        return f"{_STEMS[stem]}.{kind}"
    if found := re.fullmatch(r"controlnet_down_blocks\.(\d+)", stem):
        return f"zero_convs.{found[1]}.0.{kind}"
    if found := re.fullmatch(r"controlnet_cond_embedding\.blocks\.(\d+)", stem):
        return f"input_hint_block.{2 * int(found[1]) + 2}.{kind}"
    parts = key.split(".")
    if parts[0] == "mid_block":
        number = 1 if parts[1] == "attentions" else 2 * int(parts[2])
        return f"middle_block.{number}.{_inner(parts[1], parts[3:])}"
    block, site = int(parts[1]), int(parts[3])
    down = parts[0] == "down_blocks"
    if parts[2] == "downsamplers":
        return f"input_blocks.{3 * block + 3}.0.op.{kind}"
    if parts[2] == "upsamplers":
        return f"output_blocks.{3 * block + 2}.{1 if block == 0 else 2}.conv.{kind}"
    row = f"input_blocks.{3 * block + site + 1}" if down else f"output_blocks.{3 * block + site}"
    return f"{row}.{int(parts[2] == 'attentions')}.{_inner(parts[2], parts[4:])}"


def _inner(kind: str, rest: list[str]) -> str:
    return ".".join(rest) if kind == "attentions" else ".".join([_RESNET[rest[0]], *rest[1:]])


def vae_name(key: str, levels: int = 4) -> str:
    for new, old in (
        (r"mid_block\.resnets\.0", "mid.block_1"),
        (r"mid_block\.resnets\.1", "mid.block_2"),
        (r"mid_block\.attentions\.0", "mid.attn_1"),
        (r"group_norm", "norm"),
        (r"to_([qkv])", r"\1"),
        (r"to_out\.0", "proj_out"),
        (r"conv_norm_out", "norm_out"),
        (r"conv_shortcut", "nin_shortcut"),
        (r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample"),
        (r"down_blocks\.(\d)\.resnets", r"down.\1.block"),
    ):
        key = re.sub(new, old, key)
    if found := re.match(r"decoder\.up_blocks\.(\d)\.(resnets|upsamplers\.0)(.*)", key):
        place = {"resnets": "block", "upsamplers.0": "upsample"}[found[2]]
        return f"decoder.up.{levels - 1 - int(found[1])}.{place}{found[3]}"
    return key


def ldm_state(backbone: Backbone) -> Tensors:
    """The whole checkpoint, with what the published files also hold."""
    state = {f"model.diffusion_model.{unet_name(key)}": value for key, value in backbone.unet.state_dict().items()}
    for key, value in backbone.vae.state_dict().items():
        attention = ".mid_block.attentions." in key and value.ndim == 2
        state[f"first_stage_model.{vae_name(key)}"] = value[:, :, None, None] if attention else value
    for key, value in backbone.text_encoder.state_dict().items():
        state[f"cond_stage_model.transformer.text_model.{key}"] = value
    state["cond_stage_model.transformer.text_model.embeddings.position_ids"] = torch.arange(77)[None]
    state |= {"betas": torch.zeros(1000), "alphas_cumprod": torch.ones(1000), "model_ema.decay": torch.tensor(0.9999)}
    state["model_ema.diffusion_modelconv"] = torch.zeros(2)
    return {key: value.contiguous() for key, value in state.items()}


def control_state(control: ControlNetModel) -> Tensors:
    return {f"control_model.{unet_name(key)}": value for key, value in control.state_dict().items()}


def write(path: Path, state: Tensors) -> Path:
    if path.suffix == ".safetensors":
        save_file({key: value.clone() for key, value in state.items()}, path)
    else:
        torch.save({"state_dict": state, "global_step": 7}, path)
    return path
