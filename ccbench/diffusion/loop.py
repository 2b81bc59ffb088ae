"""The training loop of every method: seeded steps, checkpoints to resume from, several processes as one."""

import csv
import io
import time
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from ccbench.assets import key_misfits, load_safetensors
from ccbench.errors import DataError, UsageError
from ccbench.files import make_folder, remove_file, whole_file, write_atomic
from ccbench.plugin import TrainContext, TrainReport
from ccbench.seeding import derive_seed

WEIGHTS, STATE, LOSS = "model.safetensors", "training.safetensors", "loss.csv"
LOG_EVERY = 10


@dataclass(frozen=True)
class Share:
    """The part of every batch that this process works on: part `rank` of `count` equal ones."""

    rank: int
    count: int

    def of(self, batch: torch.Tensor) -> torch.Tensor:
        """Return this process's rows of a tensor whose first dimension is the whole batch."""
        return batch.chunk(self.count)[self.rank]


class Objective(nn.Module):
    """What is trained, and its loss at a step.

    Attributes:
        network: whose parameters are trained and saved; anything frozen is not held as a submodule.
        averaged: the moving average of the network's weights, while `run_steps` keeps one.
    """

    network: nn.Module
    averaged: dict[str, torch.Tensor] | None = None

    @abstractmethod
    def forward(self, step: int, share: Share) -> torch.Tensor:
        """Return the loss, a mean over this process's share of the batch of `step`.

        Every draw comes from generators seeded by (seed, step) for the whole batch, and the share is taken from
        them: training goes on after an interruption as if there had been none, two methods of one seed see the same
        samples with the same noise, and two processes do together what one does alone.
        """


@dataclass(frozen=True)
class MovingAverage:
    """Exponential moving average of the weights, which is what is saved: decay min(`decay`, (1 + n) / (10 + n)).

    n counts the updates from 1, as in the released LDM code.
    """

    decay: float


def prepare_process(context: TrainContext[Any]) -> Accelerator:
    """Return the process's accelerator; `accelerate launch` makes several.

    Raises:
        UsageError: the batch cannot be shared equally.
    """
    accelerator = Accelerator(cpu=context.device == "cpu")
    size, count = context.training.batch_size, accelerator.num_processes
    if size % count:
        raise UsageError(f"training.batch_size={size} cannot be shared by {count} processes; start {size} or a divisor")
    return accelerator


def run_steps(
    context: TrainContext[Any],
    objective: Objective,
    accelerator: Accelerator,
    *,
    folder: Path | None = None,
    learning_rate: float | None = None,
    average: MovingAverage | None = None,
    title: str = "training",
) -> TrainReport:
    """Train `objective.network` for the protocol's steps; leave its weights and `loss.csv` in the checkpoint folder.

    Weights that are there are final: they are loaded, and nothing is trained.

    AdamW with a constant rate and a bounded gradient norm. `seconds` of the report is this call's.

    Args:
        context: the budget, and where to resume from. objective: already on the accelerator's device.
        accelerator: of `prepare_process`. folder: of these weights, the context's checkpoint folder unless given.
        learning_rate: instead of the protocol's. average: save the moving average of the weights instead of them.
        title: names the step in progress displays.
    """
    started = time.perf_counter()
    folder, settings = folder or context.checkpoint, context.training
    make_folder(folder)
    network = objective.network
    if (folder / WEIGHTS).exists() and not (folder / STATE).exists():
        load_weights(network, folder / WEIGHTS)
        loss = _read_loss(folder / LOSS)
        return TrainReport(settings.max_steps, 0.0, sum(p.numel() for p in network.parameters()), loss)
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, learning_rate or settings.learning_rate, weight_decay=settings.weight_decay)
    averaged = None if average is None else {key: value.clone() for key, value in network.state_dict().items()}
    step, loss, running = _resume(folder, network, optimiser, averaged)
    objective.averaged = averaged
    share = Share(accelerator.process_index, accelerator.num_processes)
    model, optimiser = accelerator.prepare(objective, optimiser)
    with context.progress.step(title, settings.max_steps) as progress:
        progress.advance(step)
        while step < settings.max_steps:
            value = model(step, share)
            optimiser.zero_grad()
            accelerator.backward(value)
            accelerator.clip_grad_norm_(trained, settings.max_grad_norm)
            optimiser.step()
            step += 1
            if average is not None and averaged is not None:
                _update_average(averaged, network, min(average.decay, (1 + step) / (10 + step)))
            running.append(accelerator.reduce(value.detach(), "mean"))
            if step % LOG_EVERY == 0 or step == settings.max_steps:
                loss.append((step, torch.stack(running).mean().item()))
                running.clear()
            progress.advance(1, f"loss {loss[-1][1]:.3f}" if loss else "")
            if step % settings.checkpoint_every == 0 and step < settings.max_steps and accelerator.is_main_process:
                _save_state(folder, network, optimiser, averaged, step, loss, running)
    if accelerator.is_main_process:
        _write_loss(folder / LOSS, loss)
        _save(folder / WEIGHTS, averaged or network.state_dict())
        remove_file(folder / STATE)
    accelerator.wait_for_everyone()
    return TrainReport(step, time.perf_counter() - started, sum(p.numel() for p in trained), loss)


