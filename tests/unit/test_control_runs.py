"""A control as a run: recorded, resumed, and with a training taken from another run."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fake_methods
from ccbench.errors import DataError, UsageError, VerificationError
from ccbench.pipeline.session import Session
from ccbench.pipeline.synthesis import synthesize_run
from ccbench.pipeline.training import train_run
from ccbench.plugins import controls
from ccbench.plugins.contract import Method
from ccbench.protocols.config import RunConfig, resolve_config
from ccbench.protocols.protocol import Protocol
from ccbench.runs import RunFolder


@pytest.fixture
def resolve(small_protocol: Protocol, fake_plugin: str) -> Callable[..., RunConfig]:
    def call(method: Method[Any] = fake_methods.METHOD, *sets: str, seed: int = 1) -> RunConfig:
        return resolve_config(method, small_protocol, sets=sets, seed=seed, limit=4)

    return call


@pytest.fixture
def source(tmp_path: Path, resolve: Any) -> RunFolder:
    """A complete run of the fake method."""
    with RunFolder.open(tmp_path / "source", resolve()) as run:
        train_run(run, Session())
        synthesize_run(run, Session())
    return RunFolder.read(run.path)


def test_a_control_is_run_recorded_and_resumed(tmp_path: Path, resolve: Any) -> None:
    with RunFolder.open(tmp_path / "run", resolve(controls.CORRUPTED_REAL)) as run:
        train_run(run, Session())
        synthesize_run(run, Session(), batch_size=3)
        assert run.record.status == "complete" and run.record.method is not None and run.record.training is not None
        assert (run.record.method.control, run.record.training.steps, run.record.method.weights_sha256) == (
            True,
            0,
            None,
        )
        before = {file.name: file.read_bytes() for file in run.image_files()}
        run.image_files()[1].unlink()
        train_run(run, Session())
        synthesize_run(run, Session(), batch_size=2)
        assert {file.name: file.read_bytes() for file in run.image_files()} == before


@pytest.mark.parametrize("control", [None, controls.SHUFFLED_MASK, controls.SHUFFLED_PROMPT])
def test_a_training_is_copied_and_ends_as_one_of_its_own(
    source: RunFolder, tmp_path: Path, resolve: Any, control: Method[Any] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = resolve(control, "of=fake") if control else resolve()
    with RunFolder.open(tmp_path / "own", config) as own:
        train_run(own, Session())
        synthesize_run(own, Session())
    monkeypatch.setattr(fake_methods, "train", None)
    with RunFolder.open(tmp_path / "copied", config) as run:
        (run.checkpoint / "half").mkdir(parents=True)  # an interrupted training of this run
        train_run(run, Session(), source.path)
        train_run(run, Session(), source.path)
        train_run(run, Session())
        synthesize_run(run, Session())
        assert [f.read_bytes() for f in run.image_files()] == [f.read_bytes() for f in own.image_files()]
        assert sorted(p.name for p in run.checkpoint.iterdir()) == ["colour.safetensors"]
        record = RunFolder.read(run.path).record
    assert record.checkpoint_from is not None and record.checkpoint_from.run_id == source.record.run_id
    assert record.checkpoint_from.method == source.record.method and record.training == source.record.training
    assert record.method is not None and record.method.name == config.method
    assert record.cost.train_seconds == source.record.cost.train_seconds
    assert RunFolder.read(own.path).record.checkpoint_from is None


def test_another_training_is_not_copied(source: RunFolder, tmp_path: Path, resolve: Any) -> None:
    def refused(config: RunConfig, error: type[Exception], message: str, folder: RunFolder = source) -> None:
        with RunFolder.open(tmp_path / config.config_hash, config) as run:
            with pytest.raises(error, match=message):
                train_run(run, Session(), folder.path)
            assert not run.checkpoint.exists() and run.record.training is None
        shutil.rmtree(run.path)

    refused(resolve(seed=2), UsageError, r"--checkpoint-from .*source: holds run .*seed 1, not 2")
    refused(resolve(fake_methods.METHOD, "tint=0.1"), UsageError, r"settings\.tint 0\.5, not 0\.1")
    refused(resolve(fake_methods.METHOD, "training.max_steps=9"), UsageError, r"training\.max_steps 3, not 9")
    refused(resolve(controls.SHUFFLED_MASK, "of=controlnet"), UsageError, "method 'fake', not 'controlnet'")
    refused(resolve(controls.SHUFFLED_MASK, "of=fake", seed=2), UsageError, "seed 1, not 2")
    refused(resolve(controls.REAL_SPLIT), UsageError, "real-split has nothing to train")
    weights = source.checkpoint / "colour.safetensors"
    kept = weights.read_bytes()
    weights.write_bytes(kept[::-1])
    refused(resolve(), VerificationError, "does not hold the weights that it recorded")
    weights.write_bytes(kept)
    with RunFolder.open(source.path) as opened:
        opened.update(training=source.record.training.model_copy(update={"pairs": source.record.conditions}))  # type: ignore[union-attr]
    refused(resolve(), DataError, "trained on other pairs", RunFolder.read(source.path))
    with RunFolder.open(source.path) as opened:
        opened.update(status="started")
    refused(resolve(), UsageError, "is started, not complete", RunFolder.read(source.path))
