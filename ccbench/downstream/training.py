"""Trains a segmenter with mmengine's Runner: checkpoints, resume, mixed precision and several processes are its own."""

import os
import random
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ccbench.assets import load_safetensors, load_state, save_state
from ccbench.downstream.cells import Select
from ccbench.downstream.loading import Labelled, LabelledSet
from ccbench.downstream.mmlab import (
    MODELS,
    BaseModel,
    ConfigDict,
    DefaultScope,
    Hook,
    MMDistributedDataParallel,
    Runner,
    barrier,
    broadcast_object_list,
    silenced,
)
from ccbench.downstream.predicting import mean_dice
from ccbench.downstream.segmenters import MMSEG, Segmenter, SegmenterSettings
from ccbench.downstream.segmenters.backbones import not_loaded
from ccbench.downstream.segmenters.configs import read_config
from ccbench.errors import UsageError
from ccbench.features.base import kept_random_state
from ccbench.files import make_folder, remove_file
from ccbench.provenance import process_count
from ccbench.seeding import derive_seed
from ccbench.types import PairSequence, Progress, ProgressStep, SilentProgress

_STATE = "epoch_*.pth"
_BEST = "best.safetensors"


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
        MissingError: weights that are not on this machine. DataError: they are of another network.
    """
    config = segmenter.model_config(settings)
    if segmenter.name.startswith(MMSEG) and Path(settings.weights).is_file():
        load_state(Path(settings.weights))  # refuses what is not tensors alone, which mmengine would unpickle
    with kept_states(derive_seed("segmenter", seed)), _scope():
        network: Any = MODELS.build(ConfigDict(config))
        if segmenter.name.startswith(MMSEG):
            try:
                network.init_weights()  # those that its file names
            except Exception as error:  # whatever a hub that is not reached raises, or a damaged file
                raise not_loaded(f"weights of {segmenter.title}", settings.weights, error) from error
    return network


def train_segmenter(
    segmenter: Segmenter,
    settings: SegmenterSettings,
    train: Labelled,
    selecting: PairSequence,
    budget: Budget,
    seed: int,
    folder: Path,
    *,
    augment: bool = False,
    device: str = "cpu",
    progress: Progress = SilentProgress(),
    title: str = "training a segmenter",
) -> tuple[Any, Trained]:
    """Train a segmenter in `folder`, or go on where a training there was cut off, and return it.

    A pass is repeated whole when it was cut off, and draws what it drew before: the result is that of an
    uninterrupted training, byte for byte on one machine with as many threads. Of several processes (torchrun) each
    runs its share of every batch; batch norm sees no more than that share.

    Args:
        selecting: real pairs on which passes are compared; unused where the last one is taken.

    Raises:
        UsageError: a batch that the processes cannot share, or mixed precision on a CPU. MissingError, DataError: as
            `build_network`.
    """
    _check_place(settings, device)
    network = build_network(segmenter, settings, seed)
    make_folder(folder)
    dataset = LabelledSet(train, seed, augment)
    steps = settings.steps(len(dataset), budget.passes)
    states = kept_states(derive_seed("segmenter", seed))
    with states, _scope(), progress.step(title, steps) as step:
        state = _last_state(folder)
        keeper = _Keeper(folder, selecting if budget.select != "last" else (), settings.size, seed, step)
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
            optim_wrapper=_optimizer(segmenter, settings),
            param_scheduler=_schedule(settings, steps),
            default_hooks={
                "logger": None,
                "timer": None,
                "checkpoint": {"type": "CheckpointHook", "interval": 1, "max_keep_ckpts": 2},
            },
            custom_hooks=[keeper],
            launcher="pytorch" if process_count() > 1 else "none",
            log_level="ERROR",
            default_scope="mmseg",
            experiment_name=uuid.uuid4().hex,
            randomness={"seed": derive_seed("segmenter", seed) % 2**31},
            load_from=state,
            resume=state is not None,
        )
        runner.train()
    best = load_safetensors(folder / _BEST)
    network.load_state_dict(best)
    return network.eval(), Trained(steps, tuple(keeper.dice) if keeper.selecting else (), keeper.taken)


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
    """mmengine's, on the device where the network is: its own takes the first accelerator of the machine."""

    def wrap_model(self, model_wrapper_cfg: Any, model: Any) -> Any:
        return MMDistributedDataParallel(model, broadcast_buffers=False) if self.distributed else model


