"""What a training leaves in its folder: a state to go on from, and at the end weights; damaged files are never used.

Every file is written whole. A state carries a checksum of its tensors; final weights and their loss curve are hashed in
a file beside them, for `model.safetensors` is to be equal, byte for byte, whatever wrote it.
"""

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from ccbench.base.files import read_json, read_text, remove_file, write_atomic, write_json
from ccbench.base.images import sha256_file
from ccbench.base.tensor_files import key_misfits, load_checked, load_safetensors, save_checked, save_tensors, under
from ccbench.errors import DataError

WEIGHTS, STATE, LOSS, FINISHED = "model.safetensors", "training.safetensors", "loss.csv", "finished.json"

Tensors = dict[str, torch.Tensor]
Curve = list[tuple[int, float]]
"""(step, loss), averaged between log points."""


@dataclass
class Training:
    """A network under way.

    Attributes:
        averaged: the moving average of its weights, where one is kept.
        step: how many were made.
        loss: the curve so far.
        running: losses of the steps since its last point.
    """

    network: nn.Module
    optimiser: torch.optim.Optimizer
    averaged: Tensors | None = None
    step: int = 0
    loss: Curve = field(default_factory=list)
    running: list[torch.Tensor] = field(default_factory=list)

    def save(self, folder: Path) -> None:
        """Write weights, their average and AdamW's moments in one file, so that they can never be of different steps.

        Raises:
            UsageError: it cannot be written.
        """
        tensors = {f"weights/{key}": value for key, value in self.network.state_dict().items()}
        tensors |= {f"average/{key}": value for key, value in (self.averaged or {}).items()}
        for index, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"{name}/{index}": torch.as_tensor(value) for name, value in state.items()}
        tensors["loss"] = torch.tensor(self.loss, dtype=torch.float64).reshape(-1, 2)
        tensors["running"] = torch.stack(self.running) if self.running else torch.empty(0)
        save_checked(folder / STATE, tensors, {"step": self.step})

    def resume(self, folder: Path) -> None:
        """Take up what `save` left, if anything.

        Raises:
            DataError: the file is damaged, or of another network; nothing of it is used.
        """
        path = folder / STATE
        if not path.exists():
            return
        tensors, facts = load_checked(path)
        step = facts.get("step")
        if not isinstance(step, int) or step < 0:
            raise DataError(f"{path}: does not say its step")
        weights, averaged = under("weights/", tensors), under("average/", tensors)
        _check_fit(path, weights, self.network)
        if bad := not_finite(tensors):
            raise DataError(f"{path}: {bad} is not finite")
        device = next(self.network.parameters()).device
        self.network.load_state_dict(weights)
        if self.averaged is not None:
            self.averaged = {key: value.to(device) for key, value in averaged.items()}
        moments: dict[int, Tensors] = {}
        for key, value in tensors.items():
            name, _, index = key.partition("/")
            if index.isdecimal() and name not in ("weights", "average"):
                moments.setdefault(int(index), {})[name] = value
        self.optimiser.load_state_dict({"state": moments, "param_groups": self.optimiser.state_dict()["param_groups"]})
        self._lay_out_moments()
        self.step = step
        self.loss = [(int(step), float(value)) for step, value in tensors["loss"]]
        self.running = list(tensors["running"].to(device))

    def _lay_out_moments(self) -> None:
        """Lay the moments out in memory as their parameters: fused AdamW takes for granted that they are."""
        for parameter, held in self.optimiser.state.items():
            for name, value in held.items():
                if value.shape == parameter.shape:
                    held[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)

    def finish(self, folder: Path) -> None:
        """Leave the weights, or their average, and the loss curve; the state is no longer needed.

        Raises:
            UsageError: a file cannot be written.
        """
        write_atomic(folder / LOSS, _to_csv(self.loss))
        save_tensors(folder / WEIGHTS, self.averaged or self.network.state_dict())
        write_json(folder / FINISHED, {"sha256": {name: sha256_file(folder / name) for name in (WEIGHTS, LOSS)}})
        remove_file(folder / STATE)


def is_finished(folder: Path) -> bool:
    """Return whether a training in this folder has come to its end."""
    return (folder / WEIGHTS).exists() and not (folder / STATE).exists()


def load_finished(network: nn.Module, folder: Path) -> Curve:
    """Load the weights of a finished training into its network, and return its loss curve.

    Raises:
        DataError: a file is damaged, or of another network; the network is as it was.
    """
    if (folder / FINISHED).exists():
        said = read_json(folder / FINISHED).get("sha256")
        for name in (WEIGHTS, LOSS):
            file = folder / name
            if not file.is_file() or not isinstance(said, dict) or said.get(name) != sha256_file(file):
                raise DataError(f"{file}: is not the file that training left")
    loss = _from_csv(folder / LOSS)
    state = load_safetensors(folder / WEIGHTS)
    if bad := not_finite(state):
        raise DataError(f"{folder / WEIGHTS}: {bad} is not finite")
    _check_fit(folder / WEIGHTS, state, network)
    network.load_state_dict(state)
    return loss


def load_weights(network: nn.Module, path: Path) -> None:
    """Load a safetensors file into a network of the same shape.

    Raises:
        MissingError: no such file.
        DataError: a key is missing, unknown or of another shape.
    """
    state = load_safetensors(path)
    _check_fit(path, state, network)
    network.load_state_dict(state)


@torch.no_grad()
def not_finite(tensors: Tensors) -> str | None:
    """Return the name of the first tensor that holds a number that is not finite; None when all are."""
    floating = {key: value for key, value in tensors.items() if value.is_floating_point()}
    if not floating or bool(torch.stack([value.isfinite().all() for value in floating.values()]).all()):
        return None  # one look at the device for all of them
    return next(key for key, value in floating.items() if not value.isfinite().all())


def _check_fit(path: Path, state: Tensors, network: nn.Module) -> None:
    shapes = ({key: tuple(value.shape) for key, value in tensors.items()} for tensors in (state, network.state_dict()))
    if wrong := key_misfits(*shapes):
        raise DataError(
            f"{path}: {len(wrong)} keys do not fit this method's configuration ({min(wrong)}); "
            "sample with the settings it was trained with"
        )


def _from_csv(path: Path) -> Curve:
    try:
        return [(int(row["step"]), float(row["loss"])) for row in csv.DictReader(io.StringIO(read_text(path)))]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: is no loss curve ({error})") from error


def _to_csv(loss: Curve) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["step", "loss"])
    writer.writerows(loss)
    return text.getvalue().encode()
