"""A board's scores as one table, from which its page, LaTeX, CSV and JSON are made."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

import pandas as pd

from ccbench.boards.board_files import Board
from ccbench.boards.board_result import FiledResult
from ccbench.errors import VerificationError
from ccbench.metrics import metric_info
from ccbench.tables.csv import csv_table
from ccbench.tables.format import format_mean, metric_heading
from ccbench.tables.latex import escape_tex, latex_table
from ccbench.tables.places import places
from ccbench.tables.seeds import summarise_scores
from ccbench.types import Score

_CARD_CONTROLS = {"real-split": "real test images", "vae-ceiling": "real test images through the VAE"}
"""Controls that every scorecard has scored along with its run, and their titles."""

PLACES = {1: ("**", "**"), 2: ("*", "*")}
"""Place of a method's value, as printed -> what stands around it on a page."""


class BoardRow(NamedTuple):
    """A row of a board: a method or control with its runs by seed; none for a control scored along with the runs."""

    name: str
    control: bool
    title: str
    runs: tuple[FiledResult, ...]

    @property
    def seeds(self) -> list[int]:
        """Seeds of its runs."""
        return [filed.result.record.seed for filed in self.runs]


def board_rows(board: Board) -> list[BoardRow]:
    """Return the methods, then the controls; one with runs of its own takes the place of the scorecards' row.

    Raises:
        VerificationError: runs of one row have different settings.
    """
    methods = [BoardRow(name, False, _title(runs), runs) for name, runs in _by_row(board, control=False)]
    held = dict(_by_row(board, control=True))
    along = dict.fromkeys(name for filed in board.results for name in filed.scorecard.controls)
    controls = [
        BoardRow(name, True, _title(held[name]) if name in held else _CARD_CONTROLS.get(name, ""), held.get(name, ()))
        for name in dict.fromkeys([*along, *held])
    ]
    return [*methods, *controls]


def metrics_of(board: Board) -> list[str]:
    """Return the metrics in the order of the scorecards."""
    return list(dict.fromkeys(score.metric for filed in board.results for score in filed.scorecard.scores))


def sources_of(board: Board) -> list[str]:
    """Return the data sets that are also scored apart."""
    return list(dict.fromkeys(source for filed in board.results for source in filed.scorecard.by_source))


class ScoreLine(NamedTuple):
    """One row's score in one metric: a line of a board's table.

    Attributes:
        source: data set that it is of; empty = all test images.
        row: name of the row.
        control: whether it is a control.
        seeds: of its runs, separated by blanks.
        complete: whether it has all seeds that the board asks for.
        metric: name of the metric.
        n: synthetic images.
        mean: over the seeds; None where there is no value.
        spread: standard deviation over the seeds; None as in `SeedSummary`.
        low: mean of the lower ends of the seeds' own 95 % intervals.
        high: mean of the upper ends.
        shown: mean and spread as pages print them.
        ties: letters of the groups of rows that the stored comparison finds no significant difference to.
        place: 1 and 2 of the complete methods, 0 = none; see `places`.
    """

    source: str
    row: str
    control: bool
    seeds: str
    complete: bool
    metric: str
    n: int | None
    mean: float | None
    spread: float | None
    low: float | None
    high: float | None
    shown: str
    ties: str
    place: int


def score_table(board: Board) -> list[ScoreLine]:
    """Return a line for each row and metric of all test images, then of each source; none without results."""
    rows, metrics = board_rows(board), metrics_of(board)
    letters = board.comparison.letters() if board.comparison else {}
    lines: list[ScoreLine] = []
    for source in ("", *sources_of(board)):
        columns = [_column(board, rows, metric, source, {} if source else letters) for metric in metrics]
        lines += [line for of_row in zip(*columns, strict=True) for line in of_row]
    return lines


def by_place(lines: Sequence[ScoreLine], source: str = "") -> dict[tuple[str, str], ScoreLine]:
    """Return the lines of one source by row and metric."""
    return {(line.row, line.metric): line for line in lines if line.source == source}


