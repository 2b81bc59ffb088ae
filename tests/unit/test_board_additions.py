"""What a board takes and what it refuses."""

import json
from pathlib import Path

import pytest

import board_runs
from board_runs import add_unverified, make_card, make_run
from ccbench.errors import DataError, UsageError, VerificationError
from ccbench.protocols.protocol import PROTOCOLS
from ccbench.runs import RunFolder
from ccbench.runs.record import BackboneRecord


def test_a_run_takes_the_place_of_another_only_when_asked(tmp_path: Path, protocol: str) -> None:
    first, second = (make_run(tmp_path / f"run{fd}", protocol, make_card(fd, 25.0)) for fd in (50.0, 60.0))
    file = add_unverified(first, tmp_path / "boards")
    before = file.read_bytes()
    with pytest.raises(UsageError, match=r"a run of this configuration and seed that was started .* --replace"):
        add_unverified(second, tmp_path / "boards")
    assert add_unverified(first, tmp_path / "boards") == file and file.read_bytes() == before
    assert add_unverified(second, tmp_path / "boards", replace=True) == file
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert json.loads(file.read_text())["scorecard"]["scores"][0]["value"] == 60.0


def test_refuses_runs_that_do_not_compare(tmp_path: Path, protocol: str) -> None:
    boards = tmp_path / "boards"
    add_unverified(make_run(tmp_path / "first", protocol, make_card(50.0, 25.0)), boards)
    short = make_run(tmp_path / "short", protocol, make_card(50.0, 25.0), seed=1, sets=("training.max_steps=2",))
    with pytest.raises(UsageError, match=r"no board takes it.*training\.max_steps=2"):
        add_unverified(short, boards)
    other_seed = make_run(tmp_path / "seed", protocol, make_card(50.0, 25.0), seed=7)
    with pytest.raises(UsageError, match="seed 7, the board asks for seeds 0, 1, 2"):
        add_unverified(other_seed, boards)
    fewer = make_run(tmp_path / "n", protocol, make_card(50.0, 25.0, n=2), seed=1)
    with pytest.raises(DataError, match="n=2, wanted 3"):
        add_unverified(fewer, boards)
    signed = make_run(tmp_path / "sign", protocol, make_card(50.0, 25.0, signature="fd_lite0|v:2"), seed=1)
    with pytest.raises(DataError, match="signature"):
        add_unverified(signed, boards)
    changed = board_runs.CONDITIONS.model_copy(update={"manifest_sha256": "e" * 64})
    other_data = make_run(tmp_path / "data", protocol, make_card(50.0, 25.0), seed=1, conditions=changed)
    with pytest.raises(DataError, match="other test conditions"):
        add_unverified(other_data, boards)
    assert len(list((boards / "small" / "results" / "fake").iterdir())) == 1


def test_refuses_a_run_on_another_backbone(tmp_path: Path, protocol: str) -> None:
    for seed, sha256 in enumerate(["a" * 64, "a" * 64, "b" * 64]):
        path = make_run(tmp_path / f"run{seed}", protocol, make_card(20.0, 30.0), seed=seed)
        with RunFolder.open(path) as run:
            run.update(backbone=BackboneRecord(kind="file", weights_sha256=sha256))
        if seed < 2:
            add_unverified(path, tmp_path / "boards")
    with pytest.raises(DataError, match="backbone with sha256 bbbbbbbbbbbb, the board's is aaaaaaaaaaaa"):
        add_unverified(path, tmp_path / "boards")


def test_refuses_an_unfinished_an_unscored_and_a_changed_run(tmp_path: Path, protocol: str) -> None:
    run = make_run(tmp_path / "run", protocol, make_card(50.0, 25.0))
    with RunFolder.open(run) as folder:
        folder.update(status="started")
    with pytest.raises(UsageError, match="is started, not complete"):
        add_unverified(run, tmp_path / "boards")
    with RunFolder.open(run) as folder:
        folder.complete()
        folder.image_files()[0].write_bytes(b"not what was scored")
    with pytest.raises(VerificationError, match="not the image that was recorded"):
        add_unverified(run, tmp_path / "boards")
    unscored = make_run(tmp_path / "unscored", protocol, make_card(50.0, 25.0))
    (unscored / "scores" / "scorecard.json").unlink()
    with pytest.raises(UsageError, match="no scores"):
        add_unverified(unscored, tmp_path / "boards")
    assert not (tmp_path / "boards").exists()


def test_refuses_another_version_of_the_protocol(
    tmp_path: Path, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "run", protocol, make_card(50.0, 25.0))
    monkeypatch.setitem(PROTOCOLS, protocol, PROTOCOLS[protocol].model_copy(update={"version": 2}))
    with pytest.raises(UsageError, match="run it again under the present protocol"):
        add_unverified(run, tmp_path / "boards")


def test_refuses_a_record_that_names_a_path_of_the_machine(
    tmp_path: Path, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = PROTOCOLS[protocol].model_copy(update={"backbone": str(tmp_path)})
    monkeypatch.setitem(PROTOCOLS, protocol, local)
    run = make_run(tmp_path / "run", protocol, make_card(50.0, 25.0))
    with pytest.raises(DataError, match=r"record\.config\.protocol\.backbone holds a path"):
        add_unverified(run, tmp_path / "boards")
