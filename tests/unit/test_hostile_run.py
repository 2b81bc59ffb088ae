"""A run folder from a stranger: nothing outside is read, nothing crashes, and each attack ends in one line."""

import hashlib
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from board_runs import make_card, make_run
from ccbench.base.images import write_png
from ccbench.comparison import make_entry
from ccbench.errors import CcbenchError, DataError, UsageError, VerificationError
from ccbench.pipeline.session import Session
from ccbench.pipeline.verification import verify_run
from ccbench.protocols.config import resolve_config
from ccbench.protocols.protocol import Protocol
from ccbench.runs import RunFolder
from ccbench.runs.record import RunRecord, count_failures
from fake_methods import METHOD
from hostile_run import ATTACKS, SECRET, in_json, record_hashes


class Rescored(Session):
    """A session in which scoring the run again gives its card."""

    def scorer(self) -> Any:
        return SimpleNamespace(score=lambda run: make_card(52.0, 25.0))


@pytest.fixture
def run(small_protocol: Protocol, fake_plugin: str, tmp_path: Path) -> Path:
    return make_run(tmp_path / "run", "small", make_card(52.0, 25.0))


def test_the_honest_run_is_accepted(run: Path, tmp_path: Path) -> None:
    assert verify_run(run, Rescored()).state == "match"
    assert len(make_entry("fake", [RunFolder.read(run)]).runs) == 1
    (tmp_path / "by a link").symlink_to(run)
    assert verify_run(tmp_path / "by a link", Rescored()).state == "match"


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_one_line(attack: str, run: Path, tmp_path: Path) -> None:
    ATTACKS[attack](run)
    told, codes = list[str](), (2, 4, 5) if "is cut" in attack else (4, 5)  # without samples it is not scored
    try:
        found = verify_run(run, Rescored())
        assert found.state == "drift", found
        told += [check.detail for check in found.checks]
    except CcbenchError as error:
        assert error.exit_code in codes
        told.append(str(error))
    with pytest.raises(CcbenchError) as caught:  # what compare and report read
        make_entry("fake", [RunFolder.read(run)])
    assert caught.value.exit_code in codes
    told.append(str(caught.value))
    digest = hashlib.sha256(SECRET).hexdigest()
    assert all(digest[:8] not in text and "\x1b" not in text and len(text) < 1500 for text in told), told
    assert not list(tmp_path.rglob("landed*"))


@pytest.mark.parametrize("place", ["checkpoint", "checkpoint/part", "checkpoint/model.safetensors"])
def test_a_checkpoint_is_plain_files(place: str, run: Path, tmp_path: Path, small_protocol: Protocol) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "model.safetensors").write_bytes(SECRET)
    if place == "checkpoint":
        (run / "checkpoint").symlink_to(outside)
    else:
        (run / "checkpoint").mkdir()
        (run / place).symlink_to(outside / "model.safetensors" if place.endswith("s") else outside)
    with pytest.raises(DataError, match="is a link"):
        RunFolder.read(run).checkpoint_sha256()
    with (
        RunFolder.open(tmp_path / "other", resolve_config(METHOD, small_protocol, seed=1)) as other,
        pytest.raises(DataError, match="is a link"),
    ):
        other.copy_checkpoint(RunFolder.read(run))
    assert not list((tmp_path / "other").rglob("*.safetensors"))


def test_a_picture_that_is_a_link_is_not_shown(run: Path, tmp_path: Path) -> None:
    held = RunFolder.read(run)
    assert held.picture(held.gallery) is None
    write_png(tmp_path / "private.png", np.zeros((8, 8, 3), dtype=np.uint8))
    held.gallery.symlink_to(tmp_path / "private.png")
    with pytest.raises(DataError, match=r"gallery.png: is a link"):
        held.picture(held.gallery)


@pytest.mark.parametrize("name", ["images", "checkpoint", "samples.jsonl"])
def test_a_run_to_go_on_with_writes_nowhere_else(name: str, run: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    if (run / name).exists():
        (run / name).rename(tmp_path / "gone")
    (run / name).symlink_to(outside)
    with pytest.raises(DataError, match=f"{name}: is a link"):
        RunFolder.open(run)
    assert not list(outside.iterdir())


def test_a_pipe_does_not_hang(run: Path) -> None:
    (run / "samples.jsonl").unlink()
    os.mkfifo(run / "samples.jsonl")
    with pytest.raises(DataError, match="no plain file"):
        RunFolder.read(run)


def test_a_table_is_read_with_its_recorded_hash_only(run: Path) -> None:
    file = run / "scores/per_sample.parquet"
    table = RunFolder.read(run).per_sample()
    table.assign(clip_score=99.0).to_parquet(file, index=False)
    with pytest.raises(VerificationError, match=r"per_sample.parquet: not the table .* ccbench score"):
        make_entry("fake", [RunFolder.read(run)])


def test_a_protocol_of_ones_own_is_not_used(run: Path) -> None:
    """Nothing that it names, such as a backbone on a hub, is opened."""

    def edit(record: dict[str, object]) -> None:
        protocol = record["config"]["protocol"]  # type: ignore[index]
        protocol["backbone"] = "somebody/else"
        record["protocol_hash"] = Protocol.model_validate(protocol).hash

    in_json("run.json", edit)(run)
    with pytest.raises(UsageError, match=r"made under small .* this version of ccbench has small"):
        verify_run(run, Rescored())
    in_json("run.json", lambda record: record.update(protocol_hash="0" * 16))(run)
    assert "protocol" in {check.what for check in verify_run(run, Rescored()).checks if check.state == "drift"}


@pytest.mark.parametrize(
    ("name", "value"), [("control", True), ("distribution", "outside"), ("weights_sha256", "a" * 64)]
)
def test_what_a_record_says_of_its_method_is_checked(name: str, value: object, run: Path) -> None:
    in_json("run.json", lambda record: record["method"].update({name: value}))(run)
    assert verify_run(run, Rescored()).state == "drift"


def test_images_under_each_others_conditions_are_drift(run: Path) -> None:
    lines = [json.loads(line) for line in (run / "samples.jsonl").read_text().splitlines()]
    lines[0]["condition_id"], lines[1]["condition_id"] = lines[1]["condition_id"], lines[0]["condition_id"]
    (run / "samples.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    record_hashes(run)
    found = verify_run(run, Rescored())
    assert [check.what for check in found.checks if check.state == "drift"] == ["conditions"]


def test_failures_are_the_scorecards(run: Path) -> None:
    """Whatever a record states, in either direction; what no scorecard counts is the record's."""
    record = RunFolder.read(run).record
    assert record.failures == {"black": 0, "constant": 0, "duplicate": 0}
    scored = {"unreadable": 0, "constant": 2, "duplicate": 1}
    for stated in (record, record.model_copy(update={"failures": {"black": 0, "constant": 9, "duplicate": 0}})):
        assert count_failures(stated, scored) == {"unreadable": 0, "constant": 2, "duplicate": 1, "black": 0}
    assert count_failures(record, {}) == record.failures  # not scored yet
    method = record.method.model_copy(update={"control": True})  # type: ignore[union-attr]
    control = record.model_copy(update={"method": method, "failures": {"black": 3}})
    assert isinstance(control, RunRecord) and count_failures(control, scored) == {
        "unreadable": 0,
        "constant": 2,
        "black": 3,
    }
