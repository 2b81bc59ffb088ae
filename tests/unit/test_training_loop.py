"""The training loop: settings alone decide, numbers stay finite, damaged files are not used, signals lose no step."""

import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file, save_file

from ccbench.base.signals import Terminated
from ccbench.diffusion import training_loop
from ccbench.diffusion.launch_environment import ignored_variables, plain_environment
from ccbench.diffusion.training_state import FINISHED
from ccbench.errors import UsageError
from ccbench.plugins.contract import MethodConfig, TrainContext, TrainingSettings

STEPS = 12


class Line(training_loop.Objective):
    """A linear layer that learns another one from drawn points."""

    def __init__(self, act: Callable[[int], None] = lambda step: None) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.network = torch.nn.Linear(4, 3)
        self._act = act

    def forward(self, step: int, share: training_loop.Share) -> torch.Tensor:
        self._act(step)
        generator = torch.Generator().manual_seed(step)
        points = share.of(torch.randn(8, 4, generator=generator))
        return (self.network(points) - points[:, :3].sin()).square().mean()


class Fit:
    """Trains in a folder, and keeps what was said."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.said = folder, list[str]()

    def __call__(self, name: str, act: Callable[[int], None] = lambda step: None, **settings: Any) -> bytes:
        AcceleratorState._reset_state(reset_partial_state=True)  # it reads the environment once a process
        known = {"max_steps": STEPS, "batch_size": 8, "learning_rate": 0.05, "checkpoint_every": 4}
        training = TrainingSettings.model_validate({**known, **settings})
        folder, note = self.folder / name, self.said.append
        context = TrainContext((), MethodConfig(), training, "", 8, folder, seed=0, note=note)
        training_loop.run_steps(
            context, Line(act), training_loop.prepare_process(context), average=training_loop.MovingAverage(0.9)
        )
        return (folder / training_loop.WEIGHTS).read_bytes()

    def cut(self, name: str, at: int = 10) -> Path:
        """Leave a training with its last state, of step 8; return the state's file."""

        def stop(step: int) -> None:
            if step == at:
                raise RuntimeError("cut off")

        with pytest.raises(RuntimeError, match="cut off"):
            self(name, stop)
        return self.folder / name / training_loop.STATE


@pytest.fixture
def fit(tmp_path: Path) -> Fit:
    return Fit(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ACCELERATE_MIXED_PRECISION", "bf16"),
        ("ACCELERATE_MIXED_PRECISION", "fp16"),
        ("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "3"),
        ("ACCELERATE_DYNAMO_BACKEND", "eager"),
    ],
)
def test_the_environment_does_not_change_a_training(
    fit: Fit, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    plain = fit("plain")
    monkeypatch.setenv(name, value)
    assert fit("asked") == plain
    (said,) = ignored_variables(TrainingSettings())
    assert said.startswith(f"{name}={value} is ignored: ")
    assert os.environ[name] == value  # of the user, and kept


@pytest.mark.parametrize("value", ["no", "", "fp32"])
def test_a_variable_that_asks_for_nothing_else_is_not_spoken_of(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", value)
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "1")
    assert ignored_variables(TrainingSettings()) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("ACCELERATE_USE_FSDP", "true"), ("ACCELERATE_USE_DEEPSPEED", "True"), ("ONEDNN_DEFAULT_FPMATH_MODE", "bf16")],
)
def test_what_no_setting_can_undo_is_refused(fit: Fit, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=f"{name}={value}: "):
        fit("refused")
    assert not (fit.folder / "refused").exists()


def test_variables_come_back_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    with pytest.raises(ValueError), plain_environment():
        assert "ACCELERATE_MIXED_PRECISION" not in os.environ
        raise ValueError
    assert os.environ["ACCELERATE_MIXED_PRECISION"] == "bf16"


def test_precision_is_a_setting(fit: Fit) -> None:
    torch.set_float32_matmul_precision("medium")  # of other code in this process
    try:
        assert fit("fp32") == fit("again", precision="fp32") != fit("bf16", precision="bf16")
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    one, other = (load_file(fit.folder / name / training_loop.WEIGHTS) for name in ("fp32", "bf16"))
    assert all((one[key] - other[key]).abs().max() < 0.05 and other[key].dtype == torch.float32 for key in one)


def test_accumulation_is_a_setting_and_equal_up_to_rounding(fit: Fit) -> None:
    """1e-5: twelve steps of rate 0.05 whose gradients differ in the last bits of float32."""
    fit("whole")
    fit("parts", gradient_accumulation=4)
    one, other = (load_file(fit.folder / name / training_loop.WEIGHTS) for name in ("whole", "parts"))
    assert all(torch.allclose(one[key], other[key], atol=1e-5) for key in one)
    with pytest.raises(UsageError, match=r"batch_size=8 cannot be shared by 1 processes in .*accumulation=3 parts"):
        fit("odd", gradient_accumulation=3)


