"""The training loop of every method: seeded steps, checkpoints to resume from, several processes as one."""

import time
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from ccbench.base.files import make_folder
from ccbench.base.seeding import derive_seed
from ccbench.base.signals import Signals, handled_signals, keeping
from ccbench.diffusion.processes import Share, arithmetic, prepare_process, shares
from ccbench.diffusion.training_state import (
    LOSS,
    STATE,
    WEIGHTS,
    Training,
    is_finished,
    load_finished,
    load_weights,
    not_finite,
)
from ccbench.errors import DataError, UsageError
from ccbench.plugins.contract import TrainContext, TrainReport

__all__ = [
    "LOSS",
    "STATE",
    "WEIGHTS",
    "MovingAverage",
    "Objective",
    "Share",
    "batch_order",
    "load_weights",
    "prepare_process",
    "run_steps",
]

LOG_EVERY = 10


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

    Weights that are there are final: they are loaded, and nothing is trained. A state that is there is gone on from.
    Of either, a damaged one is said and not used: training starts anew.

    AdamW with a constant rate and a bounded gradient norm. `seconds` of the report is this call's. A first SIGINT or
    SIGTERM is answered at the end of the step, with the state of that step on disk.

    Args:
        context: the budget, and where to resume from.
        objective: already on the accelerator's device.
        accelerator: of `prepare_process`.
        folder: of these weights, the context's checkpoint folder unless given.
        learning_rate: instead of the protocol's.
        average: save the moving average of the weights instead of them.
        title: names the step in progress displays.

    Raises:
        UsageError: a loss or a weight is not finite; what is on disk is of a step at which all were.
    """
    started = time.perf_counter()
    folder, settings, network = make_folder(folder or context.checkpoint), context.training, objective.network

    def say(error: DataError, then: str) -> None:
        context.note(f"{title}: {str(error).partition('; ')[0]}; {then}")

    if is_finished(folder):
        try:
            loss = load_finished(network, folder)
            return TrainReport(settings.max_steps, 0.0, sum(p.numel() for p in network.parameters()), loss)
        except DataError as error:
            say(error, "training starts anew")
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    rate = learning_rate or settings.learning_rate
    optimiser = torch.optim.AdamW(trained, rate, weight_decay=settings.weight_decay, fused=True)
    state = Training(network, optimiser)
    if average is not None:
        state.averaged = {key: value.clone() for key, value in network.state_dict().items()}
    try:
        state.resume(folder)
    except DataError as error:
        say(error, "training starts anew at step 0")
    steps = _Steps(context, objective, accelerator, state, folder, average, title)
    with handled_signals() as signals, keeping(steps.kept), signals.held():
        steps.run(signals)
    accelerator.wait_for_everyone()
    return TrainReport(state.step, time.perf_counter() - started, sum(p.numel() for p in trained), state.loss)


class _Steps:
    """The steps of one training that are left."""

    def __init__(
        self,
        context: TrainContext[Any],
        objective: Objective,
        accelerator: Accelerator,
        state: Training,
        folder: Path,
        average: MovingAverage | None,
        title: str,
    ) -> None:
        objective.averaged = state.averaged
        self._model, self._optimiser = accelerator.prepare(objective, state.optimiser)
        self._context, self._settings, self._accelerator = context, context.training, accelerator
        self._state, self._folder, self._average, self._title = state, folder, average, title
        self._shares, self._on_disk = shares(accelerator, context.training), state.step

    def run(self, signals: Signals) -> None:
        """Make the steps and leave the weights, or leave the state where a signal ended them.

        Raises:
            UsageError: a loss or a weight is not finite.
        """
        state, settings, main = self._state, self._settings, self._accelerator.is_main_process
        every = 1 if self._accelerator.device.type == "cpu" else LOG_EVERY  # a look at a loss waits for a GPU
        with self._context.progress.step(self._title, settings.max_steps) as progress:
            progress.found(state.step)
            while state.step < settings.max_steps:
                self._step()
                stops, last = self._agree(signals.received is not None), state.step == settings.max_steps
                saves = stops or (state.step % settings.checkpoint_every == 0 and not last)
                logs = last or state.step % LOG_EVERY == 0
                if logs or saves or state.step % every == 0:
                    self._check_losses()
                if logs:
                    state.loss.append((state.step, torch.stack(state.running).mean().item()))
                    state.running.clear()
                progress.advance(1, f"loss {state.loss[-1][1]:.3f}" if state.loss else "")
                if saves:
                    self._check_weights()
                    if main:
                        state.save(self._folder)
                    self._on_disk = state.step
                if stops:
                    return
        self._check_weights()
        if main:
            state.finish(self._folder)
        self._on_disk = state.step

    def kept(self) -> str:
        """Say what of the training is on disk."""
        if not self._on_disk:
            return f"{self._title}: nothing is kept yet"
        return f"{self._title}: step {self._on_disk:,} of {self._settings.max_steps:,} is kept"

    def _step(self) -> None:
        state, accelerator, losses = self._state, self._accelerator, []
        self._optimiser.zero_grad()
        for share in self._shares:
            with arithmetic(self._settings, accelerator.device):
                value = self._model(state.step, share) / len(self._shares)
            accelerator.backward(value)
            losses.append(value.detach())
        trained = [parameter for group in state.optimiser.param_groups for parameter in group["params"]]
        accelerator.clip_grad_norm_(trained, self._settings.max_grad_norm)
        self._optimiser.step()
        state.step += 1
        if self._average is not None and state.averaged is not None:
            decay = min(self._average.decay, (1 + state.step) / (10 + state.step))
            _update_average(state.averaged, state.network, decay)
        state.running.append(accelerator.reduce(torch.stack(losses).sum(), "mean"))

    def _agree(self, stops: bool) -> bool:
        """Return whether to stop here; several processes stop at the same step, where their losses are looked at."""
        if self._accelerator.num_processes == 1:
            return stops
        if self._state.step % LOG_EVERY:
            return False
        asked = torch.tensor(float(stops), device=self._accelerator.device)
        return bool(self._accelerator.reduce(asked, "sum").item())

    def _check_losses(self) -> None:
        losses = torch.stack(self._state.running)
        if bool(losses.isfinite().all()):
            return
        at = int((~losses.isfinite()).nonzero()[0])
        step = self._state.step - len(losses) + at + 1
        raise self._not_finite(f"the loss of step {step:,} is {losses[at].item()}", first=step == 1)

    def _check_weights(self) -> None:
        weights = {**self._state.network.state_dict(), **(self._state.averaged or {})}
        if bad := not_finite(weights):
            raise self._not_finite(f"after step {self._state.step:,} weights of {bad} are not finite")

    def _not_finite(self, what: str, first: bool = False) -> UsageError:
        """Return the error of a training that cannot go on; a `first` step has changed no weight yet."""
        rate = self._state.optimiser.param_groups[0]["lr"]
        do = "look at the backbone and the training images" if first else f"lower the learning rate of {rate:g}"
        if self._settings.precision != "fp32":
            do += ", or train with training.precision=fp32"
        return UsageError(f"{self._title}: {what}; {do}; {self.kept()}, and the same settings end here again")


def batch_order(count: int, batch_size: int, seed: int, step: int) -> torch.Tensor:
    """Return the (batch_size,) sample indices of a step: the samples in a new random order in every pass."""
    indices = []
    for position in range(step * batch_size, (step + 1) * batch_size):
        order = np.random.default_rng(derive_seed("order", seed, position // count)).permutation(count)
        indices.append(order[position % count])
    return torch.tensor(indices)


@torch.no_grad()
def _update_average(averaged: dict[str, torch.Tensor], network: nn.Module, decay: float) -> None:
    for key, value in network.state_dict().items():
        if value.is_floating_point():
            averaged[key].lerp_(value, 1 - decay)
        else:
            averaged[key].copy_(value)