def render_csv(lines: Sequence[ScoreLine]) -> str:
    """Return the table as CSV, unrounded."""
    return csv_table(pd.DataFrame(lines))


def render_json(lines: Sequence[ScoreLine]) -> str:
    """Return the table as a JSON list of its lines, unrounded."""
    text: str = pd.DataFrame(lines).to_json(orient="records", indent=1, force_ascii=False, double_precision=15)
    return text + "\n"


def render_latex(board: Board, lines: Sequence[ScoreLine]) -> str:
    """Return the main metrics in LaTeX (booktabs): methods, then controls; the best bold, the second underlined."""
    metrics = [metric for metric in metrics_of(board) if metric_info(metric).group == "main"]
    held, groups = by_place(lines), dict[bool, list[list[str]]]()
    for row in board_rows(board):
        cells = []
        for metric in metrics:
            line = held[row.name, metric]
            shown = escape_tex(line.shown)
            cells.append({1: f"\\textbf{{{shown}}}", 2: f"\\underline{{{shown}}}"}.get(line.place, shown))
        groups.setdefault(row.control, []).append([escape_tex(row.name), ", ".join(map(str, row.seeds)), *cells])
    header = ("method", "seeds", *(escape_tex(metric_heading(metric)) for metric in metrics))
    return latex_table(f"ll{'r' * len(metrics)}", [header], list(groups.values()))


def _column(
    board: Board, rows: Sequence[BoardRow], metric: str, source: str, letters: Mapping[tuple[str, str], str]
) -> list[ScoreLine]:
    """Return one metric of all rows."""
    found = [[score for score in scores_of(board, row, source) if score.metric == metric] for row in rows]
    summaries = [summarise_scores(scores) for scores in found]
    complete = [set(row.seeds) >= set(board.rules.seeds) for row in rows]
    ranked = [whole and not row.control for whole, row in zip(complete, rows, strict=True)]
    marks = places(metric, [summary and summary.mean for summary in summaries], ranked)
    return [
        ScoreLine(
            source=source,
            row=row.name,
            control=row.control,
            seeds=" ".join(map(str, row.seeds)),
            complete=whole,
            metric=metric,
            n=scores[0].n if scores else None,
            mean=summary and summary.mean,
            spread=summary and summary.spread,
            low=summary and summary.low,
            high=summary and summary.high,
            shown=format_mean(metric, summary.mean, summary.spread) if summary else "-",
            ties=letters.get((row.name, metric), ""),
            place=place,
        )
        for row, scores, summary, whole, place in zip(rows, found, summaries, complete, marks, strict=True)
    ]


def scores_of(board: Board, row: BoardRow, source: str = "") -> Iterator[Score]:
    """Yield the scores of a row's runs; of a control without runs those that the scorecards hold."""
    for filed in row.runs or board.results:
        card = filed.scorecard.by_source.get(source) if source else filed.scorecard
        if card is not None:
            yield from card.scores if row.runs else card.controls.get(row.name, [])


def _title(runs: Sequence[FiledResult]) -> str:
    method = runs[0].result.record.method
    return method.title if method else ""


def _by_row(board: Board, control: bool) -> list[tuple[str, tuple[FiledResult, ...]]]:
    """Return the rows of the methods, or of the controls, and the runs of each by seed."""
    chosen = [filed for filed in board.results if filed.result.is_control == control]
    ordered = sorted(chosen, key=lambda filed: (filed.row, filed.result.record.seed))
    grouped = [(row, tuple(runs)) for row, runs in groupby(ordered, key=lambda filed: filed.row)]
    for row, runs in grouped:
        if len({filed.result.variant_hash for filed in runs}) > 1:
            raise VerificationError(
                f"{board.path}: the runs of row {row!r} have different settings; remove those "
                f"that do not belong from {', '.join(str(filed.file) for filed in runs)}"
            )
    return grouped
