"""What all tables share: seeds by hand, places by hand, one record of a test; and board and report mark alike."""

import re
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

import ccbench.data.phantom.phantom_source as phantom_source
from board_runs import add_unverified, make_run
from ccbench.boards.rendered_boards import render_boards
from ccbench.comparison import PairedTest
from ccbench.data.split import open_split
from ccbench.metrics.statistics.paired import Difference
from ccbench.pipeline.training import describe_split
from ccbench.protocols.protocol import PROTOCOLS, Protocol
from ccbench.report import collect_report, render_report
from ccbench.runs import RunFolder
from ccbench.runs.scorecard import Scorecard, ScoredImages, per_sample_table
from ccbench.tables.format import format_mean
from ccbench.tables.places import places
from ccbench.tables.seeds import summarise
from ccbench.types import Interval, Score

N = 3


def test_seeds_by_hand() -> None:
    found = summarise(
        [1.0, 2, 3], [Interval(v - 1.96 * e, v + 1.96 * e, 0.95, "t") for v, e in ((1, 3), (2, 4), (3, 5))]
    )
    assert found is not None and (found.mean, found.spread, found.n) == (2, 1, 3)
    assert found.within == pytest.approx(np.sqrt(50 / 3), rel=1e-4)  # of 3, 4 and 5
    assert (found.low, found.high) == pytest.approx((2 - 1.96 * 4, 2 + 1.96 * 4))
    one = summarise([1.0, 2.0], [Interval(0, 2, 0.95, "t"), None])
    assert one is not None and (one.within, one.low, one.high) == (None, None, None)
    assert summarise([]) is None


def test_one_value_and_equal_values_have_no_spread() -> None:
    for values in ([25.0], [25.0] * 3):
        found = summarise(values)
        assert found is not None and found.spread is None
        assert format_mean("clip_score", found.mean, found.spread) == "25.00"
    assert format_mean("clip_score", 25.0, 0.5) == "25.00 ± 0.50" and format_mean("clip_score", None, None) == "-"
    assert format_mean("clip_score", 25.0, 0.0) == "25.00"  # as tables stored it before


@pytest.mark.parametrize(("metric", "means", "wanted"), [
    ("fd_lite0", [3.0, 1.0, 2.0], [0, 1, 2]),
    ("clip_score", [3.0, 1.0, 2.0], [1, 0, 2]),
    ("seam_colour", [-3.0, 1.0, -2.0], [0, 1, 2]),
    ("fd_lite0", [1.0, 1.004, 2.0], [1, 1, 0]),  # equal in print
    ("fd_lite0", [1.0, 2.0, 2.0], [1, 2, 2]),
    ("fd_lite0", [1.0, 2.0], [1, 0]),
    ("fd_lite0", [1.0, None], [0, 0]),
    ("fd_lite0", [1.0, None, 2.0, 3.0], [1, 0, 2, 0]),
    ("memorised_near", [1.0, 2.0, 3.0], [0, 0, 0]),
])  # fmt: skip
def test_places_by_hand(metric: str, means: list[float | None], wanted: list[int]) -> None:
    assert places(metric, means, [True] * len(means)) == wanted


def test_only_complete_rows_have_a_place() -> None:
    assert places("fd_lite0", [1.0, 2.0, 3.0, 4.0], [False, True, True, True]) == [0, 1, 2, 0]


def test_a_test_has_its_numbers_or_the_reason_for_none() -> None:
    found = Difference(-2.0, 1.0, Interval(-3, -1, 0.95, "t"), 0.01, -0.5, 9, 8)
    for metric, better in (("fd_lite0", "a"), ("clip_score", "b")):
        test = PairedTest.of(found, 0.05, metric=metric, first="a", second="b")
        assert (test.verdict, test.outcome) == (better, "better" if better == "a" else "worse")
        assert test.shown == ("-2.00", "-3.00 to -1.00", "0.0100", "0.0500", "-0.50", "9 (8)")
    assert PairedTest.of(found, 0.051, metric="fd_lite0", first="a", second="b").outcome == "not significant"
    named = {"metric": "fd_lite0", "first": "a", "second": "b"}
    assert PairedTest(**named, reason="no such score").outcome is None
    for wrong in ({}, {"difference": 1.0}, {"difference": 1.0, "p": 0.1, "p_holm": 0.1, "n": 3, "reason": "x"},
                  {"reason": "x", "verdict": "a"}):  # fmt: skip
        with pytest.raises(ValidationError, match="the reason for none"):
            PairedTest.model_validate(named | wrong)


