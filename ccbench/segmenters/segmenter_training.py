"""Trains a segmenter with mmengine's Runner: checkpoints, resume, mixed precision and several processes are its own."""

import math
import os
import random
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ccbench.base.files import make_folder, set_aside
from ccbench.base.process_ranks import process_count
from ccbench.base.seeding import derive_seed
from ccbench.base.tensor_files import load_state, tensors_only
from ccbench.errors import DataError, MissingError, UsageError
from ccbench.features.encoder import kept_random_state
from ccbench.segmenters import MMSEG, Segmenter, SegmenterSettings
from ccbench.segmenters.cells import Select
from ccbench.segmenters.loading import Labelled, LabelledSet
from ccbench.segmenters.mmlab import (
    MODELS,
    ConfigDict,
    DefaultScope,
    Hook,
    MMDistributedDataParallel,
    Runner,
    barrier,
    broadcast_object_list,
    silenced,
)
from ccbench.segmenters.networks.backbones import not_loaded
from ccbench.segmenters.networks.mmseg_configs import read_config
from ccbench.segmenters.prediction import mean_dice
from ccbench.segmenters.segmenter_state import STATE, Selection, plain_network, restore_pass, save_pass, taken_weights
from ccbench.types import PairSequence, Progress, ProgressStep, SilentProgress


@dataclass(frozen=True)
class Budget:
    """How long a training is and which of its checkpoints is taken.

    Attributes:
        passes: over the images it is given.
        select: "validation" and "test" take the pass of the highest mean Dice there, the first of equal ones.
    """

    passes: int
    select: Select = "validation"


@dataclass(frozen=True)
class Exercise:
    """What a segmenter is trained on and how.

    Attributes:
        train: labelled images.
        selecting: real pairs on which epochs are compared; unused where the last one is taken.
        seed: of the network's first weights, the order of the images and every other draw.
        augment: whether images are augmented.
    """

    segmenter: Segmenter
    settings: SegmenterSettings
    train: Labelled
    selecting: PairSequence
    budget: Budget
    seed: int
    augment: bool = False


@dataclass(frozen=True)
class Trained:
    """What a training was: optimiser steps, mean Dice after each pass, and the pass that was taken, from 1.

    Where the last pass is taken, no Dice is measured.
    """

    steps: int
    dice: tuple[float, ...]
    taken: int


def build_network(segmenter: Segmenter, settings: SegmenterSettings, seed: int) -> Any:
    """Return the segmenter's network with its backbone's weights; what is drawn follows `seed`.

    Raises:
        MissingError: weights that are not on this machine.
        DataError: they are of another network.
    """
    config = segmenter.model_config(settings)
    if segmenter.name.startswith(MMSEG) and Path(settings.weights).is_file():
        load_state(Path(settings.weights))  # refuses what is not tensors alone, which mmengine would unpickle
    with kept_states(derive_seed("segmenter", seed)), _scope(), tensors_only():
        network: Any = MODELS.build(ConfigDict(config))
        if segmenter.name.startswith(MMSEG):
            try:
                network.init_weights()  # those that its file names
            except Exception as error:  # whatever a hub that is not reached raises, or a damaged file
                raise not_loaded(f"weights of {segmenter.title}", settings.weights, error) from error
    return network


def train_segmenter(
    exercise: Exercise,
    folder: Path,
    *,
    device: str = "cpu",
    progress: Progress = SilentProgress(),
    note: Callable[[str], None] = lambda text: None,
    title: str = "training a segmenter",
) -> tuple[Any, Trained]:
    """Train a segmenter in `folder`, or go on where a training there was cut off, and return it.

    A pass is repeated whole when it was cut off, and draws what it drew before: the result is that of an
    uninterrupted training, byte for byte on one machine with as many threads. Of several processes (torchrun) each
    runs its share of every batch; batch norm sees no more than that share. A state that is damaged or of another
    training is set aside, and the training starts anew.

    Args:
        note: told what happens besides.

    Raises:
        UsageError: a batch that the processes cannot share, mixed precision on a CPU, or a loss that is not finite.
        MissingError, DataError: as `build_network`.
    """
    _check_place(exercise.settings, device)
    make_folder(folder)
    try:
        return _train(exercise, folder, device, progress, title)
    except _UnfitStateError as error:
        note(f"{title}: {error.__cause__}; set aside, and the training starts anew")
        if os.path.lexists(folder / STATE):  # not where another process was first
            set_aside(folder / STATE)
        return _train(exercise, folder, device, progress, title)


