"""Images, prompts and random weights for scoring.py, alike for all that is measured."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import PIL.Image
import torch
from safetensors.torch import load_file, save_file
from torch_fidelity import feature_extractor_inceptionv3 as inception

WORDS = ("small", "large", "flat", "sessile", "red", "pale", "smooth", "lobulated", "left", "right", "upper", "lower")


def write_images(folder: Path, count: int, size: int, seed: int) -> None:
    """Write smooth random images with a sensor's noise, whose PNGs are as large as those of real frames."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for number in range(count):
        coarse = PIL.Image.fromarray(rng.integers(40, 220, (8, 8, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((size, size), PIL.Image.Resampling.BICUBIC), dtype=np.float32)
        noisy = smooth + 2 * rng.standard_normal((size, size, 1), dtype=np.float32)
        PIL.Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{number:05d}.png", compress_level=1)


def write_prompts(path: Path, count: int) -> None:
    rng = np.random.default_rng(2)
    words = [rng.choice(WORDS, 5) for _ in range(count)]
    path.write_text(json.dumps(["a {} {} {} polyp in the {} {} of the image".format(*some) for some in words]))


def write_inception(path: Path) -> None:
    """Write random weights of torch-fidelity's InceptionV3; the scale keeps activations from vanishing."""
    torch.manual_seed(0)
    kind = inception.FeatureExtractorInceptionV3
    kind.load_state_dict, load = (lambda self, state: None), kind.load_state_dict
    inception.load_state_dict_from_url, fetch = (lambda *args, **named: {}), inception.load_state_dict_from_url
    network = kind("random", ["2048"])
    kind.load_state_dict, inception.load_state_dict_from_url = load, fetch
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    torch.save(network.state_dict(), path)


def write_clip(path: Path) -> None:
    torch.manual_seed(1)
    network = open_clip.CLIP(**open_clip.get_model_config("ViT-B-16-quickgelu"))
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, path)


def transformers_clip(weights: Path) -> tuple[Any, Any]:
    """Return transformers' model and processor with the tensors of an open_clip file of ViT-B/16."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor

    from ccbench.diffusion.single_file import openai_tokenizer

    network = CLIPModel(CLIPConfig(vision_config={"patch_size": 16})).eval()
    network.load_state_dict(_renamed(load_file(weights)))
    for name in ("get_image_features", "get_text_features"):  # torchmetrics expects the tensors of older releases
        setattr(network, name, _only_tensor(getattr(network, name)))
    return network, CLIPProcessor(CLIPImageProcessor(), openai_tokenizer())


def _only_tensor(function: Any) -> Any:
    return lambda *args: function(*args).pooler_output


def _renamed(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    names = {
        "visual.class_embedding": "vision_model.embeddings.class_embedding",
        "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
        "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
        "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
        "positional_embedding": "text_model.embeddings.position_embedding.weight",
        "logit_scale": "logit_scale",
    }
    parts = {"visual.ln_pre": "vision_model.pre_layrnorm", "visual.ln_post": "vision_model.post_layernorm"}
    parts |= {"ln_final": "text_model.final_layer_norm", "visual.transformer.resblocks": "vision_model.encoder.layers"}
    parts |= {"transformer.resblocks": "text_model.encoder.layers", "attn.out_proj": "self_attn.out_proj"}
    parts |= {"ln_1": "layer_norm1", "ln_2": "layer_norm2", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}
    found = {
        "visual_projection.weight": state.pop("visual.proj").T,
        "text_projection.weight": state.pop("text_projection").T,
    }
    for key, tensor in state.items():
        name = names.get(key, key)
        for old, new in parts.items() if key not in names else ():
            name = name.replace(old, new)
        if "in_proj_" in name:
            for letter, third in zip("qkv", tensor.chunk(3), strict=True):
                found[name.replace("attn.in_proj_", f"self_attn.{letter}_proj.")] = third
        elif key != "attn_mask":
            found[name] = tensor
    return found