def _optimizer(segmenter: Segmenter, settings: SegmenterSettings) -> dict[str, Any]:
    wrapper = {"type": "OptimWrapper"} if settings.precision == "fp32" else _mixed(settings)
    clip = {"type": "value", "clip_value": settings.clip}
    if settings.optimizer == "config":
        own = read_config(segmenter.name).get("optim_wrapper") or {"optimizer": {"type": "AdamW", "lr": 1e-4}}
        return {**own, **wrapper, "clip_grad": own.get("clip_grad") or clip}
    kind = {"adam": "Adam", "adamw": "AdamW"}[settings.optimizer]
    optimizer = {"type": kind, "lr": settings.learning_rate, "weight_decay": settings.weight_decay}
    return {**wrapper, "optimizer": optimizer, "clip_grad": clip}


def _mixed(settings: SegmenterSettings) -> dict[str, Any]:
    return {"type": "AmpOptimWrapper", "dtype": {"fp16": "float16", "bf16": "bfloat16"}[settings.precision]}


def _schedule(settings: SegmenterSettings, steps: int) -> list[dict[str, Any]] | None:
    if settings.schedule == "constant":
        return None
    one_cycle = {"type": "OneCycleLR", "eta_max": settings.learning_rate, "total_steps": steps, "pct_start": 0.15}
    return [{**one_cycle, "by_epoch": False}]


class _Keeper(Hook):  # type: ignore[misc]
    """Keeps the weights of the best pass, before the pass's state is written: a resumed training finds both."""

    priority = "NORMAL"

    def __init__(self, folder: Path, selecting: PairSequence, size: int, seed: int, step: ProgressStep) -> None:
        self.dice: list[float] = []
        self.taken = 0
        self.selecting = selecting
        self._folder, self._size, self._seed, self._step = folder, size, seed, step

    def before_train(self, runner: Runner) -> None:
        """Take up what was kept with the state that the runner has loaded."""
        kept = runner.message_hub.runtime_info
        self.dice, self.taken = list(kept.get("ccbench_dice", [])), int(kept.get("ccbench_taken", 0))

    def before_train_epoch(self, runner: Runner) -> None:
        """Draw this pass's noise from its own seed."""
        if len(self.dice) < runner.epoch:
            raise RuntimeError("the runner's state and what was kept of it differ")
        torch.manual_seed(derive_seed("pass", self._seed, runner.epoch))

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Report the step."""
        self._step.advance(note=f"loss {float(outputs['loss']):.2f}" if outputs else "")

    def after_train_epoch(self, runner: Runner) -> None:
        """Compare the pass with the best so far."""
        network: BaseModel = runner.model.module if hasattr(runner.model, "module") else runner.model
        dice = mean_dice(network, self.selecting, self._size) if self.selecting else 0.0
        dice = _of_first_process(dice)  # another's batch norm has seen other images
        better = not self.selecting or not self.dice or dice > max(self.dice)
        self.dice.append(dice)
        if better:
            self.taken = runner.epoch + 1
            if runner.rank == 0:
                save_state(self._folder / _BEST, network)
        barrier()  # the others read it at the end
        runner.message_hub.update_info("ccbench_dice", list(self.dice))
        runner.message_hub.update_info("ccbench_taken", self.taken)


def _of_first_process(value: float) -> float:
    shared = [value]
    broadcast_object_list(shared)
    return shared[0]


def _last_state(folder: Path) -> str | None:
    """Return the newest state in a folder that can be read: a process may have been killed while it wrote one."""
    for path in sorted(folder.glob(_STATE), key=lambda path: -int(path.stem.rpartition("_")[2])):
        if not zipfile.is_zipfile(path):  # torch writes a zip, whose directory comes last
            remove_file(path)
            continue
        return str(path)
    return None


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
