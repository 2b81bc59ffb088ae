"""The run folder: nothing half-written, one command at a time, one configuration, counts and hashes that hold."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from ccbench.base.files import write_atomic
from ccbench.base.signals import Terminated
from ccbench.errors import DataError, UsageError, VerificationError
from ccbench.protocols.config import RunConfig, resolve_config
from ccbench.protocols.protocol import Protocol
from ccbench.runs import RunFolder
from ccbench.runs.record import ConditionsRecord
from ccbench.runs.scorecard import Notes, Scorecard, ScoredImages, per_sample_table
from ccbench.types import Image, Score, SilentProgress
from fake_methods import METHOD


@pytest.fixture
def config(small_protocol: Protocol) -> RunConfig:
    return resolve_config(METHOD, small_protocol)


@pytest.fixture
def run(tmp_path: Path, config: RunConfig) -> Any:
    with RunFolder.open(tmp_path / "run", config) as folder:
        yield folder


def noise(seed: int) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)


def fill(run: RunFolder, count: int) -> None:
    run.update(conditions=ConditionsRecord(split="test", n=count, manifest_sha256="0" * 64))
    for index in range(count):
        run.add_sample(index, f"phantom-test-{index:04d}", 100 + index, noise(index))


def test_a_new_run_is_started_with_its_configuration(run: RunFolder, config: RunConfig) -> None:
    record = json.loads((run.path / "run.json").read_text())
    assert (record["status"], record["schema_version"], record["seed"]) == ("started", 1, 0)
    assert record["run_id"] == f"fake-seed0-{config.config_hash[:8]}"
    assert record["config"]["settings"]["taam"] == {"mode": "B", "tokens": 4}
    assert record["protocol_hash"] == config.protocol.hash
    assert record["not_comparable"] == []


def test_the_same_configuration_resumes(run: RunFolder, config: RunConfig) -> None:
    fill(run, 2)
    run.close()
    with RunFolder.open(run.path, config) as again:
        assert again.record == run.record
        assert len(again.samples()) == 2


def test_resuming_without_a_configuration_takes_the_recorded_one(
    run: RunFolder, config: RunConfig, fake_plugin: str
) -> None:
    run.close()
    with RunFolder.open(run.path) as again:
        assert again.config == config
    assert RunFolder.read(run.path).config == config


def test_another_configuration_is_refused(run: RunFolder, small_protocol: Protocol) -> None:
    run.close()
    other = resolve_config(METHOD, small_protocol, sets=["taam.mode=A"], seed=3)
    with pytest.raises(UsageError, match=r"settings.taam.mode 'B', not 'A'; seed 0, not 3.*choose another folder"):
        RunFolder.open(run.path, other)
    with RunFolder.open(run.path):  # the refusal has let go of the lock
        pass


def test_a_speed_setting_does_not_make_another_run(run: RunFolder, small_protocol: Protocol) -> None:
    run.close()
    with RunFolder.open(run.path, resolve_config(METHOD, small_protocol, sets=["tile=64"])) as again:
        assert again.record.run_id == run.record.run_id


def test_a_folder_of_other_files_is_refused_and_left_alone(tmp_path: Path, config: RunConfig) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("")
    with pytest.raises(UsageError, match=r"holds 'thesis.tex' and no run"):
        RunFolder.open(tmp_path / "run", config)
    assert [entry.name for entry in (tmp_path / "run").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("look", [RunFolder.open, RunFolder.read])
def test_a_folder_without_a_run_is_refused_and_not_made(tmp_path: Path, look: Any) -> None:
    with pytest.raises(UsageError, match="no run there"):
        look(tmp_path / "typo")
    assert not (tmp_path / "typo").exists()


def test_a_second_command_is_stopped(run: RunFolder) -> None:
    code = f"from pathlib import Path; from ccbench.runs import RunFolder; RunFolder.open(Path({str(run.path)!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "another command is working in this folder" in done.stderr.splitlines()[-1]
    run.close()
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("place", ["file/run", "file"])
def test_an_output_that_cannot_be_made_is_a_usage_error(tmp_path: Path, config: RunConfig, place: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot be written .*choose another folder"):
        RunFolder.open(tmp_path / place, config)


def test_a_read_only_output_is_a_usage_error(
    tmp_path: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system call is made to fail as on a read-only mount: chmod does not stop root."""

    def refuse(path: Path, *given: object, **named: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UsageError, match=r"cannot be written \(Permission denied\)"):
        RunFolder.open(tmp_path / "run", config)


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "run.json"
    write_atomic(file, b"old")

    def full(path: Path, data: bytes) -> int:
        with path.open("wb") as half:
            half.write(data[:2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UsageError, match="No space left"):
        write_atomic(file, b"newer")
    assert file.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.json"]


def test_update_refuses_an_unknown_field_and_a_wrong_value(run: RunFolder) -> None:
    before = (run.path / "run.json").read_bytes()
    for change in ({"statsu": "complete"}, {"status": "done"}):
        with pytest.raises(ValidationError):
            run.update(**change)
    assert (run.path / "run.json").read_bytes() == before


def test_a_sample_is_a_png_and_then_a_line(run: RunFolder) -> None:
    fill(run, 1)
    line = json.loads((run.path / "samples.jsonl").read_text())
    assert list(line) == ["index", "condition_id", "copy", "seed", "file", "sha256", "failure"]
    assert (line["file"], line["seed"]) == ("images/0000-phantom-test-0000.png", 100)
    assert run.image_files() == [run.path / "images" / "0000-phantom-test-0000.png"]


def test_an_odd_condition_id_stays_inside_the_folder(run: RunFolder) -> None:
    path = run.image_path(3, "../../a b/c")
    assert path == run.path / "images" / "0003-.._.._a_b_c.png"


def test_a_torn_last_line_is_dropped(run: RunFolder, config: RunConfig) -> None:
    fill(run, 3)
    run.close()
    lines = run.path / "samples.jsonl"
    whole = lines.read_bytes()
    lines.write_bytes(whole[:-20])
    with RunFolder.open(run.path, config) as again:
        assert [sample.index for sample in again.samples()] == [0, 1]
        again.add_sample(2, "phantom-test-0002", 102, noise(2))
    assert lines.read_bytes() == whole


def test_a_corrupt_line_inside_is_named(run: RunFolder) -> None:
    fill(run, 2)
    lines = run.path / "samples.jsonl"
    lines.write_text("garbage\n" + lines.read_text())
    with pytest.raises(DataError, match=r"samples.jsonl:1: not a sample"):
        run.samples()


def test_a_sample_without_its_file_does_not_count(run: RunFolder) -> None:
    fill(run, 3)
    run.image_files()[1].unlink()
    assert [sample.index for sample in run.samples()] == [0, 2]
    assert not run.is_sampled()


def test_complete_recounts_and_counts_failures(run: RunFolder) -> None:
    fill(run, 3)
    run.add_sample(0, "phantom-test-0000", 100, np.zeros((16, 16, 3), np.uint8), "black")
    run.add_sample(1, "phantom-test-0001", 101, noise(2))  # the image of index 2 again
    run.complete()
    assert run.record.status == "complete"
    assert run.record.finished is not None
    assert run.record.failures == {"black": 1, "constant": 0, "duplicate": 1}


def test_completing_twice_changes_nothing(run: RunFolder) -> None:
    fill(run, 2)
    run.complete()
    before = (run.path / "run.json").stat().st_mtime_ns
    run.complete()
    assert (run.path / "run.json").stat().st_mtime_ns == before


def test_a_missing_image_is_not_complete(run: RunFolder) -> None:
    fill(run, 3)
    run.image_files()[2].unlink()
    with pytest.raises(VerificationError, match="found 2 images of 3"):
        run.complete()
    assert run.record.status == "started"


def test_a_run_without_conditions_is_not_complete(run: RunFolder) -> None:
    with pytest.raises(VerificationError, match="found 0 images of 0"):
        run.complete()


def test_a_changed_image_is_found(run: RunFolder) -> None:
    fill(run, 2)
    run.image_files()[1].write_bytes(run.image_files()[0].read_bytes())
    with pytest.raises(VerificationError, match=r"0001-phantom-test-0001\.png: not the image that was recorded"):
        run.complete()


def test_a_failure_is_recorded_in_one_line(run: RunFolder) -> None:
    with pytest.raises(RuntimeError), run.recording_status():
        raise RuntimeError("two\nlines")
    assert (run.record.status, run.record.error) == ("failed", "RuntimeError: two lines")


@pytest.mark.parametrize("error", [KeyboardInterrupt, Terminated])
def test_what_a_signal_ends_is_interrupted(run: RunFolder, error: type[BaseException]) -> None:
    with pytest.raises(error), run.recording_status():
        run.update(status="running")
        raise error
    assert (run.record.status, run.record.error, run.record.heartbeat) == ("interrupted", None, None)


def test_a_run_waits_for_the_next_command_when_one_is_done(run: RunFolder) -> None:
    with run.recording_status():
        run.update(status="running")
        assert run.state == "running" and run.record.heartbeat is not None
    assert (run.record.status, run.record.heartbeat) == ("started", None)


def test_progress_renews_the_heartbeat_now_and_then(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter(f"second {number}" for number in range(9))
    monkeypatch.setattr("ccbench.runs.run_folder.now", lambda: next(times))
    run.update(status="running")
    with run.beating(SilentProgress()).step("a long step", 3) as step:
        step.advance()
        assert RunFolder.read(run.path).record.heartbeat == "second 0"
        monkeypatch.setattr("ccbench.runs.run_folder.BEAT_EVERY", -1)
        step.found(1)
        step.advance()
        living = RunFolder.read(run.path).record
    assert living.heartbeat == "second 1" and living.doing is not None
    assert (living.doing.step, living.doing.done, living.doing.total) == ("a long step", 3, 3)
    run.update(status="started")
    assert RunFolder.read(run.path).record.doing is None and "doing" not in (run.path / "run.json").read_text()


def test_a_run_whose_process_was_killed_is_interrupted(run: RunFolder, config: RunConfig) -> None:
    """The system lets go of the lock of a killed process; nothing else tells one from a process that works."""
    run.update(status="running")
    reader = RunFolder.read(run.path)
    assert reader.state == "running"
    run.close()
    assert (reader.record.status, reader.state) == ("running", "interrupted")
    with RunFolder.open(run.path, config) as again:
        assert again.record.status == "interrupted"


def test_what_killed_writers_have_left_is_removed(run: RunFolder, config: RunConfig) -> None:
    run.close()
    (run.path / "checkpoint" / ".0123456789ab.tmp").mkdir(parents=True)
    (run.path / "checkpoint" / ".0123456789ab.tmp" / "half").touch()
    (run.path / ".aaaaaaaaaaaa.tmp").touch()
    (run.path / "checkpoint" / ".keep.tmp").touch()  # of the user
    RunFolder.open(run.path, config).close()
    found = sorted(path.name for path in run.path.rglob("*") if path.name.endswith(".tmp"))
    assert found == [".keep.tmp"]


def test_an_unreadable_record_is_a_data_error(run: RunFolder) -> None:
    record = run.path / "run.json"
    content = json.loads(record.read_text())
    record.write_text(json.dumps({**content, "schema_version": 2}))
    with pytest.raises(DataError, match="schema_version"):
        RunFolder.read(run.path)
    record.write_text("{")
    with pytest.raises(DataError, match="cannot be read as JSON"):
        RunFolder.read(run.path)


def test_the_scorecard_comes_back_until_an_image_changes(run: RunFolder) -> None:
    fill(run, 2)
    assert run.scorecard() is None
    score = Score(metric="fd_lite0", signature="s", value=1.25, n=2, n_real=3)
    table = per_sample_table(["a", "b"], {"clip_score": [1.0, 2.0], "clip_image": []})
    notes = Notes(prompts_truncated_share=0.5, paths={"lite0": "eager cpu"})
    card = Scorecard(scores=[score], controls={"real-split": [score]}, failures={"black": 0}, notes=notes)
    run.write_scorecard(ScoredImages(card, table))
    assert run.scorecard() == card
    pd.testing.assert_frame_equal(run.per_sample(), table)
    run.add_sample(1, "phantom-test-0001", 101, noise(9))
    assert run.scorecard() is None


def test_a_missing_table_is_an_error(run: RunFolder) -> None:
    with pytest.raises(VerificationError, match=r"per_sample\.parquet: not the table that was written"):
        run.per_sample()
    run.write_scorecard(ScoredImages(Scorecard(scores=[], controls={}, failures={}), per_sample_table([], {})))
    (run.path / "scores" / "per_sample.parquet").unlink()
    with pytest.raises(DataError, match=r"per_sample\.parquet: is missing; .* run: ccbench score"):
        run.per_sample()


def test_the_checkpoint_hash_sees_names_and_bytes(run: RunFolder) -> None:
    assert run.checkpoint_sha256() is None
    (run.checkpoint / "sub").mkdir(parents=True)
    seen = set()
    for name, data in (("a", b"1"), ("a", b"2"), ("sub/a", b"2")):
        (run.checkpoint / f"{name}.safetensors").write_bytes(data)
        seen.add(run.checkpoint_sha256())
    (run.checkpoint / "log.csv").write_text("not weights")
    seen.add(run.checkpoint_sha256())
    assert len(seen) == 3


def test_a_number_that_no_record_holds_is_a_usage_error(tmp_path: Path, config: RunConfig) -> None:
    with pytest.raises(UsageError, match=r"configuration: .*seed: found 1000.*, wanted a finite number below 1e\+18"):
        RunFolder.open(tmp_path / "run", config.model_copy(update={"seed": 10**23}))
    with pytest.raises(UsageError, match=r"training.learning_rate: found 1e\+30, wanted a finite number"):
        training = config.training.model_copy(update={"learning_rate": 1e30})
        RunFolder.open(tmp_path / "run", config.model_copy(update={"training": training}))


def test_what_killed_writers_left_is_removed_when_a_run_is_opened(tmp_path: Path, config: RunConfig) -> None:
    """Ours, and that of safetensors, which writes beside its file under a name of its own."""
    with RunFolder.open(tmp_path / "run", config) as run:
        run.checkpoint.mkdir()
        for name in (".0123456789ab.tmp", ".tmp9gN9Wg", ".tmp_notes", "kept.tmp"):
            (run.checkpoint / name).write_bytes(b"half")
    with RunFolder.open(tmp_path / "run", config) as run:
        assert {path.name for path in run.checkpoint.iterdir()} == {".tmp_notes", "kept.tmp"}
