"""The processes that train together and the arithmetic of their steps, whatever is set outside."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, DynamoBackend

from ccbench.diffusion.launch_environment import plain_environment
from ccbench.errors import UsageError
from ccbench.plugins.contract import TrainContext, TrainingSettings


@dataclass(frozen=True)
class Share:
    """The part of every batch that is worked on at once: part `rank` of `count` equal ones."""

    rank: int
    count: int

    def of(self, batch: torch.Tensor) -> torch.Tensor:
        """Return the share's rows of a tensor whose first dimension is the whole batch."""
        return batch.chunk(self.count)[self.rank]


def prepare_process(context: TrainContext[Any]) -> Accelerator:
    """Return the process's accelerator; `accelerate launch` makes several.

    Raises:
        UsageError: the batch cannot be shared equally, or the environment asks for what no setting can undo.
    """
    wanted, training = torch.device(context.device), context.training
    if wanted.index is not None:
        torch.cuda.set_device(wanted)  # accelerate takes the current one
    with plain_environment():
        accelerator = Accelerator(cpu=wanted.type == "cpu")
    _check_plain(accelerator, wanted)
    count, parts = accelerator.num_processes, training.gradient_accumulation
    if training.batch_size % (count * parts):
        among = f"{count} processes" + (f" in training.gradient_accumulation={parts} parts each" if parts > 1 else "")
        raise UsageError(
            f"training.batch_size={training.batch_size} cannot be shared by {among}; "
            f"their product must divide {training.batch_size}"
        )
    return accelerator


def _check_plain(accelerator: Accelerator, wanted: torch.device) -> None:
    """Refuse what other code in this process has set up before: accelerate keeps one state for all."""
    kinds = (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU)
    found = {
        f"processes of kind {accelerator.distributed_type.value}": accelerator.distributed_type in kinds,
        f"precision {accelerator.mixed_precision}": accelerator.mixed_precision == "no",
        "compiled steps": accelerator.state.dynamo_plugin.backend == DynamoBackend.NO,
        f"device {accelerator.device}": accelerator.device.type == wanted.type,
    }
    if wrong := [what for what, fine in found.items() if not fine]:
        raise UsageError(f"accelerate was set up with {wrong[0]} in this process before; train in a process of its own")


def shares(accelerator: Accelerator, training: TrainingSettings) -> list[Share]:
    """Return the parts of a batch that this process works on, one after another."""
    parts = training.gradient_accumulation
    count, first = accelerator.num_processes * parts, accelerator.process_index * parts
    return [Share(first + part, count) for part in range(parts)]


@contextmanager
def arithmetic(training: TrainingSettings, device: torch.device) -> Iterator[None]:
    """Compute within the block as `training.precision` says: matrix products are not rounded to less behind it."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device.type, torch.bfloat16, enabled=training.precision == "bf16"):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
