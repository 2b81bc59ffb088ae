"""Trains a control branch on a frozen backbone: latents and prompts are encoded once, then steps are cheap."""

import dataclasses
import hashlib
import time
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from ccbench.base.files import make_folder, write_atomic
from ccbench.base.seeding import derive_seed
from ccbench.base.tensor_files import load_safetensors
from ccbench.diffusion.backbone import (
    Backbone,
    EncodedPrompts,
    encode_images,
    encode_prompts,
    latent_side,
    load_backbone,
)
from ccbench.diffusion.branch import BranchBuilder, ControlBranch, predict_noise
from ccbench.diffusion.training_loop import (
    WEIGHTS,
    Objective,
    Share,
    batch_order,
    load_weights,
    prepare_process,
    run_steps,
)
from ccbench.plugins.contract import TrainContext, TrainReport

ENCODE_BATCH = 16


@dataclass(frozen=True)
class TrainingSet:
    """Everything of the training images that does not change between steps; N of them."""

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
    branch.to(memory_format=torch.channels_last)  # faster steps
    objective = BranchObjective(context, backbone, branch, encode_set(context, backbone))
    report = run_steps(context, objective, accelerator)
    seconds = time.perf_counter() - started
    return dataclasses.replace(report, seconds=seconds, backbone_sha256=backbone.weights_sha256())


def load_branch(checkpoint: Path, backbone: Backbone, config: Any, build: BranchBuilder) -> ControlBranch:
    """Return the trained branch of a checkpoint folder, ready to sample; errors as `load_weights`."""
    branch = build(backbone, config)
    load_weights(branch, checkpoint / WEIGHTS)
    return branch.to(backbone.device).eval().requires_grad_(False)


@dataclass(frozen=True)
class NoisyBatch:
    """This process's share of a step's batch; B images.

    Attributes:
        picked: (B,) indices into the training set.
        noisy: (B, 4, h, w) latents at the (B,) `timesteps`.
        prompts: some replaced by the empty one.
        uniform: (B,) in [0, 1), to drop conditions by.
    """

    picked: torch.Tensor
    noisy: torch.Tensor
    timesteps: torch.Tensor
    prompts: EncodedPrompts
    uniform: torch.Tensor


class NoiseObjective(Objective):
    """Mean squared error on epsilon; `predict` says whose."""

    def __init__(
        self, context: TrainContext[Any], backbone: Backbone, network: torch.nn.Module, cache: TrainingSet
    ) -> None:
        super().__init__()
        self.network = network
        self._context, self._backbone, self._cache = context, backbone, cache

    @abstractmethod
    def predict(self, batch: NoisyBatch) -> torch.Tensor:
        """Return the (B, 4, h, w) epsilon that the trained network and the frozen backbone give."""

    def forward(self, step: int, share: Share) -> torch.Tensor:
        """Return the loss of a step; see `Objective.forward`."""
        cache, training, scheduler = self._cache, self._context.training, self._backbone.scheduler
        generator = torch.Generator().manual_seed(derive_seed("train", self._context.seed, step))
        whole = batch_order(len(cache.masks), training.batch_size, self._context.seed, step)
        count, device = len(whole), cache.mean.device
        shape = (count, *cache.mean.shape[1:])
        sampled, noise = (share.of(torch.randn(shape, generator=generator)).to(device) for _ in range(2))
        timesteps = torch.randint(0, scheduler.config.num_train_timesteps, (count,), generator=generator)
        timesteps = share.of(timesteps).to(device)
        dropped = share.of(torch.rand(count, generator=generator) < training.prompt_drop).to(device)
        uniform = share.of(torch.rand(count, generator=generator)).to(device)
        picked = share.of(whole)
        noisy = scheduler.add_noise(cache.mean[picked] + cache.std[picked] * sampled, noise, timesteps)
        prompts = _drop(cache.prompts[picked], cache.empty, dropped)
        predicted = self.predict(NoisyBatch(picked, noisy, timesteps, prompts, uniform))
        return torch.nn.functional.mse_loss(predicted, noise)


class BranchObjective(NoiseObjective):
    """The loss of a control branch beside its frozen backbone."""

    network: ControlBranch

    def predict(self, batch: NoisyBatch) -> torch.Tensor:
        """Return epsilon with the branch's residuals; see `NoiseObjective.predict`."""
        kept = (batch.uniform >= self.network.mask_drop)[:, None, None]
        masks = (self._cache.masks[batch.picked] & kept)[:, None].float().expand(-1, 3, -1, -1)
        residuals = self.network(batch.noisy, batch.timesteps, batch.prompts, self.network.encode_hint(masks))
        return predict_noise(self._backbone.unet, batch.noisy, batch.timesteps, batch.prompts.context, residuals)


def _drop(prompts: EncodedPrompts, empty: EncodedPrompts, dropped: torch.Tensor) -> EncodedPrompts:
    return EncodedPrompts(
        torch.where(dropped[:, None, None], empty.context, prompts.context),
        torch.where(dropped[:, None], empty.words, prompts.words),
        torch.where(dropped[:, None], empty.ends, prompts.ends),
    )


def encode_set(context: TrainContext[Any], backbone: Backbone) -> TrainingSet:
    """Encode every training image and prompt once, or read what another training on them has encoded.

    What was encoded is as if it had been read: a VAE may leave latents channels-last, and convolutions round by layout.

    Raises:
        UsageError: the images' size does not fit the backbone's latents.
    """
    latent_side(backbone, context.image_size)
    file = None if context.shared is None else context.shared / f"{_encoding_key(context, backbone)}.safetensors"
    if file is not None and file.is_file():
        held = load_safetensors(file)
    else:
        held = _to_tensors(_encode_set(context, backbone))
        if file is not None:
            make_folder(file.parent)
            write_atomic(file, save(held))
    held = {name: tensor.to(backbone.device) for name, tensor in held.items()}
    prompts, empty = (EncodedPrompts(*(held[f"{part}.{name}"] for name in _PROMPT)) for part in ("prompts", "empty"))
    return TrainingSet(held["mean"], held["std"], held["masks"], prompts, empty)


_PROMPT = ("context", "words", "ends")


def _to_tensors(encoded: TrainingSet) -> dict[str, torch.Tensor]:
    tensors = {name: getattr(encoded, name) for name in ("mean", "std", "masks")}
    for part in ("prompts", "empty"):
        tensors |= {f"{part}.{name}": getattr(getattr(encoded, part), name) for name in _PROMPT}
    return {name: tensor.contiguous().cpu() for name, tensor in tensors.items()}


def _encoding_key(context: TrainContext[Any], backbone: Backbone) -> str:
    """Return all that encoded images depend on besides the pairs, to the last bit."""
    where = torch.get_num_threads() if backbone.device.type == "cpu" else torch.cuda.get_device_name(backbone.device)
    parts = (backbone.weights_sha256(), context.image_size, ENCODE_BATCH, torch.__version__, where)
    return hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()[:16]


def _encode_set(context: TrainContext[Any], backbone: Backbone) -> TrainingSet:
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
    joined = EncodedPrompts(*(torch.cat([getattr(part, name) for part in prompts]) for name in _PROMPT))
    masks_on_device = torch.cat(masks).to(backbone.device)
    return TrainingSet(torch.cat(means), torch.cat(stds), masks_on_device, joined, encode_prompts(backbone, [""]))
