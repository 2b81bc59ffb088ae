"""Images are tied to weights: some are sampled again from the checkpoint, and other images are drift."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fake_methods
from ccbench.base.images import read_image
from ccbench.errors import VerificationError
from ccbench.pipeline.session import Session
from ccbench.pipeline.synthesis import synthesize_run
from ccbench.pipeline.training import train_run
from ccbench.pipeline.verification import RESAMPLED, resample
from ccbench.pipeline.verification.resampled import GREY_LEVELS, compare_images
from ccbench.plugins.contract import Method
from ccbench.protocols.config import resolve_config
from ccbench.protocols.protocol import Protocol
from ccbench.runs import RunFolder

COUNT = 8

MakeRun = Callable[..., RunFolder]


@pytest.fixture
def make(tmp_path: Path, small_protocol: Protocol, fake_plugin: str) -> MakeRun:
    """Return a function that trains and samples a run of the fake method."""

    def make(name: str = "run", seed: int = 0, sets: tuple[str, ...] = (), method: Any = None) -> RunFolder:
        chosen: Method[Any] = method or fake_methods.METHOD
        config = resolve_config(chosen, small_protocol, limit=COUNT, seed=seed, sets=sets)
        with RunFolder.open(tmp_path / name, config) as run:
            train_run(run, Session())
            synthesize_run(run, Session())
        return RunFolder.read(tmp_path / name)

    return make


def states(run: RunFolder, k: int = RESAMPLED) -> list[str]:
    return [check.state for check in resample(run, k, Session())]


def test_the_checkpoints_own_images_are_found(make: MakeRun) -> None:
    run = make()
    found = resample(run, RESAMPLED, Session())
    assert [check.state for check in found] == ["match"] * RESAMPLED == ["match"] * 4
    assert found == resample(run, RESAMPLED, Session()), "whoever verifies samples the same"
    assert states(run, 100) == ["match"] * COUNT and states(run, 0) == []
    # In an odd batch the fake method gives one grey level more, as float rounding may.
    assert states(run, 3) == ["within tolerance"] * 3
    assert resample(run, 3, Session())[0].detail == "differs by 1 grey levels on average (tolerance 1)"


def replace_images(run: RunFolder, images: list[Path]) -> RunFolder:
    """Put other images in the place of a run's, as its own record of them."""
    samples, pixels = run.samples(), [read_image(file) for file in images]
    (run.path / "samples.jsonl").unlink()
    for sample, image in zip(samples, pixels, strict=True):
        run.add_sample(sample.index, sample.condition_id, sample.seed, image)
    return RunFolder.read(run.path)


def test_images_of_another_training_or_seed_are_drift(make: MakeRun) -> None:
    run, other = make(), make("other", seed=1)
    assert states(replace_images(run, other.image_files()), COUNT) == ["drift"] * COUNT


def test_other_weights_than_recorded_are_refused(make: MakeRun) -> None:
    run = make()
    (run.checkpoint / "colour.safetensors").write_bytes(np.zeros(3).tobytes())
    with pytest.raises(VerificationError, match="not the weights that training left"):
        resample(run, RESAMPLED, Session())


def test_a_run_without_checkpoint_or_method_says_so(make: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make()
    bare = run.record.model_copy(update={"method": run.record.method.model_copy(update={"weights_sha256": None})})  # type: ignore[union-attr]
    record, run._record = run._record, bare
    assert [check.detail for check in resample(run, 4, Session())] == ["not resampled: no checkpoint"]
    run._record = record
    monkeypatch.setattr("ccbench.plugins.registry.find_offers", lambda group: {})
    (check,) = resample(RunFolder.read(run.path), 4, Session())
    assert check.state == "not checked" and "not resampled: --method: unknown method 'fake'" in check.detail


def test_nothing_that_a_run_names_is_opened(make: MakeRun) -> None:
    """Free text of a stranger's settings may name a file, or a repository on a hub."""
    (check,) = resample(make(sets=("taam.mode=somebody/else",)), 4, Session())
    assert check.detail == (
        "not resampled: method.taam.mode is 'somebody/else'; nothing that a run names is loaded or fetched"
    )


def test_the_difference_is_a_mean_of_grey_levels() -> None:
    image = np.full((4, 4, 3), 100, dtype=np.uint8)
    near, far = image + np.uint8(GREY_LEVELS), image - np.uint8(GREY_LEVELS + 1)
    assert [compare_images("x", image, other).state for other in (image, near, far, image[:2])] == [
        "match",
        "within tolerance",
        "drift",
        "drift",
    ]
