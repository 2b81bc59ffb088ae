"""Train `mini-clip`, an open_clip model of phantoms and their captions.

    python recipes/train_mini_clip.py [--steps 240] [--output work/mini-clip]

Resumable: the same command goes on from the last checkpoint. The image tower starts from the ImageNet weights of
EfficientNet-Lite0; its first five stages stay as they are, so their output is computed once for every phantom. The
text tower is a small transformer on the vocabulary of text_vocabulary.py. Loss: CLIP's, through open_clip.
"""

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from safetensors.torch import save_file

from ccbench.features.lite0 import load_lite0
from phantom_pool import load_pool
from text_vocabulary import train_vocabulary

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


def to_input(images: np.ndarray) -> torch.Tensor:
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float().div(255)
    return ((x - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)).contiguous(
        memory_format=torch.channels_last
    )


@torch.inference_mode()
def evaluate(model: Any, images: np.ndarray, tokens: torch.Tensor) -> dict[str, float]:
    """Caption-to-image recall@1 and the share of pairs whose right caption beats a swapped one."""
    model.eval()
    seen = torch.cat(
        [model.encode_image(to_input(images[i : i + 32]), normalize=True) for i in range(0, len(images), 32)]
    )
    scores = model.encode_text(tokens, normalize=True) @ seen.T  # (captions, images)
    right = scores.diagonal()
    return {
        "recall_at_1": (scores.argmax(1) == torch.arange(len(images))).float().mean().item(),
        "beats_swapped": (right > scores.roll(1, 0).diagonal()).float().mean().item(),
    }


@torch.inference_mode()
def frozen_features(trunk: Any, images: np.ndarray) -> torch.Tensor:
    """Return the output of the frozen stages, (N, 112, 8, 8)."""
    parts = []
    for start in range(0, len(images), 32):
        x = trunk.bn1(trunk.conv_stem(to_input(images[start : start + 32])))
        parts.append(trunk.blocks[:FROZEN_STAGES](x).contiguous())
    return torch.cat(parts)


def encode_rest(visual: Any, features: torch.Tensor) -> torch.Tensor:
    """Return normalised image embeddings (N, 128) from the frozen stages' output."""
    trunk = visual.trunk
    x = trunk.bn2(trunk.conv_head(trunk.blocks[FROZEN_STAGES:](features)))
    return torch.nn.functional.normalize(visual.head(trunk.forward_head(x)), dim=-1)


def prepare(model: Any) -> list[torch.nn.Parameter]:
    """Freeze the stem and first stages, and every running statistic; return what trains."""
    trunk = model.visual.trunk
    for part in [trunk.conv_stem, trunk.bn1, *list(trunk.blocks)[:FROZEN_STAGES]]:
        part.requires_grad_(False)
    return [p for p in model.parameters() if p.requires_grad]


def set_training(model: Any) -> None:
    model.train()
    for module in model.visual.trunk.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--batch-size", type=int, default=96)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--phantoms", type=int, default=8000)
    parser.add_argument("--output", type=Path, default=Path("work/mini-clip"))
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    pool = load_pool("train", args.phantoms, args.output.parent / "pool")
    held_out = load_pool("held-out", 64, args.output.parent / "pool")
    tokenizer = train_vocabulary(pool.captions)
    ids = lambda texts: (
        tokenizer(texts, padding="max_length", truncation=True, max_length=77, return_tensors="pt").input_ids
    )
    tokens, held_tokens = ids(pool.captions), ids(held_out.captions)

    torch.manual_seed(0)
    config = model_config(len(tokenizer))
    model: Any = open_clip.CLIP(**config)
    model.visual.trunk.load_state_dict(load_lite0().state_dict(), strict=False)
    model = model.to(memory_format=torch.channels_last)
    trained = prepare(model)
    trunk = {id(p) for p in model.visual.trunk.parameters()}
    groups = [
        {"params": [p for p in trained if id(p) in trunk], "share": 0.5},
        {"params": [p for p in trained if id(p) not in trunk], "share": 1.0},
    ]
    optimiser = torch.optim.AdamW(groups, args.learning_rate, betas=(0.9, 0.98), weight_decay=0.05)
    loss_of = open_clip.ClipLoss()
    state_file = args.output / "state.pt"
    step = 0
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        step = state["step"]

    model.eval()
    features = frozen_features(model.visual.trunk, pool.images).clone()
    few = features[:8].to(memory_format=torch.channels_last)
    with torch.inference_mode():  # the two ways through the image tower are one
        assert torch.allclose(
            encode_rest(model.visual, few), model.encode_image(to_input(pool.images[:8]), normalize=True), atol=1e-4
        )
    started = time.time()
    set_training(model)
    while step < args.steps:
        rng = np.random.default_rng([11, step])
        picked = rng.choice(len(pool.images), args.batch_size, replace=False)
        rate = (
            args.learning_rate
            * min(1, (step + 1) / 50)
            * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / args.steps)))
        )
        for group in optimiser.param_groups:
            group["lr"] = rate * group["share"]
        chosen = torch.from_numpy(picked)
        image = encode_rest(model.visual, features[chosen].contiguous(memory_format=torch.channels_last))
        loss = loss_of(image, model.encode_text(tokens[chosen], normalize=True), model.logit_scale.exp())
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
        step += 1
        if step % 10 == 0:
            print(f"step {step}/{args.steps} loss {loss.item():.4f} {time.time() - started:.0f}s", flush=True)
        if step % 100 == 0 or step == args.steps:
            temporary = state_file.with_suffix(".tmp")
            torch.save({"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": step}, temporary)
            temporary.replace(state_file)
            figures = {"steps": step} | evaluate(model, held_out.images, held_tokens)
            print(figures, flush=True)
            if step == args.steps:
                save(model, tokenizer, config, args.output, figures)
            set_training(model)


def save(model: Any, tokenizer: Any, config: dict[str, Any], output: Path, figures: dict[str, float]) -> None:
    """Write what `ccbench.features.mini_clip` reads, fp16."""
    folder = output / "mini-clip"
    folder.mkdir(exist_ok=True)
    preprocess = {"size": 128, "mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "squash"}
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}, indent=2)
    )
    state = {
        key: value.half().contiguous() if value.is_floating_point() else value.contiguous()
        for key, value in model.state_dict().items()
    }
    save_file(state, folder / "model.safetensors")
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    (output / "figures.json").write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
