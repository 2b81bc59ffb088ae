"""OpenAI's CLIP ViT-B/16 through open_clip: the encoder that papers print CLIP-scores with."""

from pathlib import Path

import open_clip
from open_clip.transform import PreprocessCfg

from ccbench.features.clip_encoder import ClipEncoder, SpecialTokens, build_network

_CONFIG = "ViT-B-16-quickgelu"  # OpenAI trained with QuickGELU; `ViT-B-16` would load and give other features


def open(weights: Path, device: str) -> ClipEncoder:
    """Return the encoder with open_clip's safetensors, or a .pt file of plain tensors with the same names.

    Images go through CLIP's own preprocessing: shorter side to 224 by PIL's bicubic filter, centre crop.
    """
    model_cfg = open_clip.get_model_config(_CONFIG)
    tokenizer = open_clip.SimpleTokenizer()
    return ClipEncoder(
        name="clip-vit-b-16",
        network=build_network(model_cfg, weights, "clip-vit-b-16"),
        dim=int(model_cfg["embed_dim"]),
        weights=weights,
        preprocess=PreprocessCfg(),
        tokenize=tokenizer.encode,
        special=SpecialTokens(tokenizer.sot_token_id, tokenizer.eot_token_id, 0),
        device=device,
    )
