"""`ccbench leaderboard`: show, check and export."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

import ccbench.boards.copies
import ccbench.boards.model_index
from board_runs import N, make_card, make_run
from calling import Call
from ccbench.boards.copies import SIDE, RealThumbnails
from ccbench.boards.rota import run_due
from ccbench.pipeline.run_scorer import RunScorer
from ccbench.protocols.protocol import PROTOCOLS, Protocol


@pytest.fixture
def board(
    small_protocol: Protocol, fake_plugin: str, monkeypatch: pytest.MonkeyPatch, call: Call, scored_alike: None
) -> Path:
    """A board of two seeds."""
    monkeypatch.setitem(PROTOCOLS, "small", small_protocol.model_copy(update={"backbone": "sd-mini"}))
    noise = np.random.default_rng(9).integers(0, 256, (N, SIDE, SIDE, 3), dtype=np.uint8)
    monkeypatch.setattr(ccbench.boards.copies, "real_thumbnails", lambda *_: RealThumbnails(noise, noise))
    for seed in (0, 1):
        run = make_run(Path(f"run{seed}"), "small", make_card(50.0 + seed, 25.0), seed=seed)
        assert call("leaderboard", "add", run).code == 0
    return Path("leaderboards/small")


def test_show_prints_the_rows(call: Call, board: Path) -> None:
    shown = call("leaderboard", "show", "small")
    assert shown.code == 0 and "50.50 ± 0.71" in shown.out and "real-split" in shown.out and "0, 1" in shown.out
    lines = call("leaderboard", "show", "small", "--json").json
    assert {line["metric"]: line["mean"] for line in lines if line["row"] == "fake"} == {
        "fd_lite0": 50.5,
        "clip_score": 25.0,
        "clip_image": None,
    }
    missing = call("leaderboard", "show", "large")
    assert missing.code == 2 and "no board of 'large'; there are small" in missing.err


def test_check_finds_drift_and_writes_nothing(call: Call, board: Path) -> None:
    assert call("leaderboard", "check").code == 0
    table = board / "table.tex"
    table.write_text(table.read_text().replace("50.50", "40.50"))
    drift = call("leaderboard", "check")
    assert drift.code == 5 and "table.tex:5" in drift.err and "40.50" in table.read_text()


def test_export_is_a_block_that_hugging_face_reads(call: Call, board: Path) -> None:
    done = call("leaderboard", "export", "small", "--row", "fake", "--format", "hf")
    assert done.code == 0 and done.out.startswith("---\n") and done.out.endswith("\n---\n")
    block = yaml.safe_load(done.out.strip("-\n"))
    (model,) = block["model-index"]
    (result,) = model["results"]
    assert model["name"] == "fake" and result["dataset"]["type"] == "ccbench/small"
    assert result["dataset"]["revision"] == PROTOCOLS["small"].hash and result["dataset"]["split"] == "test"
    found = {metric["type"]: metric for metric in result["metrics"]}
    assert found.keys() == {"fd_lite0", "clip_score"} and found["fd_lite0"]["value"] == 50.5
    assert found["fd_lite0"]["args"]["seeds"] == "0 1" and found["fd_lite0"]["args"]["n"] == 3
    assert found["fd_lite0"]["args"]["signature"] == "fd_lite0|enc:lite0"


def test_whatever_text_a_record_holds_the_export_is_one_block(
    call: Call, board: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "x: {y}\n---\n# <img src=//x.example/b.png> \u2028 'q' \"r\" [a](b) \x85&c *d"
    monkeypatch.setattr(ccbench.boards.model_index, "metric_info", lambda metric: SimpleNamespace(title=text))
    lines = call("leaderboard", "export", "small", "--row", "fake").out.splitlines()
    assert [number for number, line in enumerate(lines) if line == "---"] == [0, len(lines) - 1]
    (model,) = yaml.safe_load("\n".join(lines[1:-1]))["model-index"]
    assert {metric["name"] for metric in model["results"][0]["metrics"]} == {text}


def test_export_refuses_a_control_and_another_format(call: Call, board: Path) -> None:
    export = ("leaderboard", "export", "small", "--row")
    assert "--row: found 'real-split', wanted one of fake" in call(*export, "real-split").err
    assert "--format: found 'xml', wanted hf" in call(*export, "fake", "--format", "xml").err


def test_add_scores_again_and_takes_no_edited_number(call: Call, board: Path) -> None:
    run = make_run(Path("run2"), "small", make_card(52.0, 25.0), seed=2)
    card = run / "scores" / "scorecard.json"
    honest = card.read_text()
    card.write_text(honest.replace('"value": 52.0', '"value": 42.0'))
    page = (board / "README.md").read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunScorer, "score", lambda self, run: make_card(52.0, 25.0))
        done = call("leaderboard", "add", run)
        assert done.code == 5 and "run2: fd_lite0: found 52.0, wanted 42.0 (tolerance" in done.err
        assert (board / "README.md").read_bytes() == page and len(list(board.glob("results/fake/*.json"))) == 2
        card.write_text(honest)
        assert call("leaderboard", "add", run).code == 0 and len(list(board.glob("results/fake/*.json"))) == 3


def test_of_several_runs_those_before_a_refused_one_are_on_the_board(call: Call, board: Path) -> None:
    good = make_run(Path("run2"), "small", make_card(52.0, 25.0), seed=2)
    bad = make_run(Path("run3"), "small", make_card(53.0, 25.0), seed=3)
    done = call("leaderboard", "add", good, bad)
    assert done.code == 2 and "seed 3" in done.err and "added leaderboards/small/results/fake/fake-seed2-" in done.out
    assert call("leaderboard", "check").code == 0 and "51.00 ± 1.00" in (board / "README.md").read_text()


def test_each_published_run_has_its_day(call: Call, board: Path, tmp_path: Path) -> None:
    """Runs that are on no board have none, and without the folder of a run there is nothing to do."""
    runs = tmp_path / "runs"
    (runs / "small").mkdir(parents=True)
    for seed in (0, 1):
        Path(f"run{seed}").rename(runs / "small" / f"run{seed}")
    make_run(runs / "small" / "run7", "small", make_card(57.0, 25.0), seed=7)
    days = [run_due(Path("leaderboards"), runs, day, False) for day in range(4)]
    assert days == [runs / "small" / f"run{number}" for number in (0, 1, 0, 1)]
    assert run_due(Path("leaderboards"), tmp_path, 0, False) is None
    assert call("leaderboard", "check", "--runs", tmp_path).code == 0
    assert call("leaderboard", "check", "--runs", runs).code == 0
    for seed in (0, 1):
        image = next((runs / "small" / f"run{seed}" / "images").iterdir())
        image.write_bytes(image.read_bytes() + b"x")
    drift = call("leaderboard", "check", "--runs", runs)
    assert drift.code == 5 and "drift" in drift.err
