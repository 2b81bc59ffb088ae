"""Samples a control branch: DDIM with classifier-free guidance, both halves in one batch, the hint encoded once."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from diffusers import DDIMScheduler

from ccbench.diffusion.backbone import (
    Backbone,
    decode_latents,
    encode_prompts,
    latent_side,
    load_backbone,
    mask_tensor,
)
from ccbench.diffusion.branch import BranchBuilder, ControlBranch, predict_noise
from ccbench.diffusion.branch_training import load_branch
from ccbench.errors import DataError, VerificationError
from ccbench.plugins.contract import LoadContext, MethodInfo, require_parts
from ccbench.types import Condition, Image


class ExtraTokens(NamedTuple):
    """(B, T, D) tokens behind the prompts' own, in the unconditional (`free`) and the conditional half (`told`)."""

    free: torch.Tensor
    told: torch.Tensor


@torch.inference_mode()
def sample_latents(
    backbone: Backbone,
    branch: ControlBranch,
    masks: torch.Tensor,
    prompts: Sequence[str],
    noise: torch.Tensor,
    num_inference_steps: int,
    guidance_scale: float,
    conditioning_scale: float = 1.0,
    extra: ExtraTokens | None = None,
) -> torch.Tensor:
    """Denoise `noise` (B, 4, h, w) under (B, 3, H, W) masks and B prompts; return clean scaled latents.

    DDIM with eta 0. The unconditional half keeps the hint and has the empty prompt, so guidance extrapolates the
    text only (ControlNet's normal mode).
    """
    guided = guidance_scale > 1
    texts = encode_prompts(backbone, [""] * len(prompts) + list(prompts) if guided else prompts)
    if extra is not None:
        texts = texts.extended(torch.cat(extra) if guided else extra.told)
    hint = branch.encode_hint(masks)
    hint = hint.repeat(2) if guided else hint
    scheduler = DDIMScheduler.from_config(backbone.scheduler.config)
    scheduler.set_timesteps(num_inference_steps, device=noise.device)
    latents: torch.Tensor = noise * scheduler.init_noise_sigma
    for timestep in scheduler.timesteps:
        stacked = torch.cat([latents, latents]) if guided else latents
        times = timestep.expand(len(stacked))
        residuals = branch(stacked, times, texts, hint)
        predicted = predict_noise(backbone.unet, stacked, times, texts.context, residuals, conditioning_scale)
        if guided:
            free, told = predicted.chunk(2)
            predicted = free + guidance_scale * (told - free)
        latents = scheduler.step(predicted, timestep, latents).prev_sample
    return latents


class LatentGenerator:
    """A `Generator` made of a frozen backbone and a trained branch; `extra` makes further tokens of conditions."""

    def __init__(
        self,
        info: MethodInfo,
        context: LoadContext[Any],
        backbone: Backbone,
        branch: ControlBranch,
        extra: Callable[[Sequence[Condition]], ExtraTokens] | None = None,
    ) -> None:
        self._info = info
        self._context = context
        self._backbone = backbone
        self._branch = branch
        self._extra = extra

    def generate(self, conditions: Sequence[Condition], seeds: Sequence[int]) -> list[Image]:
        """Return one (image_size, image_size, 3) uint8 image per condition; see `Generator.generate`."""
        if len(conditions) != len(seeds):
            raise ValueError(f"{len(conditions)} conditions but {len(seeds)} seeds; wanted one seed per condition")
        require_parts(self._info, conditions)
        size = self._context.image_size
        wanted = (size, size)
        for condition in conditions:
            if condition.mask.shape != wanted:
                raise DataError(
                    f"condition {condition.id!r}: its mask is {condition.mask.shape}, this generator makes {wanted}; "
                    "resize the mask to the protocol's size"
                )
        images: list[Image] = []
        for start in range(0, len(conditions), self._context.batch_size):
            stop = start + self._context.batch_size
            images += self._generate_batch(conditions[start:stop], seeds[start:stop])
        return images

    def _generate_batch(self, conditions: Sequence[Condition], seeds: Sequence[int]) -> list[Image]:
        backbone, config = self._backbone, self._context.config
        side = latent_side(backbone, self._context.image_size)
        shape = (backbone.unet.config.in_channels, side, side)
        # Drawn on the CPU, one generator a sample: the noise of a seed is the same on every device and in every batch.
        noise = torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
        latents = sample_latents(
            backbone,
            self._branch,
            mask_tensor([condition.mask for condition in conditions], backbone.device),
            [condition.prompt for condition in conditions],
            noise.to(backbone.device),
            config.num_inference_steps,
            config.guidance_scale,
            config.conditioning_scale,
            None if self._extra is None else self._extra(conditions),
        )
        return decode_latents(backbone, latents)


def load_generator(
    info: MethodInfo,
    context: LoadContext[Any],
    build: BranchBuilder,
    extra: Callable[[Sequence[Condition]], ExtraTokens] | None = None,
) -> LatentGenerator:
    """Return the generator of a checkpoint that `train_branch` left with the same `build`.

    Raises:
        VerificationError: the backbone's weights are not those that the branch was trained on.
    """
    backbone = load_backbone(context.backbone, context.device, allow_pickle=context.allow_pickle)
    if context.backbone_sha256 not in (None, found := backbone.weights_sha256()):
        raise VerificationError(
            f"backbone {context.backbone!r}: its weights have sha256 {found[:12]}, the branch was trained on "
            f"{str(context.backbone_sha256)[:12]}; give those"
        )
    branch = load_branch(context.checkpoint, backbone, context.config, build)
    return LatentGenerator(info, context, backbone, branch, extra)