@pytest.mark.parametrize("step", [0, 5])
def test_a_loss_that_is_not_finite_ends_training_at_its_step(fit: Fit, step: int) -> None:
    class Bad(Line):
        def forward(self, at: int, share: training_loop.Share) -> torch.Tensor:
            return super().forward(at, share) * (float("nan") if at == step else 1)

    training = TrainingSettings(max_steps=STEPS, batch_size=8, learning_rate=0.05, checkpoint_every=4)
    context = TrainContext((), MethodConfig(), training, "", 8, fit.folder, seed=0)
    for _ in range(2):  # the same command again says the same
        with pytest.raises(UsageError) as caught:
            training_loop.run_steps(context, Bad(), training_loop.prepare_process(context))
        said = str(caught.value)
        assert f"the loss of step {step + 1} is nan" in said and "the same settings end here again" in said
        assert ("lower the learning rate of 0.05" in said) == (step > 0)
        assert ("step 4 of 12 is kept" if step else "nothing is kept yet") in said
    assert not (fit.folder / training_loop.WEIGHTS).exists()
    state = fit.folder / training_loop.STATE
    assert state.exists() == (step > 0)
    assert not step or all(value.isfinite().all() for value in load_file(state).values())


@pytest.mark.parametrize("at", [3, STEPS - 1])
def test_weights_that_are_not_finite_are_never_written(fit: Fit, at: int) -> None:
    """Before a state of step 4, and at the very end, where no loss would show it."""

    class Bad(Line):
        def forward(self, step: int, share: training_loop.Share) -> torch.Tensor:
            loss = super().forward(step, share)
            if step == at:
                loss.register_hook(lambda gradient: gradient * float("inf"))
            return loss

    training = TrainingSettings(max_steps=STEPS, batch_size=8, learning_rate=0.05, checkpoint_every=4)
    context = TrainContext((), MethodConfig(), training, "", 8, fit.folder, seed=0)
    with pytest.raises(UsageError, match=f"after step {at + 1} weights of (weight|bias) are not finite"):
        training_loop.run_steps(context, Bad(), training_loop.prepare_process(context))
    assert not (fit.folder / training_loop.WEIGHTS).exists() and (fit.folder / training_loop.STATE).exists() == (at > 4)


def flip(path: Path) -> None:
    """Flip one bit of the tensors, which end the file."""
    data = bytearray(path.read_bytes())
    data[-40] ^= 4
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def poison(path: Path) -> None:
    """Write NaN where an older version would have, without a checksum."""
    held = load_file(path)
    save_file({key: value * float("nan") if value.is_floating_point() else value for key, value in held.items()}, path)


@pytest.mark.parametrize("damage", [flip, cut, empty, poison])
def test_a_damaged_state_is_said_and_not_used(fit: Fit, damage: Callable[[Path], None]) -> None:
    whole, state = fit("whole"), fit.cut("cut")
    damage(state)
    assert fit("cut") == whole
    (said,) = fit.said
    assert str(state) in said and said.endswith("training starts anew at step 0") and "\n" not in said


def test_a_whole_state_is_gone_on_from_without_a_word(fit: Fit) -> None:
    whole = fit("whole")
    fit.cut("cut")
    steps: list[int] = []
    assert fit("cut", steps.append) == whole and steps == [8, 9, 10, 11] and fit.said == []


@pytest.mark.parametrize("name", [training_loop.WEIGHTS, training_loop.LOSS, FINISHED])
@pytest.mark.parametrize("damage", [flip, cut, empty])
def test_damaged_files_of_a_finished_training_are_said_and_made_anew(
    fit: Fit, name: str, damage: Callable[[Path], None]
) -> None:
    """Killed before its record was written, or a stage whose weights a later one takes."""
    whole = fit("run")
    steps: list[int] = []
    assert fit("run", steps.append) == whole and steps == []
    damage(fit.folder / "run" / name)
    assert fit("run", steps.append) == whole and len(steps) == STEPS
    (said,) = fit.said
    assert f"{fit.folder / 'run'}" in said and said.endswith("training starts anew")


def test_a_finished_training_of_an_older_version_is_taken(fit: Fit) -> None:
    whole, steps = fit("run"), list[int]()
    (fit.folder / "run" / FINISHED).unlink()
    assert fit("run", steps.append) == whole and steps == [] and fit.said == []


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
@pytest.mark.parametrize("at", [0, 5, STEPS - 1])
def test_a_signal_ends_training_after_the_step_and_loses_none(
    fit: Fit, number: int, error: type[BaseException], at: int
) -> None:
    whole, steps = fit("whole"), list[int]()

    def stop(step: int) -> None:
        steps.append(step)
        if step == at and steps.count(step) == 1:
            os.kill(os.getpid(), number)

    with pytest.raises(error):
        fit("cut", stop)
    assert fit("cut", stop) == whole and steps == list(range(STEPS))


def test_every_file_of_a_training_has_the_permissions_of_any_new_file(fit: Fit) -> None:
    plain = fit.folder / "plain"
    plain.touch()
    wanted = stat.S_IMODE(plain.stat().st_mode)
    state = fit.cut("cut")
    fit("run")
    files = [state, *(fit.folder / "run").iterdir()]
    assert len(files) == 4 and {stat.S_IMODE(file.stat().st_mode) for file in files} == {wanted}
