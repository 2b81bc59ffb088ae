"""What every recipe shares: a checkpoint to go on from, a learning rate, a progress line."""

import math
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed


class Part(Protocol):
    """A network, an optimiser or a moving average: whatever has a state."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any], /) -> Any: ...


class TrainingRun:
    """One resumable training of `steps` steps; `step` is how many are done.

    Args:
        folder: gets `state.pt`, written every `save_every` steps and at the end by way of a temporary file.
        parts: everything whose state a step changes, by name. device: where they live.
        writes: False in all but the first of several processes.
    """

    def __init__(
        self,
        folder: Path,
        steps: int,
        save_every: int,
        parts: dict[str, Part],
        device: torch.device,
        writes: bool = True,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file, self._parts, self._save_every, self._writes = folder / "state.pt", parts, save_every, writes
        self.steps, self.step = steps, 0
        self._started, self._sums, self._since = time.time(), dict[str, float](), 0
        if self._file.exists():
            state = torch.load(self._file, weights_only=True, map_location=device)
            for name, part in parts.items():
                part.load_state_dict(state[name])
            self.step = state["step"]
            print(f"going on after step {self.step} of {self._file}", flush=True)

    def rate(self, peak: float, warmup: int) -> float:
        """Return this step's learning rate: linear warm-up, then a cosine down to 2 % of `peak`."""
        share = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * self.step / self.steps))
        return peak * min(1.0, (self.step + 1) / warmup) * share

    def advance(self, values: dict[str, float]) -> bool:
        """Count a step, log the means of `values` every 20; True when the state was just saved: time to look."""
        self.step += 1
        self._since += 1
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        if self.step % 20 == 0 and self._writes:
            means = " ".join(f"{name} {total / self._since:.4f}" for name, total in self._sums.items())
            print(f"step {self.step}/{self.steps} {means} {time.time() - self._started:.0f}s", flush=True)
        if self.step % 20 == 0:
            self._sums, self._since = {}, 0
        if not self._writes or (self.step % self._save_every and self.step != self.steps):
            return False
        temporary = self._file.with_suffix(".tmp")
        torch.save({name: part.state_dict() for name, part in self._parts.items()} | {"step": self.step}, temporary)
        temporary.replace(self._file)
        return True


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every parameter group, times the group's own `share`."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group.get("share", 1.0)


def pick_device() -> torch.device:
    """Return this process's GPU where there is one, the CPU otherwise."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    return torch.device("cpu")


def start_processes() -> int:
    """Join the other processes when `torchrun` started this one; return its rank."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        return 0
    torch.distributed.init_process_group("gloo", timeout=timedelta(hours=1))
    return torch.distributed.get_rank()


def wait_for_processes() -> None:
    """Return when all processes have come here."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()


def average_gradients(model: torch.nn.Module) -> None:
    """Average the gradients over the processes of `torch.distributed`; nothing when there is one."""
    if torch.distributed.is_initialized():
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        torch.distributed.all_reduce(flat)
        flat /= torch.distributed.get_world_size()
        for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))