@pytest.fixture
def runs(small_protocol: Protocol, fake_plugin: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """Four methods of three seeds each but the best, of two; the metrics tie, have no place, or follow the rule."""
    for split, count in (("train", 8), ("validation", 8), ("test", N)):
        monkeypatch.setitem(phantom_source.COUNTS, split, count)
    protocol = small_protocol.model_copy(update={"backbone": "sd-mini"})  # boards take no path of a machine
    monkeypatch.setitem(PROTOCOLS, "small", protocol)
    conditions = describe_split(open_split(protocol, "test", None))
    values = {  # tint -> fd_lite0, clip_score, mask_dice, memorised_near
        "0.5": (50.0, 30.0, 0.7, 0.1),
        "0.1": (60.0, 30.004, 0.6, 0.2),
        "0.9": (70.0, 20.0, 0.5, 0.3),
        "0.7": (1.0, 99.0, 0.9, 0.0),
    }
    made = []
    for tint, numbers in values.items():
        for seed in range(2 if tint == "0.7" else 3):
            names = ("fd_lite0", "clip_score", "mask_dice", "memorised_near")
            scores = [
                Score(name, f"{name}|v:1", number + 0.01 * seed * (name == "mask_dice"), N)
                for name, number in zip(names, numbers, strict=True)
            ]
            card = Scorecard(
                scores=scores,
                controls={"real-split": [Score("fd_lite0", "fd_lite0|v:1", 0.5, N)]},
                failures={},
            )
            scored = ScoredImages(card, per_sample_table([f"c{i}" for i in range(N)], {"clip_score": [numbers[1]] * N}))
            path = tmp_path / f"{tint}-{seed}"
            sets = () if tint == "0.5" else (f"tint={tint}",)
            made.append(make_run(path, "small", scored, seed=seed, sets=sets, conditions=conditions))
    return made


def board_marks(page: str) -> dict[str, dict[str, tuple[str, str]]]:
    """Row -> metric -> text and mark of the tables of methods and controls on a board's page."""
    found: dict[str, dict[str, tuple[str, str]]] = {}
    scores = page.partition("## Scores")[2].partition("\n## ")[0]
    for table in re.findall(r"(?:^\|.*\n)+", scores, re.MULTILINE):
        header, _, *rows = [[cell.strip() for cell in line.strip("|\n").split(" | ")] for line in table.splitlines()]
        for row in rows:
            for head, cell in zip(header[3:], row[3:], strict=True):
                mark = "best" if cell.startswith("**") else "second" if cell.startswith("*") else ""
                name = re.sub(r".*`(.*)`.*", r"\1", row[0])
                found.setdefault(name, {})[head.partition(" ")[0]] = (cell.strip("*"), mark)
    return found


def report_marks(page: str) -> dict[str, dict[str, tuple[str, str]]]:
    """The same of a report's table of scores, as it is in the page before any script has run."""
    table = page.partition('<table id="table">')[2].partition("</table>")[0]
    heads = re.findall(r'<button type="button" title="[^"]*">(\w+) ', table)
    found = {}
    for row in table.partition("<tbody>")[2].split("</tr>")[:-1]:
        name = re.sub(r"<[^>]*>", "", re.findall(r'<th scope="row">(.*)</th>', row)[0]).strip()
        cells = re.findall(r'<td class="number ?([\w ]*)" data-group[^>]*>([^<]*)</td>', row)
        found[name] = {head: (text, mark) for head, (mark, text) in zip(heads, cells, strict=True)}
    return found


def test_a_board_and_a_report_of_the_same_runs_mark_the_same_cells(runs: list[Path], tmp_path: Path) -> None:
    for run in runs:
        add_unverified(run, tmp_path / "boards")
    render_boards(tmp_path / "boards")
    board = board_marks((tmp_path / "boards" / "small" / "README.md").read_text(encoding="utf-8"))
    report = report_marks(render_report(collect_report([RunFolder.read(run) for run in runs], None)))
    metrics = ("fd_lite0", "clip_score", "mask_dice", "memorised_near")
    shown = {row: {metric: cells[metric] for metric in metrics} for row, cells in board.items()}
    assert {row: {metric: cells[metric] for metric in metrics} for row, cells in report.items()} == shown
    assert {row: [cells[metric] for metric in metrics] for row, cells in shown.items()} == {
        "fake": [("50.00", "best"), ("30.00", "best"), ("0.71 ± 0.01", "best"), ("0.10", "")],
        "fake (tint=0.1)": [("60.00", "second"), ("30.00", "best"), ("0.61 ± 0.01", "second"), ("0.20", "")],
        "fake (tint=0.9)": [("70.00", ""), ("20.00", ""), ("0.51 ± 0.01", ""), ("0.30", "")],
        "fake (tint=0.7)": [("1.00", ""), ("99.00", ""), ("0.91 ± 0.01", ""), ("0.00", "")],
        "real-split": [("0.50", ""), ("-", ""), ("-", ""), ("-", "")],
    }
