"""Small random networks in the file formats of the real encoders, a segmenter that sees red, and random images."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tokenizers
import torch
from open_clip.model import CLIP
from safetensors.torch import save_file
from torch_fidelity import feature_extractor_inceptionv3 as inception

WORDS = ["a", "polyp", "red", "pale", "round", "on", "the", "left", "right", "fold"]
MODEL_CFG: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 13, "width": 16, "heads": 2, "layers": 1},
}


class RedSegmenter:
    """Sees a polyp where an image is redder than it is on average."""

    signature, weights, dice = "judge:red", "00000000", 0.5

    def segment(self, images: list[np.ndarray]) -> list[np.ndarray]:
        return [image[..., 0] > image[..., 0].mean() for image in images]


def write_mini_clip(folder: Path, **preprocess: object) -> Path:
    """Write a random open_clip network of 16 features, a word tokenizer, and half-precision weights."""
    folder.mkdir(parents=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = CLIP(**MODEL_CFG)
    save_file(
        {key: value.half().contiguous() for key, value in network.state_dict().items()}, folder / "model.safetensors"
    )
    config = {"model_cfg": MODEL_CFG, "preprocess_cfg": {"resize_mode": "squash", **preprocess}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    vocabulary = {word: number for number, word in enumerate(["<unk>", *WORDS, "<|startoftext|>", "<|endoftext|>"])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.enable_truncation(5)  # must be ignored: ccbench truncates by its own rule
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def write_inception(path: Path) -> Path:
    """Write random weights of torch-fidelity's InceptionV3 whose features differ between images by their own size.

    Those that the network draws itself give 1e-7 for every image, and tests of distances then pass whatever happens.
    """
    with torch.random.fork_rng(), pytest.MonkeyPatch.context() as patch:
        torch.manual_seed(0)
        patch.setattr(inception.FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        patch.setattr(inception, "load_state_dict_from_url", lambda *args, **kwargs: {})
        network = inception.FeatureExtractorInceptionV3("random", ["2048"])
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(module.weight)
        for name, module in network.Mixed_7c.named_modules():
            if name.endswith("bn"):  # sparse features
                torch.nn.init.constant_(module.weight, 8.0)
                torch.nn.init.constant_(module.bias, -8.0)
    torch.save(network.state_dict(), path)
    return path


def random_images(count: int, size: tuple[int, int] = (24, 24), seed: int = 0) -> list[np.ndarray]:
    """Return smooth random uint8 RGB images, alike within a seed."""
    rng = np.random.default_rng(seed)
    tint = rng.uniform(60, 200, size=3)
    images = []
    for _ in range(count):
        coarse = np.clip(tint + rng.normal(0, 50, size=(6, 6, 3)), 0, 255).astype(np.uint8)
        images.append(np.array(PIL.Image.fromarray(coarse).resize(size[::-1], PIL.Image.Resampling.BICUBIC)))
    return images


def write_images(folder: Path, images: list[np.ndarray], prefix: str = "case") -> list[Path]:
    """Write images as `<prefix>-000.png` and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{prefix}-{number:03d}.png" for number in range(len(images))]
    for file, image in zip(files, images, strict=True):
        PIL.Image.fromarray(image).save(file)
    return files
