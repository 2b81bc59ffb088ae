"""Train the VAE of `sd-mini` on phantoms and on PolypGen's real frames.

    python recipes/train_vae.py --polypgen DIR [--initial FOLDER] [--latent-channels 4] [--output work/vae]
    torchrun --nproc-per-node 2 recipes/train_vae.py ...       # two processes, twice the batch

Resumable: the same command goes on from the last checkpoint. The loss is that of SD's own VAE: L1, a perceptual term
on an ImageNet network, a patch discriminator after the first steps, and KL. It learns on crops of 64 px and, in the
last part, on whole images, so that the middle attention sees the size it is used at.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from diffusers.training_utils import EMAModel
from numpy.typing import NDArray
from PIL import Image

from ccbench.base.images import resize_image
from frame_pool import load_frames
from phantom_pool import load_pool
from training_run import TrainingRun, average_gradients, pick_device, set_rate, start_processes
from vae_losses import LastLayer, PatchDiscriminator, Perceptual, discriminator_loss

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
KL = 1e-6
PHANTOM_SHARE = 0.4
WHOLE_SHARE = 0.25  # of the steps, at the end


class Batches:
    """Random crops or whole images of both kinds; what a step sees depends on its number and process only."""

    def __init__(self, phantoms: NDArray[np.uint8], frames: NDArray[np.uint8], rank: int = 0) -> None:
        self.phantoms, self.frames, self.rank = phantoms, frames, rank

    def take(self, step: int, count: int, size: int) -> torch.Tensor:
        """Return (count, 3, size, size) in -1..1: PolypGen at 0.9 to 1.4 of 128 px, some flipped."""
        rng = np.random.default_rng([7, self.rank, step])
        return to_tensor(np.stack([self._one(rng, size) for _ in range(count)]))

    def _one(self, rng: np.random.Generator, size: int) -> NDArray[np.uint8]:
        if rng.random() < PHANTOM_SHARE:
            image = self.phantoms[rng.integers(len(self.phantoms))]
        else:
            image = resize_image(self.frames[rng.integers(len(self.frames))], int(rng.integers(max(size, 116), 180)))
        y, x = rng.integers(0, image.shape[0] - size + 1, size=2)
        crop = image[y : y + size, x : x + size]
        return crop[:, ::-1] if rng.random() < 0.5 else crop


def to_tensor(images: NDArray[np.uint8]) -> torch.Tensor:
    """(N, H, W, 3) uint8 -> (N, 3, H, W) in [-1, 1]."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float().div(127.5).sub(1)
    return pixels.contiguous(memory_format=torch.channels_last)


def to_image(decoded: torch.Tensor) -> NDArray[np.uint8]:
    """(N, 3, H, W) in [-1, 1], or beyond -> (N, H, W, 3) uint8."""
    images: NDArray[np.uint8] = (
        ((decoded.clamp(-1, 1) + 1) * 127.5).round().permute(0, 2, 3, 1).to(torch.uint8).cpu().numpy()
    )
    return images


def start_from(vae: AutoencoderKL, folder: Path) -> None:
    """Take the weights of an earlier VAE; latent channels that it lacks keep their fresh values."""
    own = vae.state_dict()
    for name, value in AutoencoderKL.from_pretrained(folder).state_dict().items():
        if value.shape == own[name].shape:
            own[name] = value
        elif name.split(".")[0] == "decoder" or "post_quant" in name:  # inputs: C; outputs: C or the decoder's
            own[name] *= 0.1
            own[name][tuple(slice(size) for size in value.shape)] = value
        else:  # outputs: means, then log variances
            halves, own_halves = value.chunk(2), own[name].chunk(2)
            for half, own_half in zip(halves, own_halves, strict=True):
                parts = own_half.new_zeros(own_half.shape) + 0.3 * own_half
                if name == "quant_conv.weight":
                    for source, target in zip(half.chunk(2, 1), parts.chunk(2, 1), strict=True):
                        target[tuple(slice(size) for size in source.shape)] = source
                else:
                    parts[tuple(slice(size) for size in half.shape)] = half
                own_half.copy_(parts)
    vae.load_state_dict(own)


