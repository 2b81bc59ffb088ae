"""Boards: what they keep, and the tables rendered from them. Expected cells are computed by hand."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fake_methods
from board_runs import N, add_unverified, make_card, make_run, with_scores
from ccbench.base.images import read_image, write_png
from ccbench.boards.board_files import read_board
from ccbench.boards.board_page import render_page
from ccbench.boards.comparison_file import BoardComparison
from ccbench.boards.rendered_boards import render_boards
from ccbench.boards.score_table import score_table
from ccbench.comparison import PairedTest
from ccbench.errors import VerificationError
from ccbench.plugins import controls
from ccbench.plugins.registry import find_method
from ccbench.protocols.protocol import PROTOCOLS
from ccbench.runs import RunFolder
from ccbench.runs.scorecard import ScoredImages
from ccbench.tables.format import format_seconds, format_value
from ccbench.types import Score


def page(boards: Path) -> str:
    return (boards / "small" / "README.md").read_text(encoding="utf-8")


def table_rows(text: str, first: str) -> dict[str, list[str]]:
    """Rows of the table whose header starts with `first`, by their first cell."""
    block = re.search(rf"^\| {first} \|.*\n\|.*\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert block is not None, text
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in block[1].splitlines()]
    return {row[0]: row[1:] for row in rows}


def test_a_complete_run_is_filed_unrounded_and_without_a_trace_of_the_machine(tmp_path: Path, protocol: str) -> None:
    run = make_run(tmp_path / "run", protocol, make_card(71.7301234, 25.0))
    file = add_unverified(run, tmp_path / "boards")
    assert (
        file.relative_to(tmp_path / "boards").as_posix()
        == f"small/results/fake/{RunFolder.read(run).record.run_id}.json"
    )
    text = file.read_text()
    assert json.loads(text)["scorecard"]["scores"][0]["value"] == 71.7301234
    assert str(tmp_path) not in text and str(Path.home()) not in text


def test_the_page_shows_mean_and_spread_over_seeds_beside_the_floor(tmp_path: Path, protocol: str) -> None:
    for seed, (fd, clip) in enumerate([(50.0, 25.0), (52.0, 25.0), (54.0, 25.0)]):
        add_unverified(make_run(tmp_path / str(seed), protocol, make_card(fd, clip), seed=seed), tmp_path / "boards")
    render_boards(tmp_path / "boards")
    text = page(tmp_path / "boards")
    rows, controls = table_rows(text, "method"), table_rows(text, "control")
    assert list(rows) == ["fake"] and list(controls) == ["*real test images* (`real-split`)"]
    (real,), (fake,) = controls.values(), rows.values()
    assert real[:4] == ["", "3", "10.12", "31.50"]
    # mean of 50, 52, 54 and their standard deviation with n - 1; equal values have no spread
    assert fake == ["0, 1, 2", "3", "52.00 ± 2.00", "25.00", "-", "1 min 01 s", "0.12 s", "2.83 M", "812 MB"]
    header = next(line for line in page(tmp_path / "boards").splitlines() if line.startswith("| method | seeds"))
    assert "fd_lite0 ↓" in header and "clip_score ↑" in header


def test_settings_of_one_method_are_stated_where_it_has_a_row(
    tmp_path: Path, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {"fake": {"tint": 0.25, "taam": {"mode": "A"}}, "absent": {"tint": 0.75}}
    monkeypatch.setitem(PROTOCOLS, protocol, PROTOCOLS[protocol].model_copy(update={"method_settings": own}))
    add_unverified(make_run(tmp_path / "run", protocol, make_card(50.0, 25.0)), tmp_path / "boards")
    render_boards(tmp_path / "boards")
    rows = table_rows(page(tmp_path / "boards"), "frozen")
    assert rows["`fake` alone"] == ["tint 0.25, taam (mode A)"]
    assert not any("absent" in name for name in rows)


def test_every_number_leads_to_its_record(tmp_path: Path, protocol: str) -> None:
    file = add_unverified(make_run(tmp_path / "run", protocol, make_card(50.0, 25.0)), tmp_path / "boards")
    (tmp_path / "boards" / "small" / "gallery-fake.png").write_bytes(b"a picture")
    render_boards(tmp_path / "boards")
    text = page(tmp_path / "boards")
    assert f"]({file.relative_to(tmp_path / 'boards' / 'small').as_posix()})" in text
    assert json.loads(file.read_text())["sha256"][:12] in text
    assert (
        "(gallery-fake.png)" in text and "fd_lite0\\|enc:lite0" in text and "clip_image: the encoder is missing" in text
    )
    assert "[small](small/README.md)" in (tmp_path / "boards" / "README.md").read_text()


def test_best_is_bold_among_complete_rows_and_equal_prints_tie(tmp_path: Path, protocol: str) -> None:
    values = {(): (50.0, 25.0), ("tint=0.1",): (50.004, 26.0), ("tint=0.9",): (1.0, 99.0)}
    for sets, (fd, clip) in values.items():
        for seed in range(2 if sets == ("tint=0.9",) else 3):  # the third row is best and incomplete
            run = make_run(tmp_path / f"{sets}{seed}", protocol, make_card(fd, clip), seed=seed, sets=sets)
            add_unverified(run, tmp_path / "boards")
    render_boards(tmp_path / "boards")
    rows = table_rows(page(tmp_path / "boards"), "method")
    assert rows["fake"][:4] == ["0, 1, 2", "3", "**50.00**", "25.00"]
    assert rows["fake (tint=0.1)"][:4] == ["0, 1, 2", "3", "**50.00**", "**26.00**"]
    assert rows["fake (tint=0.9)"][:4] == ["2 of 3", "3", "1.00", "99.00"]


def test_the_second_is_marked_unless_two_share_the_first_place(tmp_path: Path, protocol: str) -> None:
    for tint, (fd, clip) in {"0.5": (50.0, 30.0), "0.1": (60.0, 30.0), "0.9": (70.0, 20.0)}.items():
        for seed in range(3):
            path = tmp_path / f"{tint}-{seed}"
            sets = () if tint == "0.5" else (f"tint={tint}",)
            add_unverified(make_run(path, protocol, make_card(fd, clip), seed=seed, sets=sets), tmp_path / "boards")
    render_boards(tmp_path / "boards")
    rows = table_rows(page(tmp_path / "boards"), "method")
    assert [row[2:4] for row in rows.values()] == [
        ["**50.00**", "**30.00**"],
        ["*60.00*", "**30.00**"],
        ["70.00", "20.00"],
    ]
    text = (tmp_path / "boards" / "small" / "table.tex").read_text()
    assert "fake & 0, 1, 2 & \\textbf{50.00} & \\textbf{30.00} & - \\\\" in text and "\\underline{60.00}" in text


def test_the_same_numbers_unrounded_as_csv_and_json(tmp_path: Path, protocol: str) -> None:
    """One table: mean, spread, and the mean of the seeds' own intervals, 2 wide each."""
    boards = tmp_path / "boards"
    for seed, fd in enumerate((50.0, 52.0, 54.1234567)):
        add_unverified(make_run(tmp_path / str(seed), protocol, make_card(fd, 25.0), seed=seed), boards)
    render_boards(boards)
    csv = pd.read_csv(boards / "small" / "table.csv")
    lines = json.loads((boards / "small" / "table.json").read_text())
    assert list(lines[0]) == list(csv.columns) and len(lines) == len(csv) == 6
    assert [line["mean"] for line in lines] == [None if pd.isna(mean) else pytest.approx(mean) for mean in csv["mean"]]
    line = csv[(csv["row"] == "fake") & (csv["metric"] == "fd_lite0")].iloc[0]
    assert line["mean"] == pytest.approx(52.0411522333) and line["n"] == 3 and line["seeds"] == "0 1 2"
    assert (line["low"], line["high"]) == pytest.approx((51.0411522333, 53.0411522333))
    assert csv[csv["row"] == "real-split"]["control"].all() and csv["shown"].str.contains("52.04 ± 2.06").any()
    assert "| fake | 51.04 to 53.04 | - | - |" in page(boards)
    (boards / "small" / "table.csv").write_text("changed")
    with pytest.raises(VerificationError, match=r"table.csv:1: found 'changed'"):
        render_boards(boards, check=True)


