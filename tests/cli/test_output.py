"""Tables on terminals that are too narrow for them: no number is cut."""

import pytest

from ccbench.cli.output import Output

HEADER = ("row", "fd_lite0 ↓", "clip_score ↑")
ROWS = [("controlnet", "96.68 ± 4.59", "58.45 ± 2.87"), ("arsdm", "286.51", "8.75")]


@pytest.mark.parametrize(("columns", "parts"), [(80, 1), (42, 1), (30, 2), (10, 2)])
def test_what_is_too_wide_goes_on_below_beside_the_first_column(
    columns: int, parts: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    Output().table(HEADER, ROWS, right=(1, 2))
    lines = capsys.readouterr().out.splitlines()
    assert sum("controlnet" in line for line in lines) == parts
    for number, name in enumerate(HEADER[1:], 1):
        (head,) = (at for at, line in enumerate(lines) if name in line)
        for cells, line in zip(ROWS, lines[head + 2 :], strict=False):
            assert line.split()[0] == cells[0] and cells[number] in line
    assert columns == 10 or max(map(len, lines)) <= columns


def test_text_may_be_broken_into_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    Output().table(("setting", "value"), [("backbone", "the one that every method here extends")], wrap=(1,))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 40 and sum("backbone" in line for line in lines) == 1
    assert " ".join(" ".join(lines[3:]).split()) == "backbone the one that every method here extends"


def test_a_path_that_is_too_long_for_a_line_stays_beside_its_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    Output().table(("", "", ""), [("found", "encoder", "/a" * 40), ("missing", "backbone", "none")], wrap=(1, 2))
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0].startswith("found   encoder  /a/a") and lines[-1] == "missing backbone none"


def test_a_table_without_rows_or_with_one_column(capsys: pytest.CaptureFixture[str]) -> None:
    Output().table(("name",), [("a",), ("b",)])
    Output().table(("name", "size"), [])
    assert capsys.readouterr().out.replace("─", "").split() == ["name", "a", "b", "name", "size"]
