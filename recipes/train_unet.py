"""Train the UNet and the text encoder of `sd-mini` on phantoms and PolypGen's frames, in the VAE's latents.

    python recipes/train_unet.py --polypgen DIR [--initial FOLDER] [--vae work/vae/vae] [--output work/unet]
    torchrun --nproc-per-node 2 recipes/train_unet.py ...      # the same batches, shared by two processes

Resumable: the same command goes on from the last checkpoint. SD 1.5's topology and noise schedule, epsilon
prediction; squared error with the weights of min-SNR 5 (Hang et al. 2023), which learns what an image shows sooner;
prompts are dropped in one of ten samples for classifier-free guidance. Unlike SD, whose text encoder is CLIP's, the
small text encoder learns together with the UNet.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.training_utils import EMAModel, compute_snr
from numpy.typing import NDArray
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from ccbench.errors import DataError
from frame_views import load_views
from phantom_pool import load_pool
from text_vocabulary import tokenise, train_vocabulary
from train_vae import to_image, to_tensor
from training_run import (
    TrainingRun,
    average_gradients,
    pick_device,
    set_rate,
    start_processes,
    wait_for_processes,
)

UNET: dict[str, Any] = {
    "sample_size": 16,
    "block_out_channels": (32, 64, 96, 96),
    "layers_per_block": 2,
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    "cross_attention_dim": 128,
    "attention_head_dim": (1, 2, 3, 3),  # heads a level, of 32 channels each: many narrow heads are slow on a CPU
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
SNR_CAP = 5.0
FRAME_SHARE = 0.5  # of a batch; there are fewer frames than phantoms and they vary more


class Model(torch.nn.Module):
    """The two parts that learn together."""

    def __init__(self, vocabulary: int, channels: int) -> None:
        super().__init__()
        ends = {"bos_token_id": vocabulary - 2, "eos_token_id": vocabulary - 1, "pad_token_id": vocabulary - 1}
        self.text = CLIPTextModel(CLIPTextConfig(vocab_size=vocabulary, max_position_embeddings=77, **TEXT, **ends))
        self.unet = UNet2DConditionModel(in_channels=channels, out_channels=channels, **UNET)

    def forward(self, noisy: torch.Tensor, timesteps: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        return self.unet(noisy, timesteps, self.text(tokens).last_hidden_state).sample


class Samples(NamedTuple):
    """Posterior mean and standard deviation (N, C, 16, 16), scaled, and the captions' tokens (N, 77)."""

    mean: torch.Tensor
    std: torch.Tensor
    tokens: torch.Tensor

    def draw(self, count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Return `count` random latents and their tokens."""
        picked = torch.randint(0, len(self.mean), (count,), generator=generator)
        noise = torch.randn((count, *self.mean.shape[1:]), generator=generator)
        return self.mean[picked] + self.std[picked] * noise, self.tokens[picked]


@torch.inference_mode()
def encode(vae: AutoencoderKL, images: NDArray[np.uint8], tokens: torch.Tensor, file: Path | None = None) -> Samples:
    """Encode images once; `file` keeps their latents."""
    if file is None or not file.exists():
        parts = [
            vae.encode(to_tensor(images[i : i + 32]).to(vae.device)).latent_dist for i in range(0, len(images), 32)
        ]
        latents = torch.cat([p.mean for p in parts]).cpu(), torch.cat([p.std for p in parts]).cpu()
        if file is not None:
            torch.save(latents, file)
    mean, std = latents if file is None else torch.load(file, weights_only=True)
    spread = mean.std().item() * vae.config.scaling_factor
    if not 0.7 < spread < 1.4:  # seen: at 0.3 the noise schedule drowns every detail, and images stay bumpy
        raise DataError(f"scaled latents have a standard deviation of {spread:.2f}; mend the VAE's scaling_factor")
    return Samples(mean * vae.config.scaling_factor, std * vae.config.scaling_factor, tokens)


def loss_of(
    model: Model, scheduler: DDIMScheduler, z: torch.Tensor, tokens: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """Squared error of the noise, (B,), weighted by min(SNR, cap) / SNR."""
    noise = torch.randn(z.shape, generator=generator).to(z.device)
    timesteps = torch.randint(0, 1000, (len(z),), generator=generator).to(z.device)
    snr = compute_snr(scheduler, timesteps)
    error = (model(scheduler.add_noise(z, noise, timesteps), timesteps, tokens) - noise).pow(2).mean((1, 2, 3))
    return error * snr.clamp(max=SNR_CAP) / snr


@torch.inference_mode()
def sample(
    model: Model, vae: AutoencoderKL, tokens: torch.Tensor, empty: torch.Tensor, guidance: float = 3.0
) -> NDArray[np.uint8]:
    """Sample one image a row of `tokens` with DDIM, 20 steps."""
    scheduler, n = DDIMScheduler(**SCHEDULE), len(tokens)
    scheduler.set_timesteps(20, vae.device)
    x = torch.randn(n, vae.config.latent_channels, 16, 16, generator=torch.Generator().manual_seed(1)).to(vae.device)
    both = torch.cat([empty.expand(n, -1), tokens]).to(vae.device)
    for t in scheduler.timesteps:
        free, told = model(torch.cat([x, x]), t.expand(2 * n), both).chunk(2)
        x = scheduler.step(free + guidance * (told - free), t, x).prev_sample
    return to_image(vae.decode(x / vae.config.scaling_factor).sample)


def start_from(model: Model, tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Take the weights of an earlier backbone, tokens by their text; what has another shape keeps its fresh values."""
    text = CLIPTextModel.from_pretrained(folder / "text_encoder", torch_dtype=torch.float32)
    unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32)
    old = CLIPTokenizer.from_pretrained(folder / "tokenizer").get_vocab()
    for part, earlier in ((model.text, text), (model.unet, unet)):
        own = part.state_dict()
        own |= {name: value for name, value in earlier.state_dict().items() if value.shape == own[name].shape}
        part.load_state_dict(own)
    with torch.no_grad():
        for token, number in tokenizer.get_vocab().items():
            if token in old:
                model.text.get_input_embeddings().weight[number] = text.get_input_embeddings().weight[old[token]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--polypgen", type=Path, required=True, help="folder that holds data_C1/ to data_C5/")
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=1.5e-3)
    parser.add_argument("--initial", type=Path, help="a backbone's folder to start from instead of random weights")
    parser.add_argument("--vae", type=Path, default=Path("work/vae/vae"))
    parser.add_argument("--output", type=Path, default=Path("work/unet"))
    args = parser.parse_args()
    rank, processes, device = start_processes(), int(os.environ.get("WORLD_SIZE", 1)), pick_device()
    pools = args.output.parent / "pool"
    args.output.mkdir(parents=True, exist_ok=True)
    phantoms, views = load_pool("train", 8000, pools), load_views("train", args.polypgen, pools)
    held_phantoms, held_views = load_pool("held-out", 64, pools), load_views("held-out", args.polypgen, pools)
    vae = AutoencoderKL.from_pretrained(args.vae, torch_dtype=torch.float32)
    vae = vae.to(device).eval().requires_grad_(False)
    tokenizer = train_vocabulary(phantoms.captions + views.captions)
    empty = tokenise(tokenizer, [""])
    pools_by_kind = {"phantom": phantoms, "frame": views}
    for number, (name, pool) in enumerate(pools_by_kind.items()):
        if number % processes == rank:
            encode(vae, pool.images, empty, args.output / f"{name}-latents.pt")
    wait_for_processes()
    kinds = [
        encode(vae, pool.images, tokenise(tokenizer, pool.captions), args.output / f"{name}-latents.pt")
        for name, pool in pools_by_kind.items()
    ]
    held_out = {
        name: encode(vae, pool.images[:64], tokenise(tokenizer, pool.captions[:64]))
        for name, pool in (("phantom", held_phantoms), ("frame", held_views))
    }

    torch.manual_seed(0)
    model = Model(len(tokenizer), vae.config.latent_channels)
    if args.initial:
        start_from(model, tokenizer, args.initial)
    model.to(device)
    print({name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()})
    ema = EMAModel(model.parameters(), decay=0.999)
    optimiser = torch.optim.AdamW(
        model.parameters(), args.learning_rate, betas=(0.9, 0.99), weight_decay=1e-2, fused=True
    )
    scheduler = DDIMScheduler(**SCHEDULE)
    parts = {"model": model, "ema": ema, "optimiser": optimiser}
    run = TrainingRun(args.output, args.steps, 250, parts, device, rank == 0)
    share = args.batch_size // processes
    counts = (share - round(FRAME_SHARE * share), round(FRAME_SHARE * share))

    while run.step < run.steps:
        generator = torch.Generator().manual_seed(1000 + processes * run.step + rank)
        drawn = [kind.draw(count, generator) for kind, count in zip(kinds, counts, strict=True)]
        z, tokens = (torch.cat(parts) for parts in zip(*drawn, strict=True))
        dropped = torch.rand(len(z), 1, generator=generator) < PROMPT_DROP
        set_rate(optimiser, run.rate(args.learning_rate, 100))
        tokens = torch.where(dropped, empty, tokens)
        loss = loss_of(model, scheduler, z.to(device), tokens.to(device), generator).mean()
        optimiser.zero_grad()
        loss.backward()
        average_gradients(model)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        ema.step(model.parameters())
        if run.advance({"loss": loss.item()}) and rank == 0:
            ema.store(model.parameters())
            ema.copy_to(model.parameters())
            figures = look(model, vae, held_out, empty, args.output) | {"steps": run.step}
            print(figures, flush=True)
            (args.output / "figures.json").write_text(json.dumps(figures))
            save(model, vae, tokenizer, args.output / "sd-mini")
            ema.restore(model.parameters())


def look(
    model: Model, vae: AutoencoderKL, held_out: dict[str, Samples], empty: torch.Tensor, output: Path
) -> dict[str, float]:
    """Return the held-out losses; draw eight samples of each kind's captions in a row."""
    figures, rows = {}, []
    for name, samples in held_out.items():
        generator = torch.Generator().manual_seed(5)
        with torch.inference_mode():
            z, tokens = samples.mean.to(vae.device), samples.tokens.to(vae.device)
            losses = loss_of(model, DDIMScheduler(**SCHEDULE), z, tokens, generator)
        figures[f"held_out_loss_{name}"] = losses.mean().item()
        rows.append(np.concatenate(list(sample(model, vae, samples.tokens[:8], empty)), 1))
    Image.fromarray(np.concatenate(rows)).save(output / "samples.png")
    return figures


def save(model: Model, vae: AutoencoderKL, tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Write the diffusers folder, fp16."""
    for part, name in ((model.unet, "unet"), (model.text, "text_encoder"), (vae, "vae")):
        part.half().save_pretrained(folder / name)
        part.float()
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


if __name__ == "__main__":
    main()
