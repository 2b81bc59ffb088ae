"""A frozen Stable Diffusion: shipped, in a diffusers folder, in one checkpoint file, or on the hub."""

import hashlib
import os
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from numpy.typing import NDArray
from transformers import CLIPTextModel, CLIPTokenizer

from ccbench.base.assets import backbone_kind, find_backbone
from ccbench.base.files import check_plain
from ccbench.base.tensor_files import tensors_only
from ccbench.base.text import one_line
from ccbench.diffusion.sd15 import SD15, Part
from ccbench.diffusion.single_file import load_part, openai_tokenizer, refuse_misfits
from ccbench.errors import DataError, MissingError, UsageError
from ccbench.types import Image


@dataclass(frozen=True)
class Backbone:
    """The five parts of Stable Diffusion, frozen, in evaluation mode, on one device.

    `scheduler` holds the training schedule and samples with DDIM; it is never stepped itself, only copied.
    """

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    scheduler: DDIMScheduler

    @property
    def device(self) -> torch.device:
        """Where the parts are."""
        return cast(torch.device, self.unet.device)

    def weights_sha256(self) -> str:
        """Return sha256 hex over the names, shapes and values of all parameters: equal for every layout of one set."""
        digest = hashlib.sha256()
        for part, network in (("unet", self.unet), ("vae", self.vae), ("text_encoder", self.text_encoder)):
            for name, value in sorted(network.named_parameters()):
                digest.update(f"{part}.{name.removeprefix('text_model.')}{tuple(value.shape)}".encode())
                digest.update(value.detach().cpu().contiguous().numpy().data)
        return digest.hexdigest()


