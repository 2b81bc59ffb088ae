"""DINOv2 vision transformers through timm: self-supervised features that do not follow ImageNet's classes."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import timm
import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn

from ccbench.base.images import resize_image
from ccbench.base.tensor_files import describe_tensors, load_state, weights_hash
from ccbench.base.text import one_line
from ccbench.errors import DataError
from ccbench.features.fast_paths import TowerEncoder
from ccbench.types import Image

SIZE = 224  # pixels, 16 x 16 patches: what published DINOv2 distances use, not the 518 of the last training stage
_NETWORKS = {width: f"vit_{name}_patch14_dinov2" for width, name in ((384, "small"), (768, "base"), (1024, "large"))}


def open(weights: Path, device: str) -> TowerEncoder:
    """Return the encoder with timm's or Meta's file of ViT-S/14, B/14 or L/14; its tensors say which.

    Features are class tokens after the last norm, (N, D); images are squashed to 224 x 224 by PIL's bicubic filter.
    """
    name, network = _load(weights)
    signature = f"enc:dinov2-{name}|w:{weights_hash(weights)}|resize:clean-bicubic{SIZE}"
    return TowerEncoder("dinov2", signature, int(network.num_features), device, lambda: network.to(device), _prepare)


def _load(weights: Path) -> tuple[str, VisionTransformer]:
    state = load_state(weights)
    name = _NETWORKS.get(state["cls_token"].shape[-1]) if "cls_token" in state and state["cls_token"].ndim else None
    if name is None:
        wanted = "wanted timm's or Meta's file of DINOv2 ViT-S/14, B/14 or L/14"
        raise DataError(f"encoder dinov2: {weights} holds {describe_tensors(state)}; {wanted}")
    try:
        with torch.device("meta"):  # without initial weights, which take longer to draw than to read
            network = cast(VisionTransformer, timm.create_model(name, pretrained=False, num_classes=0, img_size=SIZE))
        fitting = checkpoint_filter_fn(state, network)  # position embeddings are resampled to 16 x 16
        network.load_state_dict(fitting, assign=True)
    except (RuntimeError, KeyError) as error:
        raise DataError(f"encoder dinov2: {weights} does not fit {name} ({one_line(error, 160)})") from error
    return name.removesuffix("_patch14_dinov2").replace("_", "-"), network.float().eval().requires_grad_(False)


def _prepare(images: Sequence[Image]) -> torch.Tensor:
    pixels = torch.from_numpy(np.stack([resize_image(image, SIZE) for image in images]))  # (B, S, S, 3)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD))
    return (pixels.permute(0, 3, 1, 2).float() / 255 - mean) / std  # (B, 3, S, S)
