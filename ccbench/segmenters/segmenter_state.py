"""What a segmenter's training is resumed from: weights, moments and schedule of one pass in one checked file.

mmengine's own checkpoints are pickles, whose reading runs what somebody put in them; a half-finished cell may come from
anywhere. These are safetensors and JSON, and what does not fit the network and the budget is refused.
"""

import math
from pathlib import Path
from typing import Any

import torch

from ccbench.base.tensor_files import key_misfits, load_checked, save_checked, under
from ccbench.base.text import one_line
from ccbench.errors import DataError
from ccbench.segmenters.mmlab import Runner

STATE = "state.safetensors"

Tensors = dict[str, torch.Tensor]


class Selection:
    """Which pass is taken so far.

    Attributes:
        dice: after each pass; zeros where none is measured.
        taken: the pass, from 1; 0 = none yet.
        weights: of that pass, on the CPU.
    """

    def __init__(self) -> None:
        self.dice: list[float] = []
        self.taken = 0
        self.weights: Tensors = {}

    def add(self, dice: float, better: bool, network: torch.nn.Module) -> None:
        """Add a pass, and keep its weights where it is `better` than those before."""
        self.dice.append(dice)
        if better:
            self.taken = len(self.dice)
            self.weights = {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}


def save_pass(folder: Path, runner: Runner, selection: Selection) -> None:
    """Write the state at the end of a pass in place of the one before."""
    network, optimizer = plain_network(runner), runner.optim_wrapper.optimizer
    tensors = {f"weights/{name}": tensor for name, tensor in network.state_dict().items()}
    if selection.taken != len(selection.dice):
        tensors |= {f"taken/{name}": tensor for name, tensor in selection.weights.items()}
    moments = optimizer.state_dict()["state"]
    for number, own in moments.items():
        tensors |= {
            f"moments/{number}/{name}": torch.as_tensor(value) for name, value in own.items() if value is not None
        }
    facts = {
        "dice": selection.dice,
        "taken": selection.taken,
        "groups": [_numbers(group) for group in optimizer.param_groups],
        "schedules": [_numbers(schedule.state_dict()) for schedule in runner.param_schedulers or ()],
        "scaler": _numbers(runner.optim_wrapper.loss_scaler.state_dict()) if _is_scaled(runner) else {},
    }
    save_checked(folder / STATE, tensors, facts)


def restore_pass(folder: Path, runner: Runner, selection: Selection, passes: int) -> None:
    """Put a runner and a selection into the state that `save_pass` left.

    Raises:
        DataError: the file is damaged, or of another training.
    """
    file = folder / STATE
    tensors, facts = load_checked(file)
    try:
        _restore_selection(tensors, facts, selection, passes)
        _restore_runner(tensors, facts, runner, selection)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{file}: is of another training ({one_line(error, 120)})") from error


def taken_weights(folder: Path) -> Tensors:
    """Return the weights of the pass that was taken, as the last state holds them.

    Raises:
        DataError: it is damaged.
    """
    tensors, facts = load_checked(folder / STATE)
    return under("taken/" if facts["taken"] != len(facts["dice"]) else "weights/", tensors)


def plain_network(runner: Runner) -> torch.nn.Module:
    """Return the network of a runner, unwrapped where several processes share it."""
    network: torch.nn.Module = runner.model.module if hasattr(runner.model, "module") else runner.model
    return network


def _restore_selection(tensors: Tensors, facts: dict[str, Any], selection: Selection, passes: int) -> None:
    dice, taken = [float(value) for value in facts["dice"]], int(facts["taken"])
    if not 1 <= taken <= len(dice) <= passes or not all(map(math.isfinite, dice)):
        raise ValueError(f"pass {taken} of {len(dice)}, of {passes} at most")
    selection.dice, selection.taken = dice, taken
    selection.weights = under("taken/" if taken != len(dice) else "weights/", tensors)


def _restore_runner(tensors: Tensors, facts: dict[str, Any], runner: Runner, selection: Selection) -> None:
    network, wrapper = plain_network(runner), runner.optim_wrapper
    wanted, weights = _shapes(network.state_dict()), under("weights/", tensors)
    for part in (weights, selection.weights):
        if wrong := key_misfits(_shapes(part), wanted):
            raise ValueError(min(wrong))
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in under("moments/", tensors).items():
        number, _, name = key.partition("/")
        moments.setdefault(int(number), {})[name] = value
    groups = wrapper.optimizer.state_dict()["param_groups"]
    trained = [parameter for group in wrapper.optimizer.param_groups for parameter in group["params"]]
    for place, own in moments.items():
        if any(moment.ndim and moment.shape != trained[place].shape for moment in own.values()):
            raise ValueError(f"moments of parameter {place} of another shape")
    schedules = runner.param_schedulers or []
    for group, found in zip(groups, facts["groups"], strict=True):
        group.update(_fitting(found, group))
    network.load_state_dict(weights)
    wrapper.optimizer.load_state_dict({"state": moments, "param_groups": groups})
    for schedule, found in zip(schedules, facts["schedules"], strict=True):
        schedule.load_state_dict(_fitting(found, schedule.state_dict()))
    if _is_scaled(runner):
        wrapper.loss_scaler.load_state_dict(_fitting(facts["scaler"], wrapper.loss_scaler.state_dict()))
    loop, epoch = runner.train_loop, len(selection.dice)
    loop._epoch, loop._iter = epoch, epoch * len(loop.dataloader)


def _is_scaled(runner: Runner) -> bool:
    return hasattr(runner.optim_wrapper, "loss_scaler")


def _numbers(state: dict[str, Any]) -> dict[str, Any]:
    """Return what is a number, or a list of numbers, of a state; the rest is the configuration's and made anew."""

    def is_number(value: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool)

    return {
        name: value
        for name, value in state.items()
        if name != "params" and (is_number(value) or (isinstance(value, list) and value and all(map(is_number, value))))
    }


def _fitting(found: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Return found numbers, or raise `ValueError` unless they have the names and kinds of one's own."""
    kinds, others = (
        {name: len(value) if isinstance(value, list) else None for name, value in _numbers(part).items()}
        for part in (own, found)
    )
    if others != kinds:
        raise ValueError(f"found {', '.join(sorted(others)) or 'nothing'}, wanted {', '.join(sorted(kinds))}")
    return found


def _shapes(tensors: Tensors) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}