def test_numbers_in_print_stand_apart_with_what_is_not_stated(tmp_path: Path, protocol: str) -> None:
    method = find_method("controlnet")
    add_unverified(make_run(tmp_path / "run", protocol, make_card(50.0, 25.0), method=method), tmp_path / "boards")
    render_boards(tmp_path / "boards")
    text = page(tmp_path / "boards")
    (row,) = table_rows(text.partition("## Reported in print")[2], "method").values()
    assert row == ["87.32", "30.78", "87.09", "CCIS-DIFF, Table 1; n, encoder, resize and seeds are not stated"]
    assert "87.32" not in text.partition("## Reported in print")[0]
    (card,) = table_rows(text.partition("## Methods")[2], "method").values()
    assert card[1] == "Apache-2.0" and card[-1] == "none found"


def test_controls_stand_apart_without_a_best_and_without_missing_seeds(tmp_path: Path, protocol: str) -> None:
    boards = tmp_path / "boards"
    for seed in range(3):
        add_unverified(make_run(tmp_path / f"fake{seed}", protocol, make_card(50.0, 25.0), seed=seed), boards)
        add_unverified(
            make_run(tmp_path / f"other{seed}", protocol, make_card(60.0, 24.0), seed=seed, sets=("tint=1",)), boards
        )
    for number, (method, sets, seeds, fd) in enumerate(
        [
            (controls.TRAIN_COPY, (), (0,), 5.0),
            (controls.CORRUPTED_REAL, (), (0, 1), 6.0),
            (controls.CORRUPTED_REAL, ("blur=3",), (0,), 7.0),
            (controls.SHUFFLED_MASK, ("of=controlnet",), (0, 1, 2), 8.0),
        ]
    ):
        for seed in seeds:
            run = make_run(
                tmp_path / f"{number}-{seed}", protocol, make_card(fd, 99.0), seed=seed, sets=sets, method=method
            )
            write_png(RunFolder.read(run).gallery, np.zeros((9, 9, 3), dtype=np.uint8))
            add_unverified(run, boards)
    render_boards(boards)
    text = page(boards)
    assert table_rows(text, "method")["fake"][2:4] == ["**50.00**", "**25.00**"]
    apart = table_rows(text, "control")
    assert {name: cells[0] for name, cells in apart.items()} == {
        "*real test images* (`real-split`)": "",
        "*real test images, blurred and noisy* (`corrupted-real`)": "0, 1",
        "*real test images, blurred and noisy* (`corrupted-real (blur=3)`)": "0",
        "*a method given another condition's mask* (`shuffled-mask (of=controlnet)`)": "0, 1, 2",
        "*the training image of the most similar mask* (`train-copy`)": "0",
    }
    copied, shuffled = apart["*the training image of the most similar mask* (`train-copy`)"], list(apart.values())[3]
    assert copied == ["0", "3", "5.00", "99.00", "-", "-", "0.12 s", "-", "812 MB"]
    assert shuffled[-4:] == ["1 min 01 s", "0.12 s", "2.83 M", "812 MB"]
    assert not any("**" in cell for cells in apart.values() for cell in cells)
    assert "| fake, fake (tint=1) | 13 |" in (boards / "README.md").read_text()
    assert not list((boards / "small").glob("gallery-*.png"))
    assert all(f"| {method.info.name}" in text.partition("## Records")[2] for method in (controls.TRAIN_COPY,))


