"""Training runs once, records what it cost, and leaves a failed or interrupted run resumable."""

import dataclasses
import time
from pathlib import Path
from typing import Any

import pytest

import fake_methods
from ccbench.base.assets import backbone_kind, find_backbone, locate_backbone
from ccbench.data.split import open_split
from ccbench.errors import MissingError, UsageError
from ccbench.pipeline.session import Session
from ccbench.pipeline.training import peak_memory_mb, train_run
from ccbench.plugins.contract import TrainContext, TrainReport
from ccbench.protocols.config import resolve_config
from ccbench.protocols.protocol import Protocol
from ccbench.runs import RunFolder
from fake_methods import METHOD


@pytest.fixture
def run(tmp_path: Path, small_protocol: Protocol, fake_plugin: str) -> Any:
    with RunFolder.open(tmp_path / "run", resolve_config(METHOD, small_protocol, limit=4, seed=1)) as folder:
        yield folder


@pytest.fixture
def contexts(monkeypatch: pytest.MonkeyPatch) -> list[TrainContext[Any]]:
    """Collect what the method is given."""
    seen: list[TrainContext[Any]] = []
    real = fake_methods.train

    def spy(context: TrainContext[Any]) -> TrainReport:
        seen.append(context)
        return real(context)

    monkeypatch.setattr(fake_methods, "train", spy)
    return seen


def test_the_method_is_given_the_protocols_budget_and_data(run: RunFolder, contexts: list[TrainContext[Any]]) -> None:
    train_run(run, Session())
    (context,) = contexts
    assert [pair.condition.id for pair in context.pairs] == [f"phantom-train-{i:04d}" for i in range(4)]
    assert context.pairs[0].image.shape == (16, 16, 3)
    assert (context.training, context.seed) == (run.config.training, 1)
    assert (context.backbone, context.checkpoint) == (run.config.protocol.backbone, run.checkpoint)


def test_the_record_says_what_training_was_and_cost(run: RunFolder) -> None:
    train_run(run, Session())
    record = RunFolder.read(run.path).record
    assert record.training is not None and record.method is not None
    assert (record.training.steps, record.training.loss) == (3, [(1, 1.0), (2, 0.5), (3, 1 / 3)])
    train_split = open_split(run.config.protocol, "train", None, 4)
    assert record.training.pairs.model_dump() == {
        "split": "train",
        "n": 4,
        "manifest_sha256": train_split.manifest_sha256,
    }
    assert (record.method.distribution, record.method.version) == ("fake-plugin", "1.2.3")
    assert record.method.weights_sha256 == run.checkpoint_sha256()
    assert record.cost.parameters_trained == 3
    assert record.cost.train_seconds > 0
    assert record.env["packages"]["numpy"]


def test_training_is_done_once(run: RunFolder, contexts: list[TrainContext[Any]]) -> None:
    train_run(run, Session())
    train_run(run, Session())
    assert len(contexts) == 1


def test_a_checkpoint_that_was_deleted_is_trained_again(run: RunFolder, contexts: list[TrainContext[Any]]) -> None:
    train_run(run, Session())
    (run.checkpoint / "colour.safetensors").unlink()
    run.checkpoint.rmdir()
    train_run(run, Session())
    assert len(contexts) == 2


def test_interrupted_training_goes_on_and_both_attempts_cost(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(context: TrainContext[Any]) -> TrainReport:
        time.sleep(0.2)  # longer than the whole second attempt
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fake_methods, "train", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train_run(run, Session())
    first = run.record.cost.train_seconds
    assert (run.record.status, run.record.training) == ("interrupted", None)
    assert first > 0
    train_run(run, Session())
    assert run.record.training is not None
    assert run.record.cost.train_seconds > first


def test_a_method_that_leaves_no_checkpoint_fails_the_run(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake_methods, "train", fake_methods.train_nothing)
    with pytest.raises(UsageError, match="training left nothing in"):
        train_run(run, Session())
    assert run.record.status == "failed"
    assert str(run.record.error).startswith("UsageError: method 'fake'")


def test_a_loss_that_is_not_finite_fails_the_run(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a method with a loop of its own; no record could hold it."""

    def train_to_nan(context: TrainContext[Any]) -> TrainReport:
        return dataclasses.replace(real(context), loss=[(1, 1.0), (2, float("nan"))])

    real = fake_methods.train
    monkeypatch.setattr(fake_methods, "train", train_to_nan)
    for _ in range(2):
        with pytest.raises(UsageError, match="method 'fake': the loss of step 2 is not finite; lower"):
            train_run(run, Session())
        assert (run.record.status, run.record.training) == ("failed", None)


def test_what_training_left_can_be_read_by_whom_the_run_can(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some libraries write files for one user only, safetensors among them."""

    def train_alone(context: TrainContext[Any]) -> TrainReport:
        report = real(context)
        (context.checkpoint / "colour.safetensors").chmod(0o600)
        return report

    real = fake_methods.train
    monkeypatch.setattr(fake_methods, "train", train_alone)
    train_run(run, Session())
    weights, record = run.checkpoint / "colour.safetensors", run.path / "run.json"
    assert weights.stat().st_mode == record.stat().st_mode


def test_a_backbone_is_shipped_a_folder_or_a_hub_id(tmp_path: Path) -> None:
    assert find_backbone(str(tmp_path)) == str(tmp_path)
    assert find_backbone("owner/name") == "owner/name"
    with pytest.raises(MissingError, match="not in the hub's cache"):
        locate_backbone("owner/name")
    assert locate_backbone(str(tmp_path)) == tmp_path
    (tmp_path / "sd.safetensors").touch()
    kinds = {name: backbone_kind(name) for name in ("sd-mini", "owner/name", str(tmp_path / "sd.safetensors"))}
    assert list(kinds.values()) == ["shipped", "hub", "file"]
    with pytest.raises(MissingError, match="no-such-backbone"):
        find_backbone("no-such-backbone")


def test_a_shipped_backbone_wins_over_a_folder_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = tmp_path / "weights"
    (shipped / "mini").mkdir(parents=True)
    (tmp_path / "mini").mkdir()
    (shipped / "mini" / "card.json").write_text('{"sha256": {}}')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ccbench.base.assets.WEIGHTS_ROOT", shipped)
    assert find_backbone("mini") == str(shipped / "mini")


def test_peak_memory_is_in_mib() -> None:
    """A Python with NumPy loaded is above 20 MiB and this machine has less than 1 TiB."""
    assert 20 < peak_memory_mb("cpu") < 2**20
