"""Uni-ControlNet's global adapter: a CLIP image embedding as four more tokens behind the prompt's (METHODS 3.2)."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from diffusers.models.attention import FeedForward
from torch import nn
from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

from ccbench.base.seeding import derive_seed
from ccbench.base.tensor_files import tensors_only
from ccbench.base.text import one_line
from ccbench.diffusion.backbone import Backbone, load_backbone, weights_options
from ccbench.diffusion.branch_training import NoiseObjective, NoisyBatch, TrainingSet, encode_set
from ccbench.diffusion.sampler import ExtraTokens
from ccbench.diffusion.training_loop import WEIGHTS, Share, load_weights, prepare_process, run_steps
from ccbench.errors import DataError, MissingError
from ccbench.plugins.contract import LoadContext, TrainContext, TrainReport
from ccbench.types import Condition, Image
from ccbench_uni_controlnet.config import UniControlNetConfig

TOKENS = 4
FOLDER = "global"  # inside the checkpoint
ENCODE_BATCH = 16


class GlobalAdapter(nn.Module):
    """LN, GEGLU E -> 2 E, LN, GEGLU 2 E -> 4 D: (B, E) embeddings, not normalised, to (B, 4, D) tokens."""

    def __init__(self, embedding: int, context: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(embedding),
            FeedForward(embedding, 2 * embedding, dropout=0.1, activation_fn="geglu"),
            nn.LayerNorm(2 * embedding),
            FeedForward(2 * embedding, TOKENS * context, dropout=0.3, activation_fn="geglu"),
        )

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Return the (B, 4, D) tokens of (B, E) embeddings."""
        tokens: torch.Tensor = self.layers(embeddings)
        return tokens.view(len(tokens), TOKENS, -1)


class ImageEncoder:
    """A CLIP image tower with its projection, frozen."""

    def __init__(self, reference: str, device: str, allow_pickle: bool) -> None:
        offline = Path(reference).is_dir() or os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0")
        options = {**weights_options(reference, None, allow_pickle), "trust_remote_code": False}
        try:
            with tensors_only():
                loaded = CLIPVisionModelWithProjection.from_pretrained(reference, local_files_only=offline, **options)
            self._processor = CLIPImageProcessor.from_pretrained(reference, local_files_only=offline)
        except (OSError, ValueError) as error:
            raise MissingError(
                f"global_adapter.encoder={reference}: {one_line(error, 200)}; wanted a folder with a "
                "CLIP vision model and preprocessor_config.json, or a hub id while online"
            ) from error
        self._network = loaded.requires_grad_(False).eval().to(device)
        self.dim = int(loaded.config.projection_dim)

    @torch.no_grad()
    def encode(self, images: Sequence[Image]) -> torch.Tensor:
        """Return (N, E) projected embeddings of (H, W, 3) uint8 images."""
        found = []
        for start in range(0, len(images), ENCODE_BATCH):
            batch = [PIL.Image.fromarray(image) for image in images[start : start + ENCODE_BATCH]]
            pixels = self._processor(images=batch, return_tensors="pt").pixel_values
            found.append(self._network(pixels.to(self._network.device)).image_embeds)
        return torch.cat(found)


class GlobalObjective(NoiseObjective):
    """Mean squared error on epsilon of the backbone with the adapter's tokens, without the local adapter."""

    def __init__(
        self,
        context: TrainContext[UniControlNetConfig],
        backbone: Backbone,
        adapter: GlobalAdapter,
        cache: TrainingSet,
        embeddings: torch.Tensor,
    ) -> None:
        super().__init__(context, backbone, adapter, cache)
        self._embeddings = embeddings

    def forward(self, step: int, share: Share) -> torch.Tensor:
        """Return the loss of a step, dropout drawn by (seed, step) like everything else."""
        with torch.random.fork_rng():
            torch.manual_seed(derive_seed("dropout", self._context.seed, step, share.rank))
            return super().forward(step, share)

    def predict(self, batch: NoisyBatch) -> torch.Tensor:
        """Return epsilon; a dropped condition is an embedding of zeros, as in the unconditional half of sampling."""
        kept = batch.uniform >= self._context.config.mask_drop
        tokens = self.network(self._embeddings[batch.picked] * kept[:, None])
        prompts = batch.prompts.extended(tokens)
        noise: torch.Tensor = self._backbone.unet(batch.noisy, batch.timesteps, prompts.context, return_dict=False)[0]
        return noise


def train_global(context: TrainContext[UniControlNetConfig]) -> TrainReport:
    """Train the adapter alone for the protocol's steps, into its own folder of the checkpoint."""
    accelerator = prepare_process(context)
    device = str(accelerator.device)
    backbone = load_backbone(context.backbone, device, allow_pickle=context.allow_pickle)
    encoder = ImageEncoder(context.config.global_adapter.encoder, device, context.allow_pickle)
    embeddings = encoder.encode([pair.image for pair in context.pairs])
    torch.manual_seed(derive_seed("global weights", context.seed))
    adapter = GlobalAdapter(encoder.dim, backbone.unet.config.cross_attention_dim).to(device).train()
    objective = GlobalObjective(context, backbone, adapter, encode_set(context, backbone), embeddings)
    folder = context.checkpoint / FOLDER
    return run_steps(context, objective, accelerator, folder=folder, title="training the global adapter")


def open_global(context: LoadContext[UniControlNetConfig]) -> Callable[[Sequence[Condition]], ExtraTokens]:
    """Return the function that makes the tokens of conditions from their backgrounds."""
    settings = context.config.global_adapter
    backbone = load_backbone(context.backbone, context.device, allow_pickle=context.allow_pickle)
    encoder = ImageEncoder(settings.encoder, context.device, context.allow_pickle)
    adapter = GlobalAdapter(encoder.dim, backbone.unet.config.cross_attention_dim)
    load_weights(adapter, context.checkpoint / FOLDER / WEIGHTS)
    adapter = adapter.to(context.device).eval().requires_grad_(False)

    def encode(conditions: Sequence[Condition]) -> ExtraTokens:
        references = []
        for condition in conditions:
            if condition.background is None:
                raise DataError(
                    f"condition {condition.id!r}: the global adapter needs a background image and found none; give "
                    "one or set global_adapter=off"
                )
            references.append(np.asarray(condition.background))
        told = encoder.encode(references)
        return ExtraTokens(
            free=adapter(torch.zeros_like(told)) * settings.strength, told=adapter(told) * settings.strength
        )

    return encode


def add_reports(local: TrainReport, adapter: TrainReport) -> TrainReport:
    """Return the report of both stages: the local one's curve, the seconds and parameters of both."""
    return dataclasses.replace(
        local,
        seconds=local.seconds + adapter.seconds,
        parameters_trained=local.parameters_trained + adapter.parameters_trained,
    )
