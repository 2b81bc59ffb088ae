"""Trains a control branch on a frozen backbone: latents and prompts are encoded once, then steps are cheap."""

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ccbench.diffusion.backbone import Backbone, EncodedPrompts, encode_images, encode_prompts, load_backbone
from ccbench.diffusion.branch import BranchBuilder, ControlBranch, predict_noise
from ccbench.diffusion.loop import WEIGHTS, Objective, Share, batch_order, load_weights, prepare_process, run_steps
from ccbench.plugin import TrainContext, TrainReport
from ccbench.seeding import derive_seed

ENCODE_BATCH = 16


@dataclass(frozen=True)
class TrainingCache:
    """Everything of the training set that does not change between steps; N images."""

    mean: torch.Tensor  # (N, 4, h, w)
    std: torch.Tensor  # (N, 4, h, w)
    masks: torch.Tensor  # (N, H, W) bool
    prompts: EncodedPrompts
    empty: EncodedPrompts  # one row


def train_branch(context: TrainContext[Any], build: BranchBuilder) -> TrainReport:
    """Train what `build` returns and leave `model.safetensors` and `loss.csv` in the checkpoint folder.

    Squared error on epsilon (METHODS Eq. 4); see `Objective.forward` on the draws and `run_steps` on the rest.
    """
    started = time.perf_counter()
    accelerator = prepare_process(context)
    backbone = load_backbone(context.backbone, str(accelerator.device), allow_pickle=context.allow_pickle)
    torch.manual_seed(derive_seed("weights", context.seed))  # layers that do not come from the backbone
    branch = build(backbone, context.config).to(accelerator.device).train()
    objective = NoiseObjective(context, backbone, branch, _encode_set(context, backbone))
    report = run_steps(context, objective, accelerator)
    seconds = time.perf_counter() - started
    return dataclasses.replace(report, seconds=seconds, backbone_sha256=backbone.weights_sha256())


def load_branch(checkpoint: Path, backbone: Backbone, config: Any, build: BranchBuilder) -> ControlBranch:
    """Return the trained branch of a checkpoint folder, ready to sample; errors as `load_weights`."""
    branch = build(backbone, config)
    load_weights(branch, checkpoint / WEIGHTS)
    return branch.to(backbone.device).eval().requires_grad_(False)


class NoiseObjective(Objective):
    """Mean squared error on epsilon of a branch beside its frozen backbone."""

    def __init__(
        self, context: TrainContext[Any], backbone: Backbone, branch: ControlBranch, cache: TrainingCache
    ) -> None:
        super().__init__()
        self.network: ControlBranch = branch
        self._context, self._backbone, self._cache = context, backbone, cache

    def forward(self, step: int, share: Share) -> torch.Tensor:
        """Return the loss of a step; see `Objective.forward`."""
        cache, training, seed = self._cache, self._context.training, self._context.seed
        unet, scheduler = self._backbone.unet, self._backbone.scheduler
        generator = torch.Generator().manual_seed(derive_seed("train", seed, step))
        whole = batch_order(len(cache.masks), training.batch_size, seed, step)
        shape, device = (len(whole), *cache.mean.shape[1:]), cache.mean.device
        sampled, noise = (share.of(torch.randn(shape, generator=generator)).to(device) for _ in range(2))
        timesteps = torch.randint(0, scheduler.config.num_train_timesteps, (len(whole),), generator=generator)
        timesteps = share.of(timesteps).to(device)
        dropped = share.of(torch.rand(len(whole), generator=generator) < training.prompt_drop).to(device)
        picked = share.of(whole)
        noisy = scheduler.add_noise(cache.mean[picked] + cache.std[picked] * sampled, noise, timesteps)
        prompts = _drop(cache.prompts[picked], cache.empty, dropped)
        hint = self.network.encode_hint(cache.masks[picked][:, None].float().expand(-1, 3, -1, -1))
        residuals = self.network(noisy, timesteps, prompts, hint)
        predicted = predict_noise(unet, noisy, timesteps, prompts.context, residuals)
        return torch.nn.functional.mse_loss(predicted, noise)


def _drop(prompts: EncodedPrompts, empty: EncodedPrompts, dropped: torch.Tensor) -> EncodedPrompts:
    return EncodedPrompts(
        torch.where(dropped[:, None, None], empty.context, prompts.context),
        torch.where(dropped[:, None], empty.words, prompts.words),
        torch.where(dropped[:, None], empty.ends, prompts.ends),
    )


def _encode_set(context: TrainContext[Any], backbone: Backbone) -> TrainingCache:
    means, stds, masks, prompts = [], [], [], []
    with context.progress.step("encoding training images", len(context.pairs)) as progress:
        for start in range(0, len(context.pairs), ENCODE_BATCH):
            pairs = [context.pairs[i] for i in range(start, min(start + ENCODE_BATCH, len(context.pairs)))]
            mean, std = encode_images(backbone, np.stack([pair.image for pair in pairs]))
            means.append(mean)
            stds.append(std)
            masks.append(torch.from_numpy(np.stack([pair.condition.mask for pair in pairs])))
            prompts.append(encode_prompts(backbone, [pair.condition.prompt for pair in pairs]))
            progress.advance(len(pairs))
    joined = EncodedPrompts(
        *(torch.cat([getattr(part, name) for part in prompts]) for name in ("context", "words", "ends"))
    )
    masks_on_device = torch.cat(masks).to(backbone.device)
    return TrainingCache(torch.cat(means), torch.cat(stds), masks_on_device, joined, encode_prompts(backbone, [""]))