class _UnfitStateError(Exception):
    """A state from which no training can go on; its cause says why."""


def _train(exercise: Exercise, folder: Path, device: str, progress: Progress, title: str) -> tuple[Any, Trained]:
    settings, budget, seed = exercise.settings, exercise.budget, exercise.seed
    network = build_network(exercise.segmenter, settings, seed)
    dataset = LabelledSet(exercise.train, seed, exercise.augment)
    steps = settings.steps(len(dataset), budget.passes)
    states = kept_states(derive_seed("segmenter", seed))
    with states, _scope(), progress.step(title, steps) as step:
        selecting = exercise.selecting if budget.select != "last" else ()
        keeper = _Keeper(folder, selecting, settings.size, seed, step, title)
        device = _join_processes(device)
        runner = _Runner(
            model=network.to(device),
            work_dir=str(folder),
            train_dataloader={
                "dataset": dataset,
                "sampler": {"type": "DefaultSampler", "shuffle": True, "seed": derive_seed("order", seed) % 2**31},
                "batch_sampler": {"type": "mmengine.ScaledBatches", "sides": settings.sides()},
                "batch_size": settings.batch_size // process_count(),
                "num_workers": 0,
                "collate_fn": {"type": "pseudo_collate"},
            },
            train_cfg={"by_epoch": True, "max_epochs": budget.passes},
            optim_wrapper=_optimizer(exercise.segmenter, settings),
            param_scheduler=_schedule(settings, steps),
            default_hooks={"logger": None, "timer": None, "checkpoint": None},
            custom_hooks=[keeper],
            launcher="pytorch" if process_count() > 1 else "none",
            log_level="ERROR",
            default_scope="mmseg",
            experiment_name=uuid.uuid4().hex,
            randomness={"seed": derive_seed("segmenter", seed) % 2**31},
        )
        runner.restore = partial(keeper.restore, runner, budget.passes)
        runner.train()
    network.load_state_dict(taken_weights(folder))
    selection = keeper.selection
    return network.eval(), Trained(steps, tuple(selection.dice) if keeper.selecting else (), selection.taken)


def _check_place(settings: SegmenterSettings, device: str) -> None:
    if settings.batch_size % process_count():
        raise UsageError(
            f"batch_size={settings.batch_size}: {process_count()} processes cannot share it; set a multiple of them"
        )
    if settings.precision != "fp32" and device == "cpu":
        raise UsageError(f"precision={settings.precision}: needs a GPU; leave it at fp32 on a CPU")


def _join_processes(device: str) -> str:
    """Join the processes that torchrun started, if any, and return this one's device."""
    if process_count() == 1:
        return device
    if device == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
    if device != "cpu":
        torch.cuda.set_device(device)
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("gloo" if device == "cpu" else "nccl")
    return device


class _Runner(Runner):  # type: ignore[misc]  # mmengine is untyped
    """mmengine's, without its pickles, and on the device where the network is: its own takes the machine's first.

    Attributes:
        restore: called when all is built and before the first step.
    """

    restore: Callable[[], None]

    def load_or_resume(self) -> None:
        """Go on from a state of ours."""
        self.restore()

    def wrap_model(self, model_wrapper_cfg: Any, model: Any) -> Any:
        return MMDistributedDataParallel(model, broadcast_buffers=False) if self.distributed else model


