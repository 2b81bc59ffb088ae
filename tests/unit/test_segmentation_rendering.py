"""A segmentation table as markdown, LaTeX and CSV, and the check that files on a board are those of their record."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ccbench.errors import DataError, VerificationError
from ccbench.segmenters.table_rows import BUDGETS, COPY_PASTE, Row
from ccbench.studies.segmentation.segmentation_page import SEGMENTATION_TABLES as TABLES
from ccbench.studies.segmentation.segmentation_page import main_header, main_rows
from ccbench.studies.segmentation.segmentation_results import SegmentationTable, tabulate
from segmentation_cells import finish, scores

ROWS = (
    Row("real"),
    Row("real-x2"),
    Row(COPY_PASTE, COPY_PASTE),
    Row("mixed", "my_method"),
    Row("synthetic", "my_method"),
)
GAINS = dict(zip((row.name for row in ROWS), (0.0, 0.0, 0.004, 0.1, -0.2), strict=True))
FILES = ("table.json", "README.md", "table.tex", "table.csv")


@pytest.fixture(scope="module")
def made() -> SegmentationTable:
    """Two segmenters of two seeds on eight images: one row is better, one is worse, one is neither."""
    rng, cells = np.random.default_rng(0), []
    base, shares = rng.uniform(0.5, 0.7, 6), [0.01, 0.02, 0.06, 0.1, 0.2, 0.0]
    for segmenter in ("PraNet", "Polyp-PVT"):
        for row in ROWS:
            for seed in (0, 1):
                values = base + GAINS[row.name] + 0.01 * rng.normal(size=6)
                cells.append(
                    finish(segmenter, row, seed, {"a": scores(values, shares), "b": scores(values[:2], shares[:2])})
                )
    return tabulate(cells, "phantom-128", "0123456789abcdef", BUDGETS, ("a", "b"), ["A note."])


def test_the_page(made: SegmentationTable) -> None:
    page = TABLES.files(made)["README.md"]
    lines = page.splitlines()
    assert lines[0] == "# Segmentation on phantom-128" and "- A note." in lines
    assert "| protocol | `phantom-128`, hash `0123456789abcdef` |" in lines
    assert "| test images | a 6, b 2; overall: the first 2 together, by image |" in lines
    assert "| PraNet | 1,234,567 parameters; backbone lite0, size 96, ratios 0.667 1.0, bce legacy_mean |" in lines
    assert "never on test images" in page
    heads = [line for line in lines if line.startswith("| trained on |")]
    assert heads == ["| trained on | steps | overall | 95% interval | a | b |"] * 4
    epochs, steps = page.partition("## Equal passes")[2].split("## Equal steps")
    assert "| real-x2 |" not in epochs and "| real | 8 |" in epochs and "| real+my_method | 16 |" in epochs
    main = steps.partition("▲ ▼")[0]
    assert "| real-x2 | 16 |" in main and "| my_method |" not in main and "| real | 8 |" not in main
    assert "the 30 tests of this page" in page  # 2 segmenters, 3 sets, and 3 rows in one budget, 2 in the other
    assert "| segmenter | trained on | small (n = 4) | medium (n = 2) | large (n = 1) |" in lines
    assert "| PraNet | real+my_method | 8 | 16 | 1 min 02 s | my_method-seed0 |" in lines
    printed = page.partition("## Reported in print")[2].splitlines()
    assert any(
        line.startswith("| Polyp-PVT | real | 0.917 / 0.864 | 0.937 / 0.889 | 0.900 / 0.833 |") for line in printed
    )
    assert printed.index("| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |") == 5


def test_numbers_and_marks_are_those_of_the_record(made: SegmentationTable) -> None:
    def shown(name: str) -> str:
        values = {v.metric: v for v in made.values if (v.segmenter, v.row, v.test, v.stratum) == (*wanted, "all")}
        dice = values["mDice_256"]
        return f"{dice.mean:.3f} ± {dice.spread:.3f} / {values['mIoU_256'].mean:.3f}"

    marks = {"better": " ▲", "worse": " ▼", "not significant": ""}
    assert main_header(made) == ("segmenter", "trained on", "overall", "a", "b")
    for budget in BUDGETS:
        for segmenter, row, *cells in main_rows(made, budget):
            for test, cell in zip(("overall", "a", "b"), cells, strict=True):
                wanted = (segmenter, row, test)
                tests = [o for o in made.comparisons if (o.segmenter, o.row, o.test, o.budget) == (*wanted, budget)]
                outcomes = [one.paired.outcome for one in tests]
                assert cell == shown(test) + "".join(marks[outcome] for outcome in outcomes)
    assert {one.paired.outcome for one in made.comparisons} >= {"worse", "not significant"}


def test_latex_has_a_column_for_each_segmenter_and_set(made: SegmentationTable) -> None:
    text = TABLES.files(made)["table.tex"]
    rows = [line for line in text.splitlines() if line.endswith("\\\\") and "multicolumn" not in line]
    assert {line.count("&") for line in rows} == {6} and len(rows) == 1 + 4 + 3
    assert "real+my\\_method" in text and "_" not in text.replace("\\_", "") and "±" not in text
    assert text.count("\\midrule") == 2 and text.endswith("\\end{tabular}\n")


def test_csv_holds_every_value_unrounded(made: SegmentationTable) -> None:
    found = pd.read_csv(io.StringIO(TABLES.files(made)["table.csv"]))
    assert len(found) == len(made.values) and list(found)[-3:] == ["seed_0", "seed_1", "no_interval"]
    for line, value in zip(found.itertuples(), made.values, strict=True):
        assert (line.row, line.test, line.stratum, line.n) == (value.row, value.test, value.stratum, value.n)
        assert (line.mean, line.seed_1) == pytest.approx((value.mean, value.seeds[1]), abs=1e-15)


def write(folder: Path, made: SegmentationTable) -> Path:
    folder.mkdir(parents=True)
    for name, text in TABLES.files(made).items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_a_table_read_back_gives_the_same_bytes(made: SegmentationTable, tmp_path: Path) -> None:
    folder = write(tmp_path / "segmentation", made)
    assert tuple(TABLES.files(made)) == FILES and TABLES.files(TABLES.read(folder)) == TABLES.files(made)
    TABLES.check(folder)
    with pytest.raises(DataError, match=r"none/table\.json: not a table of segmenters"):
        TABLES.read(tmp_path / "none")
    (folder / "table.json").write_text("{}")
    with pytest.raises(DataError, match="not a table of segmenters"):
        TABLES.check(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_drifted_is_named_and_rendered_anew(name: str, made: SegmentationTable, tmp_path: Path) -> None:
    folder = write(tmp_path / "board" / "segmentation", made)
    file = folder / name
    lines = file.read_text(encoding="utf-8").splitlines()
    file.write_text("\n".join([*lines[:1], lines[1] + " ", *lines[2:], ""]), encoding="utf-8")
    with pytest.raises(VerificationError, match=rf"segmentation/{name}:2: .*run `ccbench leaderboard render`"):
        TABLES.render_all(tmp_path, check=True)
    assert TABLES.render_all(tmp_path) == [folder / "README.md"] == TABLES.render_all(tmp_path, check=True)
    if name != "table.json":
        file.unlink()
        with pytest.raises(VerificationError, match=name):
            TABLES.check(folder)
    assert TABLES.render_all(tmp_path / "empty", check=True) == []
