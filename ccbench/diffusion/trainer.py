"""Trains a control branch on a frozen backbone: latents and prompts are encoded once, then steps are cheap."""

import csv
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file

from ccbench.assets import load_safetensors
from ccbench.diffusion.backbone import Backbone, EncodedPrompts, encode_images, encode_prompts, load_backbone
from ccbench.diffusion.branch import BranchBuilder, ControlBranch, predict_noise
from ccbench.errors import DataError
from ccbench.plugin import TrainContext, TrainReport
from ccbench.seeding import derive_seed

WEIGHTS, STATE, LOSS = "model.safetensors", "training.safetensors", "loss.csv"
LOG_EVERY = 10
ENCODE_BATCH = 16


@dataclass(frozen=True)
class _Cache:
    """Everything of the training set that does not change between steps; N images."""

    mean: torch.Tensor  # (N, 4, h, w)
    std: torch.Tensor  # (N, 4, h, w)
    masks: torch.Tensor  # (N, H, W) bool
    prompts: EncodedPrompts
    empty: EncodedPrompts  # one row


def train_branch(context: TrainContext[Any], build: BranchBuilder) -> TrainReport:
    """Train what `build` returns and leave `model.safetensors` and `loss.csv` in the checkpoint folder.

    Squared error on epsilon (METHODS Eq. 4). Every draw of a step (samples, noise, time steps, dropped prompts)
    comes from a generator seeded by (seed, step), so training goes on after an interruption as if there had been
    none, and two methods of one seed see the same samples with the same noise.
    """
    started = time.perf_counter()
    context.checkpoint.mkdir(parents=True, exist_ok=True)
    accelerator = Accelerator(cpu=context.device == "cpu")
    backbone = load_backbone(context.backbone, str(accelerator.device))
    torch.manual_seed(derive_seed("weights", context.seed))  # layers that do not come from the backbone
    branch = build(backbone, context.config).to(accelerator.device).train()
    settings = context.training
    optimiser = torch.optim.AdamW(branch.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    step, loss = _resume(context.checkpoint, branch, optimiser)
    cache = _encode_set(context, backbone)
    branch, optimiser = accelerator.prepare(branch, optimiser)

    running: list[torch.Tensor] = []
    with context.progress.step("training", settings.max_steps) as progress:
        progress.advance(step)
        while step < settings.max_steps:
            value = _loss(branch, backbone, cache, context, step)
            optimiser.zero_grad()
            accelerator.backward(value)
            accelerator.clip_grad_norm_(branch.parameters(), settings.max_grad_norm)
            optimiser.step()
            step += 1
            running.append(value.detach())
            if step % LOG_EVERY == 0 or step == settings.max_steps:
                loss.append((step, torch.stack(running).mean().item()))
                running.clear()
            progress.advance(1, f"loss {loss[-1][1]:.3f}" if loss else "")
            if step % settings.checkpoint_every == 0 and step < settings.max_steps:
                _save_state(context.checkpoint, accelerator.unwrap_model(branch), optimiser, step, loss)
    final = accelerator.unwrap_model(branch)
    _write_loss(context.checkpoint / LOSS, loss)
    _save(context.checkpoint / WEIGHTS, final.state_dict())
    (context.checkpoint / STATE).unlink(missing_ok=True)
    trained = sum(p.numel() for p in final.parameters())
    return TrainReport(step, time.perf_counter() - started, trained, loss)


def load_branch(checkpoint: Path, backbone: Backbone, config: Any, build: BranchBuilder) -> ControlBranch:
    """Return the trained branch of a checkpoint folder, ready to sample."""
    branch = build(backbone, config)
    state = load_safetensors(checkpoint / WEIGHTS)
    found = branch.load_state_dict(state, strict=False)
    wrong = [*(f"missing {key}" for key in found.missing_keys), *(f"unknown {key}" for key in found.unexpected_keys)]
    if wrong:
        raise DataError(
            f"{checkpoint / WEIGHTS}: {len(wrong)} keys do not fit this method's configuration ({wrong[0]}); "
            "sample with the settings it was trained with"
        )
    return branch.to(backbone.device).eval().requires_grad_(False)


def _loss(
    branch: ControlBranch, backbone: Backbone, cache: _Cache, context: TrainContext[Any], step: int
) -> torch.Tensor:
    """Mean squared error on epsilon of one batch."""
    generator = torch.Generator().manual_seed(derive_seed("train", context.seed, step))
    picked = batch_order(len(cache.masks), context.training.batch_size, context.seed, step)
    shape = cache.mean[picked].shape
    device = cache.mean.device
    sampled, noise = (torch.randn(shape, generator=generator).to(device) for _ in range(2))
    total = backbone.scheduler.config.num_train_timesteps
    timesteps = torch.randint(0, total, (len(picked),), generator=generator).to(device)
    dropped = (torch.rand(len(picked), generator=generator) < context.training.prompt_drop).to(device)
    noisy = backbone.scheduler.add_noise(cache.mean[picked] + cache.std[picked] * sampled, noise, timesteps)
    prompts = _drop(cache.prompts[picked], cache.empty, dropped)
    hint = _encode_hint(branch, cache.masks[picked])
    residuals = branch(noisy, timesteps, prompts, hint)
    predicted = predict_noise(backbone.unet, noisy, timesteps, prompts.context, residuals)
    return torch.nn.functional.mse_loss(predicted, noise)


def _encode_hint(branch: Any, masks: torch.Tensor) -> Any:
    owner = getattr(branch, "module", branch)  # a distributed wrapper forwards forward() only
    return owner.encode_hint(masks[:, None].float().expand(-1, 3, -1, -1))


def _drop(prompts: EncodedPrompts, empty: EncodedPrompts, dropped: torch.Tensor) -> EncodedPrompts:
    return EncodedPrompts(
        torch.where(dropped[:, None, None], empty.context, prompts.context),
        torch.where(dropped[:, None], empty.words, prompts.words),
        torch.where(dropped[:, None], empty.ends, prompts.ends),
    )


def batch_order(count: int, batch_size: int, seed: int, step: int) -> torch.Tensor:
    """Return the (batch_size,) sample indices of a step: the samples in a new random order in every pass."""
    first = step * batch_size
    indices = []
    for position in range(first, first + batch_size):
        indices.append(_permutation(count, seed, position // count)[position % count])
    return torch.tensor(indices)


def _permutation(count: int, seed: int, epoch: int) -> Any:
    return np.random.default_rng(derive_seed("order", seed, epoch)).permutation(count)


def _encode_set(context: TrainContext[Any], backbone: Backbone) -> _Cache:
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
    return _Cache(torch.cat(means), torch.cat(stds), masks_on_device, joined, encode_prompts(backbone, [""]))


def _save(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None) -> None:
    temporary = path.with_suffix(".tmp")
    save_file({key: value.detach().contiguous().cpu() for key, value in tensors.items()}, temporary, metadata)
    temporary.replace(path)


def _save_state(
    folder: Path, branch: ControlBranch, optimiser: torch.optim.Optimizer, step: int, loss: list[tuple[int, float]]
) -> None:
    """Write weights and AdamW's two moments in one file, so that they can never be of different steps."""
    tensors = {f"weights/{key}": value for key, value in branch.state_dict().items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"{name}/{index}": torch.as_tensor(value) for name, value in state.items()}
    tensors["loss"] = torch.tensor(loss, dtype=torch.float64)
    _save(folder / STATE, tensors, {"step": str(step)})


def _resume(
    folder: Path, branch: ControlBranch, optimiser: torch.optim.Optimizer
) -> tuple[int, list[tuple[int, float]]]:
    """Load what `_save_state` left; return the step reached and the loss curve so far."""
    if not (folder / STATE).exists():
        return 0, []
    tensors = load_file(folder / STATE)
    branch.load_state_dict(
        {key.removeprefix("weights/"): v for key, v in tensors.items() if key.startswith("weights/")}
    )
    loss = [(int(step), float(value)) for step, value in tensors.pop("loss")]
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        name, _, index = key.partition("/")
        if name != "weights":
            moments.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
    return int(next(iter(moments.values()))["step"].item()), loss


def _write_loss(path: Path, loss: list[tuple[int, float]]) -> None:
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "loss"])
        writer.writerows(loss)
    temporary.replace(path)
