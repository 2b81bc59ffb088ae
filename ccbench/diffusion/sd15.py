"""The architecture of Stable Diffusion 1.5, held in code: a single-file checkpoint does not say it."""

from dataclasses import dataclass
from typing import Any, Literal

from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

Part = Literal["unet", "vae", "text_encoder"]


@dataclass(frozen=True)
class Architecture:
    """What diffusers' and transformers' configuration files say of each part of a backbone."""

    unet: dict[str, Any]
    vae: dict[str, Any]
    text_encoder: dict[str, Any]
    scheduler: dict[str, Any]

    def build(self, part: Part) -> Any:
        """Return an untrained network, on torch's default device."""
        if part == "unet":
            return UNet2DConditionModel(**self.unet)
        if part == "vae":
            return AutoencoderKL(**self.vae)
        return CLIPTextModel(CLIPTextConfig(**self.text_encoder))

    def build_scheduler(self) -> DDIMScheduler:
        """Return the training schedule as a DDIM sampler."""
        return DDIMScheduler(**self.scheduler)


# The configuration files of the hub's stable-diffusion-v1-5, without what equals the classes' defaults.
SD15 = Architecture(
    unet={
        "sample_size": 64,
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": (320, 640, 1280, 1280),
        "layers_per_block": 2,
        "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        "cross_attention_dim": 768,
        "attention_head_dim": 8,  # diffusers' old name for the number of heads
    },
    vae={
        "sample_size": 512,
        "block_out_channels": (128, 256, 512, 512),
        "layers_per_block": 2,
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "latent_channels": 4,
        "scaling_factor": 0.18215,
    },
    text_encoder={
        "vocab_size": 49408,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "max_position_embeddings": 77,
        "hidden_act": "quick_gelu",
        "bos_token_id": 49406,
        "eos_token_id": 49407,
        "pad_token_id": 49407,
    },
    scheduler={
        "num_train_timesteps": 1000,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "clip_sample": False,
        "set_alpha_to_one": False,
        "steps_offset": 1,
    },
)
