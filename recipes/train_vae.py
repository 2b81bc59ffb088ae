"""Train the VAE of `sd-mini` on phantoms.

    python recipes/train_vae.py [--steps 1300] [--output work/vae]

Resumable: the same command goes on from the last checkpoint. The loss is L1 + a perceptual term on an ImageNet
EfficientNet-Lite0 (shallow stages, unit-normalised features as in LPIPS) + KL, on crops of 64 px and, for the last
part, on whole images, so that the middle attention sees the size it is used at.
"""

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from diffusers.training_utils import EMAModel
from PIL import Image

from ccbench.features.lite0 import load_lite0
from phantom_pool import load_pool

ARCHITECTURE: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (16, 32, 64, 96),
    "layers_per_block": 1,
    "latent_channels": 4,
    "norm_num_groups": 8,
    "sample_size": 128,
}


class Perceptual(torch.nn.Module):
    """LPIPS-like distance on the stem and first three stages of an ImageNet EfficientNet-Lite0."""

    def __init__(self) -> None:
        super().__init__()
        self.net = load_lite0().eval().requires_grad_(False)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

    def features(self, images: torch.Tensor) -> list[torch.Tensor]:
        x = ((images + 1) / 2 - self.mean) / self.std
        x = self.net.bn1(self.net.conv_stem(x))
        maps = [x]
        for stage in list(self.net.blocks)[:4]:
            x = stage(x)
            maps.append(x)
        return [torch.nn.functional.normalize(m, dim=1, eps=1e-4) for m in maps]

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            target = self.features(b)
        return torch.stack([((x - y) ** 2).sum(1).mean() for x, y in zip(self.features(a), target, strict=True)]).mean()


def to_tensor(images: np.ndarray) -> torch.Tensor:
    """(N, H, W, 3) uint8 -> (N, 3, H, W) in [-1, 1]."""
    return (
        torch.from_numpy(images)
        .permute(0, 3, 1, 2)
        .float()
        .div(127.5)
        .sub(1)
        .contiguous(memory_format=torch.channels_last)
    )


def take_batch(images: np.ndarray, rng: np.random.Generator, count: int, size: int) -> torch.Tensor:
    picked = rng.integers(len(images), size=count)
    corner = rng.integers(0, images.shape[1] - size + 1, size=(count, 2))
    crops = np.stack([images[i, y : y + size, x : x + size] for i, (y, x) in zip(picked, corner, strict=True)])
    flips = rng.random(count) < 0.5
    crops[flips] = crops[flips, :, ::-1]
    return to_tensor(crops)


@torch.inference_mode()
def evaluate(vae: AutoencoderKL, images: np.ndarray, grid: Path) -> float:
    """Return the mean PSNR in dB of `images`, and draw the first eight over their reconstructions."""
    out = torch.cat(
        [
            vae.decode(vae.encode(to_tensor(images[i : i + 16])).latent_dist.mode()).sample
            for i in range(0, len(images), 16)
        ]
    )
    back = ((out.clamp(-1, 1) + 1) * 127.5).round().permute(0, 2, 3, 1).to(torch.uint8).numpy()
    error = ((back.astype(np.float64) - images) ** 2).mean((1, 2, 3))
    Image.fromarray(np.concatenate([np.concatenate(list(images[:8]), 1), np.concatenate(list(back[:8]), 1)], 0)).save(
        grid
    )
    return float(np.mean(10 * np.log10(255**2 / error)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1300)
    parser.add_argument("--whole", type=float, default=0.2, help="share of the steps, at the end, on whole images")
    parser.add_argument("--perceptual", type=float, default=0.5)
    parser.add_argument("--learning-rate", type=float, default=1.5e-3)
    parser.add_argument("--output", type=Path, default=Path("work/vae"))
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    train = load_pool("train", 6000, args.output.parent / "pool").images
    held_out = load_pool("held-out", 64, args.output.parent / "pool").images

    torch.manual_seed(0)
    vae = AutoencoderKL(**ARCHITECTURE).to(memory_format=torch.channels_last)
    ema = EMAModel(vae.parameters(), decay=0.998)
    optimiser = torch.optim.AdamW(
        vae.parameters(), args.learning_rate, betas=(0.9, 0.99), weight_decay=1e-4, fused=True
    )
    perceptual = Perceptual().to(memory_format=torch.channels_last)
    state_file = args.output / "state.pt"
    step = 0
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        vae.load_state_dict(state["vae"])
        optimiser.load_state_dict(state["optimiser"])
        ema.load_state_dict(state["ema"])
        step = state["step"]

    started = time.time()
    while step < args.steps:
        rng = np.random.default_rng([7, step])
        torch.manual_seed(step)
        whole = step >= args.steps * (1 - args.whole)
        x = take_batch(train, rng, 8, 128) if whole else take_batch(train, rng, 24, 64)
        rate = (
            args.learning_rate
            * min(1, (step + 1) / 50)
            * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / args.steps)))
        )
        optimiser.param_groups[0]["lr"] = rate
        posterior = vae.encode(x).latent_dist
        out = vae.decode(posterior.sample()).sample
        pixel = (out - x).abs().mean()
        percept = perceptual(out, x)
        loss = pixel + args.perceptual * percept + 1e-6 * posterior.kl().mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimiser.step()
        ema.step(vae.parameters())
        step += 1
        if step % 20 == 0:
            seconds = time.time() - started
            print(
                f"step {step}/{args.steps} l1 {pixel.item():.4f} perceptual {percept.item():.4f} {seconds:.0f}s",
                flush=True,
            )
        if step % 100 == 0 or step == args.steps:
            temporary = state_file.with_suffix(".tmp")
            torch.save(
                {"vae": vae.state_dict(), "optimiser": optimiser.state_dict(), "ema": ema.state_dict(), "step": step},
                temporary,
            )
            temporary.replace(state_file)
            ema.store(vae.parameters())
            ema.copy_to(vae.parameters())
            psnr = evaluate(vae.eval(), held_out, args.output / "reconstructions.png")
            print(f"step {step} held-out PSNR {psnr:.2f} dB", flush=True)
            if step == args.steps:
                finish(vae, train, args.output, {"steps": step, "psnr_phantom_db": psnr})
            ema.restore(vae.parameters())
            vae.train()


@torch.inference_mode()
def finish(vae: AutoencoderKL, train: np.ndarray, output: Path, figures: dict[str, float]) -> None:
    """Set the scaling factor to one over the latents' standard deviation and save in diffusers format, fp16."""
    latents = torch.cat([vae.encode(to_tensor(train[i : i + 16])).latent_dist.mode() for i in range(0, 512, 16)])
    vae.register_to_config(scaling_factor=round(1 / latents.std().item(), 5))
    vae.half().save_pretrained(output / "vae")
    (output / "figures.json").write_text(json.dumps(figures | {"scaling_factor": vae.config.scaling_factor}))
    vae.float()


if __name__ == "__main__":
    main()