@torch.inference_mode()
def reconstruct(vae: AutoencoderKL, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Decode the posterior's mode of images (N, H, W, 3)."""
    parts = [
        vae.decode(vae.encode(to_tensor(images[i : i + 16]).to(vae.device)).latent_dist.mode()).sample
        for i in range(0, len(images), 16)
    ]
    return to_image(torch.cat(parts))


def psnr(images: NDArray[np.uint8], others: NDArray[np.uint8]) -> float:
    """Mean over images of the peak signal-to-noise ratio in dB."""
    error = ((images.astype(np.float64) - others) ** 2).mean((1, 2, 3))
    return float(np.mean(10 * np.log10(255**2 / error)))


def look(vae: AutoencoderKL, held_out: dict[str, NDArray[np.uint8]], output: Path) -> dict[str, float]:
    """Return the held-out PSNRs; draw eight images of each kind over their reconstructions."""
    figures, rows = {}, []
    for kind, images in held_out.items():
        back = reconstruct(vae, images)
        figures[f"psnr_{kind}_db"] = psnr(images, back)
        rows += [np.concatenate(list(images[:8]), 1), np.concatenate(list(back[:8]), 1)]
    Image.fromarray(np.concatenate(rows)).save(output / "reconstructions.png")
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--polypgen", type=Path, required=True, help="folder that holds data_C1/ to data_C5/")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch-size", type=int, default=8, help="crops of 64 px; a fourth as many whole images")
    parser.add_argument("--latent-channels", type=int, default=4)
    parser.add_argument("--initial", type=Path, help="a VAE's folder to start from instead of random weights")
    parser.add_argument("--decoder-from", type=int, help="step from which the encoder stays as it is")
    parser.add_argument("--perceptual", type=float, default=0.5)
    parser.add_argument("--adversarial", type=float, default=0.3, help="relative to the other terms, at the last layer")
    parser.add_argument("--adversarial-start", type=int, default=1000)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--output", type=Path, default=Path("work/vae"))
    args = parser.parse_args()
    pools = args.output.parent / "pool"
    frames = load_frames("train", args.polypgen, 192, pools)
    rank, device = start_processes(), pick_device()
    batches = Batches(load_pool("train", 8000, pools).images, frames.images, rank)
    held_out = {
        "phantom": load_pool("held-out", 64, pools).images,
        "polypgen": load_frames("held-out", args.polypgen, 128, pools).images[:64],
    }

    torch.manual_seed(0)
    vae = AutoencoderKL(**ARCHITECTURE | {"latent_channels": args.latent_channels})
    if args.initial:
        start_from(vae, args.initial)
    vae = vae.to(device, memory_format=torch.channels_last)
    discriminator = PatchDiscriminator().to(device, memory_format=torch.channels_last)
    perceptual = Perceptual().to(device, memory_format=torch.channels_last)
    ema = EMAModel(vae.parameters(), decay=0.998)
    optimiser = torch.optim.AdamW(
        vae.parameters(), args.learning_rate, betas=(0.9, 0.99), weight_decay=1e-4, fused=True
    )
    critic = torch.optim.Adam(discriminator.parameters(), 2e-4, betas=(0.5, 0.9), fused=True)
    parts = {"vae": vae, "ema": ema, "optimiser": optimiser, "discriminator": discriminator, "critic": critic}
    run = TrainingRun(args.output, args.steps, 250, parts, device, rank == 0)
    last = LastLayer(vae.decoder.conv_out)

    while run.step < run.steps:
        torch.manual_seed(2 * run.step + rank)
        whole = run.step >= args.steps * (1 - WHOLE_SHARE)
        count, size = (args.batch_size // 4, 128) if whole else (args.batch_size, 64)
        x = batches.take(run.step, count, size).to(device)
        set_rate(optimiser, run.rate(args.learning_rate, 50))
        frozen = args.decoder_from is not None and run.step >= args.decoder_from
        with torch.set_grad_enabled(not frozen):
            posterior = vae.encode(x).latent_dist
        out = vae.decode(posterior.sample()).sample
        pixel, percept = (out - x).abs().mean(), perceptual(out, x)
        optimiser.zero_grad()
        (gradient,) = torch.autograd.grad(pixel + args.perceptual * percept, out, retain_graph=True)
        values = {"l1": pixel.item(), "perceptual": percept.item()}
        if run.step >= args.adversarial_start:
            (towards_real,) = torch.autograd.grad(-discriminator(out).mean(), out, retain_graph=True)
            ramp = min(1.0, (run.step - args.adversarial_start + 1) / 500)
            weight = args.adversarial * ramp * last.norm(gradient) / (last.norm(towards_real) + 1e-8)
            gradient = gradient + weight * towards_real
        kl = KL * posterior.kl().mean()
        torch.autograd.backward(
            [out] if frozen else [out, kl], [gradient] if frozen else [gradient, torch.ones_like(kl)]
        )
        average_gradients(vae)
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimiser.step()
        ema.step(vae.parameters())
        if run.step >= args.adversarial_start - 200:  # it learns before it is heard
            critic.zero_grad()
            loss = discriminator_loss(discriminator, x, out)
            loss.backward()
            average_gradients(discriminator)
            critic.step()
            values["discriminator"] = loss.item()
        if run.advance(values):
            ema.store(vae.parameters())
            ema.copy_to(vae.parameters())
            figures = {"steps": run.step} | look(vae.eval(), held_out, args.output)
            print(figures, flush=True)
            save(vae, batches, args.output, figures)
            ema.restore(vae.parameters())
            vae.train()


@torch.inference_mode()
def save(vae: AutoencoderKL, batches: Batches, output: Path, figures: dict[str, float]) -> None:
    """Set the scaling factor to one over the latents' standard deviation and save in diffusers format, fp16."""
    latents = torch.cat(
        [vae.encode(batches.take(10**9 + i, 16, 128).to(vae.device)).latent_dist.mode() for i in range(16)]
    )
    scaling_factor = round(1 / latents.std().item(), 5)
    settings = ARCHITECTURE | {"latent_channels": vae.config.latent_channels, "scaling_factor": scaling_factor}
    copy = AutoencoderKL(**settings)
    copy.load_state_dict(vae.state_dict())
    copy.half().save_pretrained(output / "vae")
    (output / "figures.json").write_text(json.dumps(figures | {"scaling_factor": scaling_factor}))


if __name__ == "__main__":
    main()
