"""OpenAI's CLIP vision transformers through open_clip: the encoders that papers print CLIP-scores with."""

from functools import partial
from pathlib import Path

import open_clip
from open_clip.transform import PreprocessCfg

from ccbench.features.clip_encoder import ClipEncoder, SpecialTokens


def _open(weights: Path, device: str, *, name: str, config: str) -> ClipEncoder:
    """Return the encoder with open_clip's safetensors, or a .pt file of plain tensors with the same names.

    Images go through CLIP's own preprocessing: shorter side to 224 by PIL's bicubic filter, centre crop.
    """
    tokenizer = open_clip.SimpleTokenizer()
    return ClipEncoder(
        name=name,
        model_cfg=open_clip.get_model_config(config),
        weights=weights,
        preprocess=PreprocessCfg(),
        tokenize=tokenizer.encode,
        special=SpecialTokens(tokenizer.sot_token_id, tokenizer.eot_token_id, 0),
        device=device,
    )


# OpenAI trained with QuickGELU; the configurations without it would load and give other features.
open_b_16 = partial(_open, name="clip-vit-b-16", config="ViT-B-16-quickgelu")
open_b_32 = partial(_open, name="clip-vit-b-32", config="ViT-B-32-quickgelu")
open_l_14 = partial(_open, name="clip-vit-l-14", config="ViT-L-14-quickgelu")