@dataclass(frozen=True)
class EncodedPrompts:
    """Prompts as the UNet takes them.

    Attributes:
        context: (N, 77, D) last hidden state of the text encoder.
        words: (N, 77) bool, the tokens of the prompt's own words and its first end token; start and padding are
            False, and an empty prompt has none.
        ends: (N, 77) bool, the first end token only; none for an empty prompt.
    """

    context: torch.Tensor
    words: torch.Tensor
    ends: torch.Tensor

    def __getitem__(self, index: Any) -> "EncodedPrompts":
        return EncodedPrompts(self.context[index], self.words[index], self.ends[index])

    def extended(self, tokens: torch.Tensor) -> "EncodedPrompts":
        """Return the prompts with (N, T, D) tokens behind the 77, which are no words."""
        none = torch.zeros(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        context = torch.cat([self.context, tokens], 1)
        return EncodedPrompts(context, torch.cat([self.words, none], 1), torch.cat([self.ends, none], 1))


def load_backbone(reference: str, device: str = "cpu", *, allow_pickle: bool = False) -> Backbone:
    """Load a backbone by shipped name, local folder, single-file SD 1.5 checkpoint or hub id, as float32.

    Args:
        allow_pickle: whether weights may be a PyTorch pickle, a single file or in a folder; only tensors are read.

    Raises:
        MissingError: a part is not there, or the hub cannot be reached.
        UsageError: a pickle that is not allowed.
        DataError: a tensor is missing, unknown or of another shape.
    """
    single = backbone_kind(reference) == "file"
    return Backbone(
        unet=_load(reference, "unet", device, allow_pickle).to(memory_format=torch.channels_last),  # faster steps
        vae=_load(reference, "vae", device, allow_pickle),
        text_encoder=_load(reference, "text_encoder", device, allow_pickle),
        tokenizer=openai_tokenizer() if single else _read(CLIPTokenizer, reference, "tokenizer"),
        scheduler=SD15.build_scheduler() if single else _read(DDIMScheduler, reference, "scheduler"),
    )


_CLASSES = {"unet": UNet2DConditionModel, "vae": AutoencoderKL, "text_encoder": CLIPTextModel}


def _load(reference: str, part: Part, device: str, allow_pickle: bool) -> Any:
    """Load one network, frozen."""
    if backbone_kind(reference) == "file":
        network = load_part(Path(reference), part, allow_pickle)
    else:
        network = load_network(_CLASSES[part], reference, part, allow_pickle)
    return network.requires_grad_(False).eval().to(device)


def load_network(kind: Any, reference: str, part: str | None, allow_pickle: bool = False) -> Any:
    """Load a network of diffusers or transformers as float32 from `part` of a folder or hub repository.

    Raises:
        MissingError: it is not there.
        UsageError: a pickle that is not allowed.
        DataError: a tensor is missing, unknown or of another shape.
    """
    dtype = {"dtype" if kind is CLIPTextModel else "torch_dtype": torch.float32}
    # By themselves both libraries draw what is missing at random, drop what they do not know, and go on.
    checked = {"output_loading_info": True, "ignore_mismatched_sizes": True}
    network, info = _read(kind, reference, part, **dtype, **checked, **weights_options(reference, part, allow_pickle))
    found: dict[str, Any] = {key: tuple(found) for key, found, _ in info["mismatched_keys"]}
    wanted: dict[str, Any] = {key: tuple(wanted) for key, _, wanted in info["mismatched_keys"]}
    found |= {key: "" for key in info["unexpected_keys"] if not key.endswith("position_ids")}
    wanted |= {key: tuple(network.state_dict()[key].shape) for key in info["missing_keys"]}
    refuse_misfits(f"{reference}/{part}" if part else reference, found, wanted)
    return network


def weights_options(reference: str, part: str | None, allow_pickle: bool) -> dict[str, Any]:
    """Return how diffusers and transformers are to read weights: no pickle that was not allowed, as `from_pretrained`.

    Raises:
        UsageError: the folder has nothing but pickles.
        DataError: it holds a device or a pipe.
    """
    folder = Path(find_backbone(reference) if part else reference) / (part or "")
    if not folder.is_dir():
        return {"use_safetensors": None if allow_pickle else True}
    check_plain(folder)
    pickles = [file for suffix in ("*.bin", "*.ckpt", "*.pt", "*.pth") for file in folder.glob(suffix)]
    only_pickles = bool(pickles) and not any(folder.glob("*.safetensors"))
    if only_pickles and not allow_pickle:
        raise UsageError(
            f"{pickles[0]}: is a PyTorch pickle; give the same weights as .safetensors, or --allow-pickle to read its "
            "tensors without running its code"
        )
    return {"use_safetensors": not only_pickles}


def _read(kind: Any, reference: str, part: str | None, **settings: Any) -> Any:
    source = find_backbone(reference) if part else reference
    offline = Path(source).is_dir() or os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0")
    place: dict[str, Any] = {"subfolder": part} if part else {}
    if kind.__module__.startswith("transformers."):
        place["trust_remote_code"] = False  # a folder may bring Python of its own; diffusers' classes read none
    try:
        with tensors_only():
            return kind.from_pretrained(source, local_files_only=offline, **place, **settings)
    except (OSError, ValueError, RuntimeError, RecursionError, pickle.UnpicklingError) as error:
        first_line = one_line(error, 200)
        if isinstance(error, RuntimeError | pickle.UnpicklingError):
            raise DataError(f"{reference!r}: {part or 'its weights'}: {first_line}; copy it again") from error
        parts = "unet/ vae/ text_encoder/ tokenizer/ scheduler/" if part else "config.json and its weights"
        raise MissingError(
            f"{reference!r}: {first_line}; wanted a folder in diffusers format with {parts}, one checkpoint file, or a "
            "hub id while online"
        ) from error


def open_reconstruction(reference: str, device: str = "cpu", allow_pickle: bool = False) -> Callable[[Image], Image]:
    """Return a function that sends an image through a backbone's VAE and back, by the posterior's mode.

    What it returns is the best that any method in these latents can make. Only the VAE is loaded.

    Raises:
        CcbenchError: as `load_backbone`.
    """
    vae = _load(reference, "vae", device, allow_pickle)

    @torch.no_grad()
    def reconstruct(image: Image) -> Image:
        latent = vae.encode(image_tensor(image[None], vae.device)).latent_dist.mode()
        return _to_images(vae.decode(latent).sample)[0]

    return reconstruct


@torch.no_grad()
def encode_prompts(backbone: Backbone, prompts: Sequence[str]) -> EncodedPrompts:
    """Encode `prompts`, cut after 77 tokens with both special tokens kept."""
    tokens = backbone.tokenizer(
        list(prompts), padding="max_length", truncation=True, max_length=77, return_tensors="pt"
    ).input_ids  # (N, 77)
    end = (tokens == backbone.tokenizer.eos_token_id).int().argmax(1, keepdim=True)  # the first: padding follows
    position = torch.arange(77)[None]
    told = end > 1
    context = backbone.text_encoder(tokens.to(backbone.device)).last_hidden_state
    words = told & (position >= 1) & (position <= end)
    return EncodedPrompts(context, words.to(backbone.device), (told & (position == end)).to(backbone.device))


def latent_side(backbone: Backbone, image_size: int) -> int:
    """Return the side of the latents of an image of `image_size` pixels: an eighth for SD 1.5.

    Raises:
        UsageError: the image is no whole number of latent cells.
    """
    cell: int = 2 ** (len(backbone.vae.config.block_out_channels) - 1)
    if image_size % cell:
        near = max(1, round(image_size / cell)) * cell
        raise UsageError(f"images of {image_size} px: wanted a multiple of {cell} for this backbone, such as {near}")
    return image_size // cell


def image_tensor(images: NDArray[np.uint8], device: torch.device) -> torch.Tensor:
    """(N, H, W, 3) uint8 -> (N, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1


@torch.no_grad()
def encode_images(backbone: Backbone, images: NDArray[np.uint8]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and standard deviation of the latent posterior, scaled; (N, 4, H/8, W/8) each for SD 1.5."""
    posterior = backbone.vae.encode(image_tensor(images, backbone.device)).latent_dist
    scale = backbone.vae.config.scaling_factor
    return posterior.mean * scale, posterior.std * scale


@torch.no_grad()
def decode_latents(backbone: Backbone, latents: torch.Tensor) -> list[Image]:
    """Return one (H, W, 3) uint8 image per latent."""
    return _to_images(backbone.vae.decode(latents / backbone.vae.config.scaling_factor).sample)


def _to_images(decoded: torch.Tensor) -> list[Image]:
    pixels = ((decoded.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return list(pixels.permute(0, 2, 3, 1).cpu().numpy())


def mask_tensor(masks: Sequence[NDArray[np.bool_]], device: torch.device) -> torch.Tensor:
    """Masks -> (N, 3, H, W) hints in {0, 1}, the mask replicated over three channels."""
    stacked = torch.from_numpy(np.stack(list(masks))).to(device).float()
    return stacked[:, None].expand(-1, 3, -1, -1)
