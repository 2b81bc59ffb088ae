"""Train `mini-clip`, an open_clip model of phantoms, PolypGen's frames, and their captions.

    python recipes/train_mini_clip.py --polypgen DIR [--steps 800] [--output work/mini-clip]

Resumable: the same command goes on from the last checkpoint. The image tower starts from the ImageNet weights of
EfficientNet-Lite0; its first five stages stay as they are, so their output is computed once for every image. The
text tower is a small transformer on the vocabulary of text_vocabulary.py. Loss: CLIP's, through open_clip.
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from transformers import CLIPTokenizer

from ccbench.features.lite0 import load_lite0
from frame_views import load_views
from phantom_pool import load_pool
from text_vocabulary import tokenise, train_vocabulary
from train_vae import to_tensor
from training_run import TrainingRun, pick_device, set_rate

MEAN = STD = (0.5, 0.5, 0.5)
FROZEN_STAGES = 5


def model_config(vocabulary: int) -> dict[str, Any]:
    vision = {
        "timm_model_name": "tf_efficientnet_lite0",
        "timm_model_pretrained": False,
        "timm_pool": "avg",
        "timm_proj": "linear",
        "image_size": 128,
    }
    return {
        "embed_dim": 128,
        "vision_cfg": vision,
        "text_cfg": {"context_length": 77, "vocab_size": vocabulary, "width": 128, "heads": 4, "layers": 3},
    }


@torch.inference_mode()
def evaluate(model: Any, images: NDArray[np.uint8], tokens: torch.Tensor) -> dict[str, float]:
    """Caption-to-image recall@1, and the share of pairs whose right caption beats the next image's."""
    model.eval()
    device = model.logit_scale.device
    batches = (to_tensor(images[i : i + 32]).to(device) for i in range(0, len(images), 32))
    seen = torch.cat([model.encode_image(batch, normalize=True) for batch in batches])
    scores = (model.encode_text(tokens.to(device), normalize=True) @ seen.T).cpu()  # (captions, images)
    right = scores.diagonal()
    return {
        "recall_at_1": (scores.argmax(1) == torch.arange(len(images))).float().mean().item(),
        "beats_swapped": (right > scores.roll(1, 0).diagonal()).float().mean().item(),
    }


@torch.inference_mode()
def frozen_features(trunk: Any, images: NDArray[np.uint8]) -> torch.Tensor:
    """Return the output of the frozen stages, (N, 112, 8, 8) in half precision."""
    parts = []
    for start in range(0, len(images), 32):
        x = trunk.bn1(trunk.conv_stem(to_tensor(images[start : start + 32]).to(trunk.conv_stem.weight.device)))
        parts.append(trunk.blocks[:FROZEN_STAGES](x).half().contiguous().cpu())
    return torch.cat(parts)


def encode_rest(visual: Any, features: torch.Tensor) -> torch.Tensor:
    """Return normalised image embeddings (N, 128) from the frozen stages' output."""
    trunk = visual.trunk
    x = features.float().contiguous(memory_format=torch.channels_last)
    x = trunk.bn2(trunk.conv_head(trunk.blocks[FROZEN_STAGES:](x)))
    return torch.nn.functional.normalize(visual.head(trunk.forward_head(x)), dim=-1)


def build(vocabulary: int) -> Any:
    """Return the model with ImageNet weights in its image tower, whose first stages are frozen."""
    model: Any = open_clip.CLIP(**model_config(vocabulary))
    trunk = model.visual.trunk
    trunk.load_state_dict(load_lite0().state_dict(), strict=False)
    for part in [trunk.conv_stem, trunk.bn1, *list(trunk.blocks)[:FROZEN_STAGES]]:
        part.requires_grad_(False)
    return model.to(memory_format=torch.channels_last)


def set_training(model: Any) -> None:
    """Training mode, but every running statistic stays."""
    model.train()
    for module in model.visual.trunk.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--polypgen", type=Path, required=True, help="folder that holds data_C1/ to data_C5/")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--batch-size", type=int, default=96, help="half phantoms, half frames")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--output", type=Path, default=Path("work/mini-clip"))
    args = parser.parse_args()
    pools = args.output.parent / "pool"
    kinds = {"phantom": load_pool("train", 8000, pools), "frame": load_views("train", args.polypgen, pools)}
    held_out = {"phantom": load_pool("held-out", 64, pools), "polypgen": load_views("held-out", args.polypgen, pools)}
    tokenizer = train_vocabulary([caption for pool in kinds.values() for caption in pool.captions])
    tokens = {name: tokenise(tokenizer, pool.captions) for name, pool in kinds.items()}

    torch.manual_seed(0)
    device = pick_device()
    model = build(len(tokenizer)).to(device)
    trunk = {id(p) for p in model.visual.trunk.parameters()}
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if id(p) in trunk], "share": 0.5},
        {"params": [p for p in trained if id(p) not in trunk], "share": 1.0},
    ]
    optimiser = torch.optim.AdamW(groups, args.learning_rate, betas=(0.9, 0.98), weight_decay=0.05)
    run = TrainingRun(args.output, args.steps, 100, {"model": model, "optimiser": optimiser}, device)
    loss_of = open_clip.ClipLoss()

    model.eval()
    features = {name: frozen_features(model.visual.trunk, pool.images).clone() for name, pool in kinds.items()}
    set_training(model)
    while run.step < run.steps:
        rng = np.random.default_rng([11, run.step])
        set_rate(optimiser, run.rate(args.learning_rate, 50))
        # One kind a batch: a phantom among frames would be too easy to tell.
        name = ("phantom", "frame")[run.step % 2]
        chosen = torch.from_numpy(rng.choice(len(tokens[name]), args.batch_size, replace=False))
        text = model.encode_text(tokens[name][chosen].to(device), normalize=True)
        image = encode_rest(model.visual, features[name][chosen].to(device))
        loss = loss_of(image, text, model.logit_scale.exp())
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
        if run.advance({"loss": loss.item()}):
            figures: dict[str, Any] = {"steps": run.step}
            for kind, pool in held_out.items():
                found = evaluate(model, pool.images[:64], tokenise(tokenizer, pool.captions[:64]))
                figures |= {f"{key}_{kind}": value for key, value in found.items()}
            print(figures, flush=True)
            save(model, tokenizer, args.output, figures)
            set_training(model)


def save(model: Any, tokenizer: CLIPTokenizer, output: Path, figures: dict[str, float]) -> None:
    """Write what `ccbench.features.mini_clip` reads, fp16."""
    folder = output / "mini-clip"
    folder.mkdir(exist_ok=True)
    preprocess = {"size": 128, "mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "squash"}
    config = {"model_cfg": model_config(len(tokenizer)), "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2))
    state = {
        key: value.half().contiguous() if value.is_floating_point() else value.contiguous()
        for key, value in model.state_dict().items()
    }
    save_file(state, folder / "model.safetensors")
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    (output / "figures.json").write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