def _optimizer(segmenter: Segmenter, settings: SegmenterSettings) -> dict[str, Any]:
    wrapper = {"type": "OptimWrapper"}
    if settings.precision != "fp32":
        wrapper = {"type": "AmpOptimWrapper", "dtype": {"fp16": "float16", "bf16": "bfloat16"}[settings.precision]}
    clip = {"type": "value", "clip_value": settings.clip}
    if settings.optimizer == "config":
        own = read_config(segmenter.name).get("optim_wrapper") or {"optimizer": {"type": "AdamW", "lr": 1e-4}}
        return {**own, **wrapper, "clip_grad": own.get("clip_grad") or clip}
    kind = {"adam": "Adam", "adamw": "AdamW"}[settings.optimizer]
    optimizer = {"type": kind, "lr": settings.learning_rate, "weight_decay": settings.weight_decay}
    return {**wrapper, "optimizer": optimizer, "clip_grad": clip}


def _schedule(settings: SegmenterSettings, steps: int) -> list[dict[str, Any]] | None:
    if settings.schedule == "constant":
        return None
    one_cycle = {"type": "OneCycleLR", "eta_max": settings.learning_rate, "total_steps": steps, "pct_start": 0.15}
    return [{**one_cycle, "by_epoch": False}]


class _Keeper(Hook):  # type: ignore[misc]
    """Keeps the state after each pass, with the weights of the best one, and ends a training that has diverged."""

    priority = "VERY_LOW"  # after the schedule's step

    def __init__(
        self, folder: Path, selecting: PairSequence, size: int, seed: int, step: ProgressStep, title: str
    ) -> None:
        self.selection = Selection()
        self.selecting = selecting
        self._folder, self._size, self._seed, self._step, self._title = folder, size, seed, step, title

    def restore(self, runner: Runner, passes: int) -> None:
        """Take up the state in the folder, if there is one.

        Raises:
            _UnfitStateError: no training can go on from it.
        """
        if os.path.lexists(self._folder / STATE):
            try:
                restore_pass(self._folder, runner, self.selection, passes)
            except (DataError, MissingError) as error:
                raise _UnfitStateError from error
            self._step.found(runner.iter)

    def before_train_epoch(self, runner: Runner) -> None:
        """Draw this pass's noise from its own seed."""
        torch.manual_seed(derive_seed("pass", self._seed, runner.epoch))

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Report the step.

        Raises:
            UsageError: the loss is not finite.
        """
        loss = float(outputs["loss"])
        if not math.isfinite(loss):
            or_full = " or precision=fp32" if hasattr(runner.optim_wrapper, "loss_scaler") else ""
            raise UsageError(
                f"{self._title}: the loss is {loss} at step {runner.iter + 1}, in pass {runner.epoch + 1}; the state "
                f"before this pass is kept; try a lower learning_rate{or_full}, and look at the images"
            )
        self._step.advance(note=f"loss {loss:.2f}")

    def after_train_epoch(self, runner: Runner) -> None:
        """Compare the pass with the best so far, and write the state."""
        network = plain_network(runner)
        dice = mean_dice(network, self.selecting, self._size) if self.selecting else 0.0
        dice = _of_first_process(dice)  # another's batch norm has seen other images
        self.selection.add(dice, not self.selecting or dice > max(self.selection.dice, default=-1.0), network)
        if runner.rank == 0:
            save_pass(self._folder, runner, self.selection)
        barrier()  # the others read it at the end


def _of_first_process(value: float) -> float:
    shared = [value]
    broadcast_object_list(shared)
    return shared[0]


@contextmanager
def _scope() -> Iterator[None]:
    with silenced(), DefaultScope.overwrite_default_scope("mmseg"):
        yield


@contextmanager
def kept_states(seed: int) -> Iterator[None]:
    """Draw from `seed` within, and put every library's random state back on leaving: a runner seeds them all."""
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        with kept_random_state():
            torch.manual_seed(seed)
            yield
    finally:
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)
