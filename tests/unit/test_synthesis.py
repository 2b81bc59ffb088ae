"""Sampling: seeds by hash, checked images, and a resumed run that ends as an uninterrupted one."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fake_methods
from ccbench.base.images import read_image, write_png
from ccbench.base.seeding import sample_seed
from ccbench.errors import DataError, UsageError, VerificationError
from ccbench.features.image_pass import encode_files
from ccbench.pipeline.session import Session
from ccbench.pipeline.synthesis import add_copies, check_images, find_failure, synthesize_run
from ccbench.pipeline.training import train_run
from ccbench.protocols.config import resolve_config
from ccbench.protocols.protocol import Protocol
from ccbench.runs import RunFolder
from ccbench.types import Condition, Image, SilentProgress
from fake_methods import METHOD, FakeGenerator

COUNT, BATCH = 8, 3  # chunks of 3, 3 and 2: the fake's pixels depend on the parity of its batch

MakeRun = Callable[..., RunFolder]


@pytest.fixture
def make_run(tmp_path: Path, small_protocol: Protocol, fake_plugin: str) -> Any:
    opened: list[RunFolder] = []

    def make(name: str, seed: int = 0) -> RunFolder:
        config = resolve_config(METHOD, small_protocol, limit=COUNT, seed=seed)
        run = RunFolder.open(tmp_path / name, config)
        opened.append(run)
        train_run(run, Session())
        return run

    yield make
    for run in opened:
        run.close()


def reopen(run: RunFolder) -> RunFolder:
    run.close()
    return RunFolder.open(run.path, run.config)


def content(run: RunFolder) -> dict[str, bytes]:
    files = [*sorted((run.path / "images").iterdir()), run.path / "samples.jsonl"]
    return {file.name: file.read_bytes() for file in files}


@pytest.fixture
def wanted(make_run: MakeRun) -> dict[str, bytes]:
    """Bytes of an uninterrupted run."""
    run = make_run("whole")
    synthesize_run(run, Session(), batch_size=BATCH)
    return content(run)


def test_every_condition_has_its_image_and_seed(make_run: MakeRun) -> None:
    run = make_run("run", seed=4)
    synthesize_run(run, Session(), batch_size=BATCH)
    assert run.record.status == "complete"
    assert run.record.conditions is not None and run.record.conditions.n == COUNT
    samples = run.samples()
    assert [sample.condition_id for sample in samples] == [f"phantom-test-{i:04d}" for i in range(COUNT)]
    assert [sample.seed for sample in samples] == [sample_seed(4, sample.condition_id) for sample in samples]
    assert run.record.cost.images_sampled == COUNT
    assert run.record.cost.seconds_per_image == run.record.cost.sample_seconds / COUNT


def test_two_runs_of_one_configuration_are_equal(make_run: MakeRun, wanted: dict[str, bytes]) -> None:
    run = make_run("again")
    synthesize_run(run, Session(), batch_size=BATCH)
    assert content(run) == wanted


def test_another_batch_size_moves_at_most_one_grey_level(make_run: MakeRun) -> None:
    """The chunks reach the generator: the fake adds 1 in odd batches, and of 3, 3, 2 and of 4, 4 two are odd."""
    pixels = []
    for name, size in (("whole", BATCH), ("other", 4)):
        synthesize_run(run := make_run(name), Session(), batch_size=size)
        pixels.append(np.stack([read_image(file) for file in run.image_files()]).astype(int))
    apart = np.abs(pixels[0] - pixels[1])
    assert apart.max(axis=(1, 2, 3)).tolist() == [1] * 6 + [0] * 2


@pytest.mark.parametrize("images", [0, 1, 2, 4, 7])
def test_ctrl_c_between_two_images(
    make_run: MakeRun, wanted: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, images: int
) -> None:
    run = make_run("cut")
    real = RunFolder.add_sample

    def cut(self: RunFolder, index: int, *given: Any) -> Any:
        if index == images:
            raise KeyboardInterrupt
        return real(self, index, *given)

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "add_sample", cut)
        with pytest.raises(KeyboardInterrupt):
            synthesize_run(run, Session(), batch_size=BATCH)
    assert (run.record.status, len(run.samples())) == ("interrupted", images)
    again = reopen(run)
    synthesize_run(again, Session(), batch_size=BATCH)
    assert content(again) == wanted
    assert again.record.status == "complete"
    again.close()


def test_ctrl_c_inside_the_generator(
    make_run: MakeRun, wanted: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run("cut")
    drawn: list[str] = []
    real = FakeGenerator.draw

    def cut(self: FakeGenerator, condition: Condition, seed: int, batch: int) -> Image:
        if len(drawn) == 5:
            raise KeyboardInterrupt
        drawn.append(condition.id)
        return real(self, condition, seed, batch)

    with monkeypatch.context() as patch:
        patch.setattr(FakeGenerator, "draw", cut)
        with pytest.raises(KeyboardInterrupt):
            synthesize_run(run, Session(), batch_size=BATCH)
    assert len(run.samples()) == BATCH
    again = reopen(run)
    synthesize_run(again, Session(), batch_size=BATCH)
    assert content(again) == wanted
    again.close()


def test_killed_in_the_middle_of_a_line(make_run: MakeRun, wanted: dict[str, bytes]) -> None:
    run = make_run("torn")
    synthesize_run(run, Session(), batch_size=BATCH)
    lines = run.path / "samples.jsonl"
    lines.write_bytes(lines.read_bytes()[:-30])
    again = reopen(run)
    synthesize_run(again, Session(), batch_size=BATCH)
    assert content(again) == wanted
    again.close()


def test_a_deleted_image_is_made_again_and_the_others_are_not_touched(
    make_run: MakeRun, wanted: dict[str, bytes]
) -> None:
    run = make_run("hole")
    synthesize_run(run, Session(), batch_size=BATCH)
    files = run.image_files()
    files[4].unlink()
    before = {file.name: file.stat().st_mtime_ns for file in files if file.exists()}
    synthesize_run(run, Session(), batch_size=BATCH)
    assert {name: data for name, data in content(run).items() if name.endswith("png")} == {
        name: data for name, data in wanted.items() if name.endswith("png")
    }
    assert {name: (run.path / "images" / name).stat().st_mtime_ns for name in before} == before
    assert run.record.status == "complete"


def test_a_complete_run_is_not_sampled_again(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run("run")
    synthesize_run(run, Session())
    monkeypatch.setattr(fake_methods, "load", fake_methods.load_crashing)
    synthesize_run(run, Session())


def test_a_run_that_is_not_trained_is_refused(tmp_path: Path, small_protocol: Protocol, fake_plugin: str) -> None:
    with (
        RunFolder.open(tmp_path / "run", resolve_config(METHOD, small_protocol, limit=2)) as run,
        pytest.raises(UsageError, match="not trained; train it first"),
    ):
        synthesize_run(run, Session())


def test_another_checkpoint_than_the_trained_one_is_refused(make_run: MakeRun) -> None:
    run = make_run("run")
    (run.checkpoint / "colour.safetensors").write_bytes(np.zeros(3).tobytes())
    with pytest.raises(VerificationError, match="not the weights that training left"):
        synthesize_run(run, Session())


def test_other_test_data_than_at_the_start_is_refused(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run("run")
    synthesize_run(run, Session())
    run.image_files()[0].unlink()
    monkeypatch.setattr("ccbench.data.phantom.phantom_source.COUNTS", {"test": COUNT - 1})
    with pytest.raises(DataError, match="the test data has changed"):
        synthesize_run(run, Session())


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("count", "generate returned 7 images in a list, wanted 8"),
        ("dtype", r"image 0 is float64 \(16, 16, 3\), wanted uint8 \(16, 16, 3\)"),
        ("size", r"image 0 is uint8 \(15, 16, 3\)"),
    ],
)
def test_images_that_break_the_contract_fail_the_run(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, fault: str, message: str
) -> None:
    fake_methods.broken(fault)
    monkeypatch.setattr(fake_methods, "load", fake_methods.load_broken)
    run = make_run("run")
    with pytest.raises(UsageError, match=message):
        synthesize_run(run, Session())
    assert run.record.status == "failed"
    assert run.samples() == []


def test_only_a_list_of_arrays_is_taken() -> None:
    image = np.zeros((16, 16, 3), np.uint8)
    assert check_images([image], 1, 16, "fake") == [image]
    for wrong in (None, (image,), np.stack([image]), [None], [image[..., 0]]):
        with pytest.raises(UsageError):
            check_images(wrong, 1, 16, "fake")


def test_failed_images_are_counted_and_kept(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = {0: np.zeros((16, 16, 3), np.uint8), 1: np.full((16, 16, 3), (200, 90, 80), np.uint8)}

    def draw(self: FakeGenerator, conditions: Sequence[Condition], seeds: Sequence[int]) -> list[Image]:
        return [plain.get(int(c.id[-4:]), self.draw(c, s, 2)) for c, s in zip(conditions, seeds, strict=True)]

    monkeypatch.setattr(FakeGenerator, "generate", draw)
    run = make_run("run")
    synthesize_run(run, Session(), batch_size=BATCH)
    assert [sample.failure for sample in run.samples()[:3]] == ["black", "constant", None]
    assert run.record.failures == {"black": 1, "constant": 1, "duplicate": 0}
    assert len(run.image_files()) == COUNT


def test_what_counts_as_a_failure() -> None:
    dark = np.zeros((16, 16, 3), np.uint8)
    dark[0, 0] = 7
    assert find_failure(dark) == "black"
    dark[0, 0] = 8
    assert find_failure(dark) is None
    assert find_failure(np.full((16, 16, 3), (1, 2, 200), np.uint8)) == "constant"


@pytest.mark.parametrize("levels", [0, 1, 2, 3])
def test_sampling_and_scoring_call_the_same_images_constant(levels: int, tmp_path: Path) -> None:
    image = np.full((16, 16, 3), 100, np.uint8)
    image[3, 5, 1] += levels
    write_png(tmp_path / "image.png", image)
    encoded = encode_files([tmp_path / "image.png"], [], "reading", SilentProgress())
    assert (encoded.constant == 1) == (find_failure(image) == "constant") == (levels <= 2)


def test_copies_are_kept_apart_and_resume(make_run: MakeRun, wanted: dict[str, bytes]) -> None:
    run = make_run("copied", seed=0)
    with pytest.raises(UsageError, match="not complete"):
        add_copies(run, Session(), 3)
    synthesize_run(run, Session(), batch_size=BATCH)
    assert add_copies(run, Session(), 3, batch_size=BATCH) == 2 * COUNT
    assert content(run) == wanted and len(run.samples()) == COUNT
    copies = run.copies()
    assert [(one.index, one.copy_index) for one in copies] == [(i, copy) for i in range(COUNT) for copy in (1, 2)]
    assert [one.seed for one in copies] == [sample_seed(0, one.condition_id, one.copy_index) for one in copies]
    files = {index: [file.read_bytes() for file in group] for index, group in run.copy_files().items()}
    assert list(files) == list(range(COUNT)) and all(len(set(group)) == 2 for group in files.values())
    assert add_copies(run, Session(), 3, batch_size=BATCH) == 0
    run.copy_files()[1][0].unlink()
    assert add_copies(run, Session(), 3, batch_size=BATCH) == 1
    assert {index: [file.read_bytes() for file in group] for index, group in run.copy_files().items()} == files