def test_a_record_shows_the_scorecards_failures(tmp_path: Path, protocol: str) -> None:
    """The run's own record, of sampling, has seen none."""
    card, table = make_card(50.0, 25.0)
    failing = card.model_copy(update={"failures": {"unreadable": 0, "constant": 2, "duplicate": 0, "wrong_size": 0}})
    file = add_unverified(
        make_run(tmp_path / "run", protocol, ScoredImages(failing, table)), boards := tmp_path / "boards"
    )
    assert json.loads(file.read_text())["record"]["failures"]["constant"] == 0
    render_boards(boards)
    assert "| 2 constant; clip_image: the encoder is missing |" in page(boards)


def test_a_controls_run_takes_the_place_of_the_scorecards_row(tmp_path: Path, protocol: str) -> None:
    boards = tmp_path / "boards"
    add_unverified(make_run(tmp_path / "fake", protocol, make_card(50.0, 25.0)), boards)
    held = make_card(10.126, 31.5)
    none = Score("clip_image", "clip_image|ref:none", None, N, reason="a real image compared with itself")
    paired = Score("clip_image", "clip_image|ref:partners", 80.0, N)
    for name, method, score in (("other", fake_methods.METHOD, paired), ("real", controls.REAL_SPLIT, none)):
        scored = with_scores(held, [*held.card.scores[:2], score])
        add_unverified(make_run(tmp_path / name, protocol, scored, method=method, seed=int(name == "other")), boards)
    render_boards(boards)  # a metric without a value compares with nothing, whatever its signature
    text = page(boards)
    assert table_rows(text, "control") == {
        "*real test images* (`real-split`)": ["0", "3", "10.13", "31.50", "-", "-", "0.12 s", "-", "812 MB"]
    }
    assert text.partition("## Intervals")[0].count("| *real test images* (`real-split`)") == 1
    assert "`clip_image\\|ref:partners`" in text and "clip_image\\|ref:none" not in text


