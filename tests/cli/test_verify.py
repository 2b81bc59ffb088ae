"""`ccbench verify`: a run as it was, one byte of it flipped, and scores that moved a little or much."""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from board_runs import add_unverified, make_card, make_run, with_scores
from calling import Call
from ccbench.pipeline.run_scorer import RunScorer
from ccbench.protocols.protocol import PROTOCOLS, Protocol
from ccbench.runs import RunFolder
from ccbench.runs.scorecard import NearPair, Notes, ScoredImages, SourceScores
from ccbench.types import Interval, Score


@pytest.fixture
def run(small_protocol: Protocol, fake_plugin: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setitem(PROTOCOLS, "small", small_protocol.model_copy(update={"backbone": "sd-mini"}))
    again(monkeypatch, full_card(52.0, 25.0))
    return make_run(tmp_path / "made", "small", full_card(52.0, 25.0))


NOTES = Notes(
    prompts_truncated_share=0.125,
    memorisation="publish",
    paths={"lite0": "fused cpu, feature error 1e-05"},
    judge_weights="1ef66590",
    judge_dice_validation=0.889,
)


def full_card(
    fd: float,
    clip: float,
    p: float = 0.031,
    apart: float = 44.0,
    near: float = 0.125,
    same: float = 1e-7,
    recall: float = 0.4,
    precision: float = 1 / 3,
    missing: tuple[float, ...] = (0.0, 0.0, 1.0),
    notes: Notes = NOTES,
    memorised: float = 0.25,
) -> ScoredImages:
    """A scorecard with a p-value, shares, a data set scored apart, a copy and a pair near to a training image."""
    card, table = make_card(fd, clip)
    more = [
        Score("kid_lite0", "kid_lite0|enc:lite0", 0.25, 3, 5, p=p),
        Score("recall_lite0", "recall_lite0|enc:lite0", 0.4, 3, 5, interval=Interval(0.2, recall, 0.95, "bootstrap")),
        Score("precision_lite0", "precision_lite0|enc:lite0", precision, 3, 5),
        Score("memorised_near", "memorised_near|enc:mini-clip", memorised, 3, 5),
    ]
    held_apart = SourceScores(scores=[Score("fd_lite0", "fd_lite0|apart", apart, 3, 5)], controls={})
    pairs = [(0, 2, same), (1, 4, near)]
    changed = {
        "scores": [*card.scores, *more],
        "by_source": {"kvasir": held_apart},
        "near_pairs": [
            NearPair(index=i, condition_id=f"c{i}", training_index=k, training_id=f"t{k}", distance=distance)
            for i, k, distance in pairs
        ],
        "notes": notes,
    }
    return ScoredImages(card.model_copy(update=changed), table.assign(polyp_missing=missing))


def again(monkeypatch: pytest.MonkeyPatch, scored: ScoredImages) -> None:
    """Let scoring the run again give this."""
    monkeypatch.setattr(RunScorer, "score", lambda self, run: scored)


def states(done: object) -> dict[str, str]:
    return {check["what"]: check["state"] for check in done.json["checks"]}  # type: ignore[attr-defined]


def test_a_run_that_is_as_it_was_matches(call: Call, run: Path, tmp_path: Path) -> None:
    add_unverified(run, tmp_path / "boards")
    done = call("verify", run, "--boards", tmp_path / "boards", "--json")
    assert done.code == 0 and done.json["state"] == "match" and set(states(done).values()) == {"match", "not checked"}
    assert {
        "configuration",
        "run.json",
        "checkpoint",
        "images (3)",
        "board's record",
        "board's scores",
        "fd_lite0",
    } <= (states(done).keys())
    assert {"control real-split: fd_lite0", "per image: clip_score", "clip_image"} <= states(done).keys()
    shown = call("verify", run)
    assert shown.code == 0 and shown.out.rstrip().endswith(": match")


def flip(path: Path, at: Callable[[bytes], int]) -> None:
    """Flip the lowest bit of one byte."""
    data = bytearray(path.read_bytes())
    data[at(bytes(data))] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("file", "at", "message"),
    [
        ("images/0001-c1.png", lambda data: len(data) // 2, r"images: 1 are not as recorded, the first images/0001-c1"),
        ("run.json", lambda data: data.index(b'"tint": 0.5') + 10, r"configuration: found [0-9a-f]{16}, wanted"),
        ("run.json", lambda data: data.index(b'"train_seconds": 61') + 17, r"run.json: found"),
        ("run.json", lambda data: 0, r"records: .*run.json"),
        ("samples.jsonl", lambda data: data.index(b"sha256") + 12, r"images: 1 are not as recorded"),
        ("samples.jsonl", lambda data: 0, r"records: .*samples.jsonl:1: not a sample"),
        ("scores/scorecard.json", lambda data: data.index(b'"value": 52.0') + 9, r"fd_lite0: found 52.0, wanted [^5]"),
        ("scores/scorecard.json", lambda data: data.index(b"fd_lite0|enc") + 12, r"fd_lite0: found fd_lite0\|enc"),
        (
            "scores/scorecard.json",
            lambda data: data.index(b'"value": 44.0') + 9,
            r"kvasir: fd_lite0: found 44.0, wanted",
        ),
        (
            "scores/scorecard.json",
            lambda data: data.index(b'"p": 0.031') + 7,
            r"kid_lite0: p found 0.031, wanted 0.131",
        ),
        (
            "scores/scorecard.json",
            lambda data: data.index(b'"low": 51.0') + 7,
            r"fd_lite0: interval's low end found 51.0, wanted 41.0",
        ),
        ("scores/scorecard.json", lambda data: data.index(b"jackknife"), r"fd_lite0: found .* 0.95 jackknife"),
        (
            "scores/scorecard.json",
            lambda data: data.index(b'"distance": 0.125') + 14,
            r"nearest training images: found",
        ),
        ("scores/scorecard.json", lambda data: data.index(b"kvasir"), r"groups of scores: found .*kvasir"),
        ("scores/scorecard.json", lambda data: 0, r"records: .*scorecard.json"),
        ("scores/per_sample.parquet", lambda data: 2, r"scores/per_sample.parquet: found"),
    ],
)
def test_one_flipped_bit_is_drift(file: str, at: Callable[[bytes], int], message: str, call: Call, run: Path) -> None:
    flip(run / file, at)
    done = call("verify", run)
    assert done.code == 5 and re.search(message, done.err), done.err


def test_a_changed_checkpoint_or_board_is_drift(call: Call, run: Path, tmp_path: Path) -> None:
    result = add_unverified(run, tmp_path / "boards")
    flip(result, lambda data: data.index(b'"train_seconds": 61') + 17)
    assert "board's record: found another, wanted the run's" in call("verify", run, "--boards", tmp_path / "boards").err
    (run / "checkpoint").mkdir()
    (run / "checkpoint" / "weights.safetensors").write_bytes(b"other weights")
    assert "checkpoint: found" in call("verify", run).err


def test_a_board_with_another_run_of_the_configuration_is_not_compared(call: Call, run: Path, tmp_path: Path) -> None:
    result = add_unverified(run, tmp_path / "boards")
    text = result.read_text()
    started = RunFolder.read(run).record.started
    result.write_text(text.replace(started, "2020-01-01T00:00:00+00:00").replace('"value": 52.0', '"value": 42.0'))
    done = call("verify", run, "--boards", tmp_path / "boards")
    assert done.code == 0 and "of another run of this configuration, started 2020-01-01" in done.err
    assert "board" not in done.out


@pytest.mark.parametrize(
    ("moved", "state"),
    [
        ({}, "match"),
        ({"fd": 52.04, "clip": 25.01}, "within tolerance"),
        ({"fd": 52.2}, "drift"),
        ({"clip": 25.1}, "drift"),
        ({"p": 0.04}, "within tolerance"),
        ({"p": 0.05}, "drift"),
        ({"apart": 44.04}, "within tolerance"),
        ({"apart": 44.1}, "drift"),
        ({"near": 0.1251}, "within tolerance"),
        ({"near": 0.126}, "drift"),
        ({"same": 5e-6}, "within tolerance"),
        ({"same": 5e-5}, "drift"),
        ({"recall": 0.6}, "within tolerance"),  # one real image of five
        ({"recall": 0.8}, "drift"),
        ({"precision": 2 / 3}, "within tolerance"),  # one image of three
        ({"precision": 1.0}, "drift"),
        ({"missing": (0.0, 0.0, 0.0)}, "within tolerance"),
        ({"missing": (1.0, 1.0, 1.0)}, "drift"),
    ],
)
def test_scores_computed_again(
    moved: dict[str, Any], state: str, call: Call, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tolerance of 0.001 of the value and 0.05 of its standard error: 0.078 of 52 with an interval of 51 to 53.

    What counts images may also differ by one image, and the distance of equal images by its rounding.
    """
    again(monkeypatch, full_card(**{"fd": 52.0, "clip": 25.0, **moved}))
    done = call("verify", run, "--json")
    assert (done.code, done.json["state"]) == (5 if state == "drift" else 0, state)


def noted(**changes: Any) -> Notes:
    return NOTES.model_copy(update=changes)


@pytest.mark.parametrize(
    ("moved", "state"),
    [
        ({"notes": noted(paths={"lite0": "eager cuda, feature error 0e+00"})}, "match"),
        ({"notes": noted(paths={})}, "match"),
        ({"notes": noted(prompts_truncated_share=0.25)}, "drift"),
        ({"notes": noted(memorisation="look")}, "drift"),
        ({"notes": noted(memorisation="look"), "memorised": 0.25 + 1 / 3}, "within tolerance"),  # one image of three
        ({"notes": noted(memorisation="look"), "memorised": 1.0}, "drift"),
        ({"notes": noted(judge_weights="3a0c771f", judge_dice_validation=0.8895)}, "within tolerance"),
        ({"notes": noted(judge_weights="3a0c771f", judge_dice_validation=0.8)}, "drift"),
        ({"notes": noted(judge_dice_validation=0.8895)}, "drift"),  # one segmenter has one Dice
        ({"notes": noted(judge_weights=None, judge_dice_validation=None)}, "drift"),
    ],
)
def test_each_note_has_its_rule(
    moved: dict[str, Any], state: str, call: Call, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where features were computed is no score: another device or path is a match."""
    again(monkeypatch, full_card(**{"fd": 52.0, "clip": 25.0, **moved}))
    assert call("verify", run, "--json").json["state"] == state


def test_the_record_suffices_without_the_method(call: Call, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ccbench.plugins.registry.find_offers", lambda group: {})
    done = call("verify", run, "--json")
    assert done.code == 0 and done.json["state"] == "match"
    assert states(done)["configuration"] == "not checked" and states(done)["run.json"] == "match"
    flip(run / "run.json", lambda data: data.index(b'"tint": 0.5') + 10)
    assert call("verify", run).code == 5


@pytest.mark.parametrize("kind", ["jackknife-normal", "cluster-bootstrap-percentile-2000-balls-held"])
def test_intervals_of_an_earlier_rule_are_not_compared(
    kind: str, call: Call, run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The same value with the interval of another rule is the score on record; another value still is drift."""
    earlier = Score("kid_lite0", "kid_lite0|enc:lite0", 0.25, 3, 5, interval=Interval(0.2, 0.3, 0.95, kind), p=0.5)
    refused = dataclasses.replace(earlier, interval=None, no_interval="3 clusters: too few for an interval")
    held = with_scores(full_card(52.0, 25.0), [earlier])
    old = make_run(tmp_path / "old", "small", held)
    for found, state in (
        (refused, "match"),
        (dataclasses.replace(refused, value=0.5), "drift"),
        (dataclasses.replace(refused, p=None), "drift"),
    ):
        again(monkeypatch, with_scores(held, [found]))
        assert states(call("verify", old, "--json"))["kid_lite0"] == state


def test_what_cannot_be_verified(call: Call, run: Path, tmp_path: Path) -> None:
    assert call("verify", tmp_path / "none").code == 2
    (run / "scores" / "scorecard.json").unlink()
    done = call("verify", run)
    assert done.code == 2 and "the run has no scores of its present images" in done.err
