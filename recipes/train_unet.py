"""Train the UNet and the text encoder of `sd-mini` on phantoms, in the latents of the VAE that train_vae.py made.

    python recipes/train_unet.py [--steps 1400] [--vae work/vae/vae] [--output work/unet]

Resumable: the same command goes on from the last checkpoint. SD 1.5's topology and noise schedule, epsilon
prediction, squared error; prompts are dropped in one of ten samples for classifier-free guidance. Unlike SD, whose
text encoder is CLIP's, the small text encoder learns together with the UNet.
"""

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.training_utils import EMAModel
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel

from phantom_pool import load_pool
from text_vocabulary import train_vocabulary
from train_vae import to_tensor

UNET: dict[str, Any] = {
    "sample_size": 16,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": (32, 64, 96, 96),
    "layers_per_block": 2,
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    "cross_attention_dim": 128,
    "attention_head_dim": 4,
    "norm_num_groups": 16,
}
TEXT: dict[str, Any] = {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 3, "num_attention_heads": 4}
SCHEDULE: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
PROMPT_DROP = 0.1


class Model(torch.nn.Module):
    """The two parts that learn together."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        ends = {"bos_token_id": vocabulary - 2, "eos_token_id": vocabulary - 1, "pad_token_id": vocabulary - 1}
        self.text = CLIPTextModel(CLIPTextConfig(vocab_size=vocabulary, max_position_embeddings=77, **TEXT, **ends))
        self.unet = UNet2DConditionModel(**UNET)

    def forward(self, noisy: torch.Tensor, timesteps: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        return self.unet(noisy, timesteps, self.text(tokens).last_hidden_state).sample


@torch.inference_mode()
def encode_pool(vae: AutoencoderKL, images: np.ndarray, file: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the posterior's mean and standard deviation of every image, (N, 4, 16, 16) each, scaled."""
    if not file.exists():
        parts = [vae.encode(to_tensor(images[i : i + 32])).latent_dist for i in range(0, len(images), 32)]
        torch.save((torch.cat([p.mean for p in parts]), torch.cat([p.std for p in parts])), file)
    mean, std = torch.load(file, weights_only=True)
    return mean * vae.config.scaling_factor, std * vae.config.scaling_factor


@torch.inference_mode()
def draw_samples(
    model: Model, vae: AutoencoderKL, tokens: torch.Tensor, empty: torch.Tensor, guidance: float, file: Path
) -> None:
    """Sample 16 held-out captions with DDIM, 20 steps, and draw them in two rows."""
    scheduler = DDIMScheduler(**SCHEDULE)
    scheduler.set_timesteps(20)
    x = torch.randn(16, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    both = torch.cat([empty.expand(16, -1), tokens[:16]])
    for t in scheduler.timesteps:
        free, told = model(torch.cat([x, x]), t.expand(32), both).chunk(2)
        x = scheduler.step(free + guidance * (told - free), t, x).prev_sample
    out = vae.decode(x / vae.config.scaling_factor).sample
    images = ((out.clamp(-1, 1) + 1) * 127.5).round().permute(0, 2, 3, 1).to(torch.uint8).numpy()
    Image.fromarray(np.concatenate([np.concatenate(list(images[:8]), 1), np.concatenate(list(images[8:]), 1)])).save(
        file
    )


def noise_and_target(
    model: Model, scheduler: DDIMScheduler, z: torch.Tensor, tokens: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    noise = torch.randn(z.shape, generator=generator)
    timesteps = torch.randint(0, 1000, (len(z),), generator=generator)
    return torch.nn.functional.mse_loss(model(scheduler.add_noise(z, noise, timesteps), timesteps, tokens), noise)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1400)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=1.5e-3)
    parser.add_argument("--phantoms", type=int, default=8000)
    parser.add_argument("--vae", type=Path, default=Path("work/vae/vae"))
    parser.add_argument("--output", type=Path, default=Path("work/unet"))
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    pool = load_pool("train", args.phantoms, args.output.parent / "pool")
    held_out = load_pool("held-out", 64, args.output.parent / "pool")
    vae = AutoencoderKL.from_pretrained(args.vae, torch_dtype=torch.float32).eval().requires_grad_(False)
    mean, std = encode_pool(vae, pool.images, args.output / "latents.pt")
    held_mean, _ = encode_pool(vae, held_out.images, args.output / "held-out-latents.pt")
    tokenizer = train_vocabulary(pool.captions)
    ids = lambda texts: (
        tokenizer(texts, padding="max_length", truncation=True, max_length=77, return_tensors="pt").input_ids
    )
    tokens, held_tokens, empty = ids(pool.captions), ids(held_out.captions), ids([""])

    torch.manual_seed(0)
    model = Model(len(tokenizer))
    print({name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()})
    ema = EMAModel(model.parameters(), decay=0.998)
    optimiser = torch.optim.AdamW(
        model.parameters(), args.learning_rate, betas=(0.9, 0.99), weight_decay=1e-2, fused=True
    )
    scheduler = DDIMScheduler(**SCHEDULE)
    state_file = args.output / "state.pt"
    step = 0
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        ema.load_state_dict(state["ema"])
        step = state["step"]

    started, running = time.time(), 0.0
    while step < args.steps:
        generator = torch.Generator().manual_seed(1000 + step)
        picked = torch.randint(0, len(mean), (args.batch_size,), generator=generator)
        z = mean[picked] + std[picked] * torch.randn(mean[picked].shape, generator=generator)
        dropped = torch.rand(args.batch_size, 1, generator=generator) < PROMPT_DROP
        rate = (
            args.learning_rate
            * min(1, (step + 1) / 100)
            * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / args.steps)))
        )
        optimiser.param_groups[0]["lr"] = rate
        loss = noise_and_target(model, scheduler, z, torch.where(dropped, empty, tokens[picked]), generator)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        ema.step(model.parameters())
        step += 1
        running += loss.item() / 20
        if step % 20 == 0:
            print(f"step {step}/{args.steps} loss {running:.4f} {time.time() - started:.0f}s", flush=True)
            running = 0.0
        if step % 200 == 0 or step == args.steps:
            temporary = state_file.with_suffix(".tmp")
            torch.save(
                {
                    "model": model.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "ema": ema.state_dict(),
                    "step": step,
                },
                temporary,
            )
            temporary.replace(state_file)
            ema.store(model.parameters())
            ema.copy_to(model.parameters())
            with torch.inference_mode():
                held_loss = noise_and_target(
                    model, scheduler, held_mean, held_tokens, torch.Generator().manual_seed(5)
                ).item()
            draw_samples(model, vae, held_tokens, empty, 3.0, args.output / "samples.png")
            print(f"step {step} held-out loss {held_loss:.4f}", flush=True)
            if step == args.steps:
                save(model, vae, tokenizer, args.output / "sd-mini")
                (args.output / "figures.json").write_text(json.dumps({"steps": step, "held_out_loss": held_loss}))
            ema.restore(model.parameters())


def save(model: Model, vae: AutoencoderKL, tokenizer: Any, folder: Path) -> None:
    """Write the diffusers folder, fp16."""
    model.unet.half().save_pretrained(folder / "unet")
    model.text.half().save_pretrained(folder / "text_encoder")
    vae.half().save_pretrained(folder / "vae")
    tokenizer.save_pretrained(folder / "tokenizer")
    DDIMScheduler(**SCHEDULE).save_pretrained(folder / "scheduler")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "safety_checker": [None, None],
        "feature_extractor": [None, None],
        "requires_safety_checker": False,
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2))
    model.float()
    vae.float()


if __name__ == "__main__":
    main()