def load_weights(network: nn.Module, path: Path) -> None:
    """Load a safetensors file into a network of the same shape.

    Raises:
        MissingError: no such file. DataError: a key is missing, unknown or of another shape.
    """
    state, wanted = load_safetensors(path), network.state_dict()
    shapes = ({key: tuple(value.shape) for key, value in tensors.items()} for tensors in (state, wanted))
    if wrong := key_misfits(*shapes):
        raise DataError(
            f"{path}: {len(wrong)} keys do not fit this method's configuration ({min(wrong)}); "
            "sample with the settings it was trained with"
        )
    network.load_state_dict(state)


def batch_order(count: int, batch_size: int, seed: int, step: int) -> torch.Tensor:
    """Return the (batch_size,) sample indices of a step: the samples in a new random order in every pass."""
    first = step * batch_size
    indices = []
    for position in range(first, first + batch_size):
        indices.append(_permutation(count, seed, position // count)[position % count])
    return torch.tensor(indices)


def _permutation(count: int, seed: int, epoch: int) -> Any:
    return np.random.default_rng(derive_seed("order", seed, epoch)).permutation(count)


@torch.no_grad()
def _update_average(averaged: dict[str, torch.Tensor], network: nn.Module, decay: float) -> None:
    for key, value in network.state_dict().items():
        if value.is_floating_point():
            averaged[key].lerp_(value, 1 - decay)
        else:
            averaged[key].copy_(value)


def _save(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None) -> None:
    try:
        with whole_file(path) as temporary:  # not through memory, as write_atomic: a state may be gigabytes
            save_file({key: value.detach().contiguous().cpu() for key, value in tensors.items()}, temporary, metadata)
    except SafetensorError as error:
        raise UsageError(f"{path}: cannot be written ({error}); free the disk, and the same command goes on") from error


def _save_state(
    folder: Path,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    averaged: dict[str, torch.Tensor] | None,
    step: int,
    loss: list[tuple[int, float]],
    running: list[torch.Tensor],
) -> None:
    """Write weights, their average and AdamW's moments in one file, so that they can never be of different steps."""
    tensors = {f"weights/{key}": value for key, value in network.state_dict().items()}
    tensors |= {f"average/{key}": value for key, value in (averaged or {}).items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"{name}/{index}": torch.as_tensor(value) for name, value in state.items()}
    tensors["loss"] = torch.tensor(loss, dtype=torch.float64)
    tensors["running"] = torch.stack(running) if running else torch.empty(0)
    _save(folder / STATE, tensors, {"step": str(step)})


def _resume(
    folder: Path, network: nn.Module, optimiser: torch.optim.Optimizer, averaged: dict[str, torch.Tensor] | None
) -> tuple[int, list[tuple[int, float]], list[torch.Tensor]]:
    """Load what `_save_state` left; return the step reached, the loss curve so far, and the losses since its end."""
    if not (folder / STATE).exists():
        return 0, [], []
    tensors = load_file(folder / STATE)
    device = next(network.parameters()).device
    network.load_state_dict(_under("weights/", tensors))
    for key, value in _under("average/", tensors).items():
        if averaged is not None:
            averaged[key] = value.to(device)
    loss = [(int(step), float(value)) for step, value in tensors.pop("loss")]
    running = list(tensors.pop("running", torch.empty(0)).to(device))
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        name, _, index = key.partition("/")
        if name not in ("weights", "average"):
            moments.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
    return int(next(iter(moments.values()))["step"].item()), loss, running


def _under(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _read_loss(path: Path) -> list[tuple[int, float]]:
    with path.open(newline="") as file:
        return [(int(row["step"]), float(row["loss"])) for row in csv.DictReader(file)]


def _write_loss(path: Path, loss: list[tuple[int, float]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["step", "loss"])
    writer.writerows(loss)
    write_atomic(path, text.getvalue().encode())