def test_check_names_the_first_line_that_drifted(tmp_path: Path, protocol: str) -> None:
    boards = tmp_path / "boards"
    add_unverified(make_run(tmp_path / "run", protocol, make_card(50.0, 25.0)), boards)
    with pytest.raises(VerificationError, match=r"README\.md:1: found 'nothing'"):
        render_boards(boards, check=True)
    render_boards(boards)
    render_boards(boards, check=True)
    edited = boards / "small" / "README.md"
    edited.write_text(edited.read_text().replace("50.00", "49.00"))
    before = edited.read_bytes()
    with pytest.raises(VerificationError, match=r"README\.md:\d+: found .*ccbench leaderboard render"):
        render_boards(boards, check=True)
    assert edited.read_bytes() == before


def test_check_finds_a_board_of_an_older_protocol(
    tmp_path: Path, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_unverified(make_run(tmp_path / "run", protocol, make_card(50.0, 25.0)), tmp_path / "boards")
    monkeypatch.setitem(PROTOCOLS, protocol, PROTOCOLS[protocol].model_copy(update={"version": 2}))
    with pytest.raises(VerificationError, match="not the one in the code"):
        render_boards(tmp_path / "boards")


def test_renders_without_boards_and_without_results(tmp_path: Path, protocol: str) -> None:
    assert render_boards(tmp_path / "nothing") == []
    assert not (tmp_path / "nothing").exists()
    file = add_unverified(make_run(tmp_path / "run", protocol, make_card(50.0, 25.0)), tmp_path / "boards")
    file.unlink()
    render_boards(tmp_path / "boards")
    assert "No results yet" in page(tmp_path / "boards")
    (tmp_path / "boards" / "small" / "board.toml").unlink()
    render_boards(tmp_path / "boards")
    assert "No boards yet" in (tmp_path / "boards" / "README.md").read_text()


def test_the_first_seeds_gallery_comes_along_and_is_small(tmp_path: Path, protocol: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (300, 1600, 3), dtype=np.uint8)
    for seed in (1, 0):
        run = make_run(tmp_path / str(seed), protocol, make_card(50.0, 25.0), seed=seed)
        write_png(RunFolder.read(run).gallery, noise)
        add_unverified(run, tmp_path / "boards")
        kept = tmp_path / "boards" / "small" / "gallery-fake.png"
        assert kept.is_file() == (seed == 0)
    assert read_image(kept).shape[1] == 844
    render_boards(tmp_path / "boards")
    assert "![fake: mask, real, synthetic](gallery-fake.png)" in page(tmp_path / "boards")


def test_where_users_bring_the_data_only_the_public_gallery_comes_along(
    tmp_path: Path, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    brought = PROTOCOLS[protocol].model_copy(update={"needs_data_root": True})
    monkeypatch.setitem(PROTOCOLS, protocol, brought)
    run = make_run(tmp_path / "run", protocol, make_card(50.0, 25.0))
    noise = np.random.default_rng(0).integers(0, 255, (300, 1600, 3), dtype=np.uint8)
    write_png(RunFolder.read(run).gallery, noise)
    add_unverified(run, tmp_path / "boards")
    kept = tmp_path / "boards" / "small" / "gallery-fake.png"
    assert not kept.exists()
    write_png(RunFolder.read(run).public_gallery, noise)
    add_unverified(run, tmp_path / "boards", replace=True)
    render_boards(tmp_path / "boards")
    assert kept.is_file() and "![fake: the mask's outline, synthetic](gallery-fake.png)" in page(tmp_path / "boards")


def test_a_duration_too_short_to_read_is_no_power_of_ten() -> None:
    assert (format_seconds(1.2e-5), format_seconds(0.0041)) == ("< 1 ms", "0.0041 s")


def test_what_rounds_to_nothing_has_no_sign() -> None:
    assert (format_value("kid_lite0", -0.00004), format_value("kid_lite0", -0.00006)) == ("0.0000", "-0.0001")


def test_a_page_says_which_seeds_are_paired_and_why_there_is_no_interval(
    protocol: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = "5 clusters: too few for an interval, 8 are needed"
    scored = make_card(52.0, 25.0)
    refused = [dataclasses.replace(score, interval=None, no_interval=few) for score in scored.card.scores]
    run = make_run(tmp_path / "run", protocol, with_scores(scored, refused))
    add_unverified(run, tmp_path / "boards")
    render_boards(tmp_path / "boards")
    board = read_board(tmp_path / "boards" / "small")
    assert f"no interval of fd_lite0 (fake), clip_score (fake), clip_image (fake): {few}" in page(tmp_path / "boards")
    pair = PairedTest(metric="fd_lite0", first="fake", second="other", difference=-2.0, low=None, high=None, p=0.001,
                    p_holm=0.002, effect=None, n=9, verdict="fake", seeds=((0, 0), (1, 2)),
                    no_interval=few)  # fmt: skip
    compared = BoardComparison(protocol="small", protocol_hash="0", scorecards={}, tests=1, pairs=[pair], ranks=[],
                               zero_differences="absolute")  # fmt: skip
    text = render_page(board._replace(comparison=compared), score_table(board))
    assert "| fd_lite0 ↓ | fake | other | 0, 1 - 2 | -2.00 | - |" in text and "that of the distances from 0" in text
    assert "of the runs of the seeds named" in text and f"no interval of fd_lite0 (fake less other): {few}" in text
    stored = compared.model_dump(exclude={"zero_differences"}) | {"pairs": [pair.model_dump(exclude={"seeds"})]}
    before = BoardComparison.model_validate(stored)  # of a version that recorded neither
    assert before.pairs[0].seeds == () and before.zero_differences == "signed"
    old = render_page(board._replace(comparison=before), score_table(board))
    assert "| fd_lite0 ↓ | fake | other | -2.00 | - |" in old and "distances from 0" not in old
