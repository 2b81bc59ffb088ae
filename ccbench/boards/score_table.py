"""A board's scores as one pandas table, from which its page, LaTeX, CSV and JSON are made."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
import pandas as pd

from ccbench.boards.board_files import Board, FiledResult
from ccbench.errors import VerificationError
from ccbench.metrics import badness, metric_info
from ccbench.tables.format import csv_text, escape_tex, format_value, metric_heading
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


def score_frame(board: Board) -> pd.DataFrame:
    """Return a line for each row, metric and source (empty = all test images); an empty table without results.

    Columns: `source`, `row`, `control`, `seeds`, `complete`, `metric`, `n`, `mean`, `spread` (standard deviation over
    the seeds), `low` and `high` (means of the seeds' own 95 % intervals), `place` (1 and 2 of the complete methods, as
    printed; equal prints tie; 0 = none), `shown` (as pages print it), `ties` (letters of the
    groups in which the stored comparison cannot tell the row apart).
    """
    if not board.results:
        return pd.DataFrame()
    rows, metrics = board_rows(board), metrics_of(board)
    lines = [
        line for source in ("", *sources_of(board)) for row in rows for line in _lines(board, row, metrics, source)
    ]
    frame = pd.DataFrame(lines)
    letters = board.comparison.letters() if board.comparison else {}
    keys = zip(frame["source"], frame["row"], frame["metric"], strict=True)
    frame["ties"] = ["" if source else letters.get((row, metric), "") for source, row, metric in keys]
    frame["place"] = 0
    for _, group in frame[frame["complete"] & ~frame["control"]].groupby(["source", "metric"]):
        frame.loc[group.index, "place"] = _places(group)
    return frame


class ScoreLine(NamedTuple):
    """A line of `score_frame`, without what it is found by."""

    shown: str
    ties: str
    place: int
    n: int | None
    mean: float | None
    spread: float | None
    low: float | None
    high: float | None


def score_lines(frame: pd.DataFrame, source: str = "") -> dict[tuple[str, str], ScoreLine]:
    """Return the lines of one source by row and metric."""
    chosen = frame[frame["source"] == source]
    keys = zip(chosen["row"], chosen["metric"], strict=True)
    counts = [None if pd.isna(n) else int(n) for n in chosen["n"]]
    numbers = (
        [None if pd.isna(number) else float(number) for number in chosen[name]]
        for name in ("mean", "spread", "low", "high")
    )
    texts = (chosen[name].map(str) for name in ("shown", "ties"))
    lines = map(ScoreLine, *texts, chosen["place"].map(int), counts, *numbers)
    return dict(zip(keys, lines, strict=True))


def render_csv(frame: pd.DataFrame) -> str:
    """Return the table as CSV, unrounded."""
    return csv_text(frame)


def render_json(frame: pd.DataFrame) -> str:
    """Return the table as a JSON list of its lines, unrounded."""
    return frame.to_json(orient="records", indent=1, force_ascii=False, double_precision=15) + "\n"


def render_latex(board: Board, frame: pd.DataFrame) -> str:
    """Return the main metrics in LaTeX (booktabs): methods, then controls; the best bold, the second underlined."""
    metrics = [metric for metric in metrics_of(board) if metric_info(metric).group == "main"]
    held = score_lines(frame)
    heads = " & ".join(escape_tex(metric_heading(metric)) for metric in metrics)
    lines = [
        f"\\begin{{tabular}}{{ll{'r' * len(metrics)}}}",
        "\\toprule",
        f"method & seeds & {heads} \\\\",
        "\\midrule",
    ]
    rows = board_rows(board)
    for number, row in enumerate(rows):
        if number and row.control and not rows[number - 1].control:
            lines.append("\\midrule")
        cells = []
        for metric in metrics:
            line = held[row.name, metric]
            shown = escape_tex(line.shown)
            cells.append({1: f"\\textbf{{{shown}}}", 2: f"\\underline{{{shown}}}"}.get(line.place, shown))
        lines.append(f"{escape_tex(row.name)} & {', '.join(map(str, row.seeds))} & {' & '.join(cells)} \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def _lines(board: Board, row: BoardRow, metrics: Sequence[str], source: str) -> Iterator[dict[str, object]]:
    for metric in metrics:
        scores = [score for score in scores_of(board, row, source) if score.metric == metric]
        found = [score for score in scores if score.value is not None]
        values = [float(score.value) for score in found if score.value is not None]
        spread = float(np.std(values, ddof=1)) if len(set(values)) > 1 else None
        ends = [score.interval for score in found if score.interval is not None]
        whole = bool(ends) and len(ends) == len(found)
        mean = float(np.mean(values)) if values else None
        yield {
            "source": source,
            "row": row.name,
            "control": row.control,
            "seeds": " ".join(map(str, row.seeds)),
            "complete": set(row.seeds) >= set(board.rules.seeds),
            "metric": metric,
            "n": scores[0].n if scores else None,
            "mean": mean,
            "spread": spread,
            "low": float(np.mean([end.low for end in ends])) if whole else None,
            "high": float(np.mean([end.high for end in ends])) if whole else None,
            "shown": format_value(metric, mean) + ("" if spread is None else f" ± {format_value(metric, spread)}"),
        }


def scores_of(board: Board, row: BoardRow, source: str = "") -> Iterator[Score]:
    """Yield the scores of a row's runs; of a control without runs those that the scorecards hold."""
    for filed in row.runs or board.results:
        card = filed.scorecard.by_source.get(source) if source else filed.scorecard
        if card is not None:
            yield from card.scores if row.runs else card.controls.get(row.name, [])


def _places(group: pd.DataFrame) -> list[int]:
    """Return the places of methods by their printed means; none where there is nothing to be better than."""
    metric = str(group["metric"].iloc[0])
    known = group["mean"].dropna()
    if len(known) < 2 or not metric_info(metric).ranked:
        return [0] * len(group)
    prints = [format_value(metric, mean) for mean in sorted(known, key=lambda mean: badness(metric, mean))]
    first, *others = dict.fromkeys(prints)
    second = others[0] if others and len(known) > 2 and prints.count(first) == 1 else None
    shown = [None if pd.isna(mean) else format_value(metric, mean) for mean in group["mean"]]
    return [0 if one is None else 1 if one == first else 2 if one == second else 0 for one in shown]


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
