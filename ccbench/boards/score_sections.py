"""The sections of a board's page that hold numbers: scores, significant differences and intervals."""

from collections.abc import Sequence

import pandas as pd

from ccbench.boards.board_files import Board
from ccbench.boards.board_result import FiledResult
from ccbench.boards.comparison_file import BoardComparison
from ccbench.boards.score_table import (
    PLACES,
    BoardRow,
    ScoreLine,
    board_rows,
    by_place,
    scores_of,
    sources_of,
)
from ccbench.metrics import metric_info
from ccbench.metrics.statistics.ranking import ALPHA
from ccbench.plugins.registry import list_methods
from ccbench.protocols.config import revisions_of
from ccbench.protocols.row_names import OUTSIDE_MARK
from ccbench.tables.format import (
    METRIC_GROUPS,
    format_bytes,
    format_count,
    format_seconds,
    format_seeds,
    format_span,
    interval_notes,
    metric_heading,
)
from ccbench.tables.markdown import escape_cells, escape_markdown, markdown_code, markdown_table

_NOT_STATED = "not stated"
_COSTS = ("training", "one image", "trained parameters", "peak memory")


def score_sections(board: Board, metrics: Sequence[str], lines: Sequence[ScoreLine]) -> list[str]:
    """Return the sections as markdown; `lines`: the board's `score_table`."""
    return ["## Scores\n", _scores(board, metrics, lines), _significant(board), _intervals(board, metrics, lines)]


def _scores(board: Board, metrics: Sequence[str], lines: Sequence[ScoreLine]) -> str:
    legend = (
        "\nMean ± standard deviation over the seeds. Bold: the best complete row of a method, as printed, italic: the "
        "second; equal prints tie. An arrow points to better; →0: best is nearest to 0. Controls are no methods: they "
        "give the scale. "
        "`real-split`: the real test images scored as if they were synthetic, the floor of the distances and the "
        "ceiling of what is measured against the conditions. `vae-ceiling`: the same images through the backbone's VAE "
        "and back, the best that a method in its latents can reach. Times are of the machines named in the records.\n"
    )
    apart = [
        f"\n### {escape_markdown(source)} alone\n\nAgainst the training images of {escape_markdown(source)}.\n\n"
        f"{_score_tables(board, metrics, lines, source)}"
        for source in sources_of(board)
    ]
    legends = legend + _revisions(board) + _outside_legend(board)
    return _score_tables(board, metrics, lines, "") + legends + "".join(apart)


def _significant(board: Board) -> str:
    """Return the differences of the stored comparison that are significant, and how many are not."""
    command = "ccbench compare RUN... --store"
    if board.comparison is None:
        return f"## Significant differences\n\nNot tested: `{command}` keeps the paired tests here.\n"
    untested = ", ".join(map(escape_markdown, board.untested))
    stale = f"Not covered, their runs are others than were tested: {untested}; `{command}` tests again.\n\n"
    found = [pair for pair in board.comparison.pairs if pair.verdict is not None]
    recorded = any(pair.seeds for pair in board.comparison.pairs)
    rows = []
    for pair in found:
        seeds, shown = (format_seeds(pair.seeds),) if recorded else (), pair.shown
        tested = shown.difference, shown.interval, shown.p_holm, shown.effect
        rows.append((metric_heading(pair.metric), pair.first, pair.second, *seeds, *tested, str(pair.verdict)))
    named = [(f"{pair.metric} ({pair.first} less {pair.second})", pair.no_interval) for pair in found]
    heads = ("metric", "row", "less", *(("seeds",) if recorded else ()))
    header = (*heads, "difference", "95% interval", "p Holm", "effect", "better")
    table = markdown_table(header, escape_cells(rows), right=range(len(heads), len(header) - 1)) if rows else ""
    return (
        "## Significant differences\n\nPaired tests by condition and seed, p ≤ "
        f"{ALPHA:g} after Holm's correction over {board.comparison.tests} tests: {len(found)} of "
        f"{len(board.comparison.pairs)} differences are significant. In the tables, rows that share a small letter in "
        f"a metric do not differ significantly.{_of_differences(board.comparison)}\n\n"
        f"{stale if untested else ''}{table}{_bullets(interval_notes(named))}"
    )


def _intervals(board: Board, metrics: Sequence[str], lines: Sequence[ScoreLine]) -> str:
    """Return the table of the main metrics' intervals."""
    chosen = [metric for metric in metrics if metric_info(metric).group == "main"]
    held = by_place(lines)
    rows = []
    for row in board_rows(board):
        ends = [(held[row.name, metric].low, held[row.name, metric].high) for metric in chosen]
        if any(low is not None for low, _ in ends):
            rows.append((_label(row), *(format_span(metric, *both) for metric, both in zip(chosen, ends, strict=True))))
    scores = [(row, score) for row in board_rows(board) for score in scores_of(board, row) if score.metric in chosen]
    named = [(f"{score.metric} ({row.name})", score.no_interval) for row, score in scores]
    notes = interval_notes(named)
    if not rows:
        return f"## Intervals\n{_bullets(notes)}" if notes else ""
    table = markdown_table(("row", *map(metric_heading, chosen)), rows, right=range(1, 1 + len(chosen)))
    return (
        "## Intervals\n\n95% over test conditions, of a trained model as it is; of several seeds the mean of their "
        f"ends. Whether two rows differ is for paired tests to say: `ccbench compare`.\n\n{table}{_bullets(notes)}"
    )


def _revisions(board: Board) -> str:
    """Return which rows an earlier revision of their method made than the one that is installed."""
    now = {entry.name: entry.method.info.revision for entry in list_methods() if entry.method}
    held = dict(sorted(pair for filed in board.results for pair in revisions_of(filed.result.record.config).items()))
    earlier = [
        f"{markdown_code(name)} (revision {held[name]}, now {now[name]})"
        for name in held
        if held[name] < now.get(name, 0)
    ]
    if not earlier:
        return ""
    return (
        f"\nMade by an earlier revision of the method than the present one, which gives other images: "
        f"{', '.join(earlier)}.\n"
    )


def _outside_legend(board: Board) -> str:
    methods = [(filed.row, filed.result.record) for filed in board.results if filed.is_outside]
    said = {row: (record.method, record.config["settings"].get("code")) for row, record in methods}
    if not said:
        return ""
    given = [
        f"- {escape_markdown(f'{row}: {method.title}; licence: {method.licence}; code: {code or _NOT_STATED}')}\n"
        for row, (method, code) in said.items()
        if method
    ]
    return (
        f"\n{OUTSIDE_MARK} images brought from outside: not generated under this protocol by ccbench; training is the "
        f"submitter's word.\n\n{''.join(given)}"
    )


def _score_tables(board: Board, metrics: Sequence[str], lines: Sequence[ScoreLine], source: str) -> str:
    """Return the main table, with the costs, and one for each further group of metrics that the scorecards hold."""
    parts = []
    for group, title in METRIC_GROUPS.items():
        chosen = [metric for metric in metrics if metric_info(metric).group == group]
        if chosen:
            parts += [*([f"**{title}**\n"] if title else []), _score_table(board, chosen, lines, source, not title)]
    return "\n".join(parts)


def _score_table(board: Board, metrics: Sequence[str], lines: Sequence[ScoreLine], source: str, costs: bool) -> str:
    """Return the tables of methods and of controls, of all test images or of those of one data set."""
    held = by_place(lines, source)
    n = str(next(line.n for line in held.values() if line.n is not None))
    header = ("seeds", "n", *map(metric_heading, metrics), *(_COSTS if costs else ()))
    tables: dict[bool, list[tuple[str, ...]]] = {False: [], True: []}
    for row in board_rows(board):
        cells = []
        for metric in metrics:
            line = held[row.name, metric]
            before, after = PLACES.get(line.place, ("", ""))
            ties = f" <sup>{line.ties}</sup>" if line.ties else ""
            cells.append(f"{before}{line.shown}{after}{ties}")
        shown = (_label(row), _seeds(board, row), n, *cells, *(_costs(row.runs) if costs else ()))
        tables[row.control].append(shown)
    return "\n".join(
        markdown_table(("control" if control else "method", *header), rows, right=range(2, 1 + len(header)))
        for control, rows in tables.items()
        if rows
    )


def _label(row: BoardRow) -> str:
    if not row.control:
        return escape_markdown(row.name)
    title = escape_markdown(row.title)
    return f"*{title}* ({markdown_code(row.name)})" if title else f"*{escape_markdown(row.name)}*"


def _seeds(board: Board, row: BoardRow) -> str:
    whole = row.control or set(row.seeds) >= set(board.rules.seeds)
    return ", ".join(map(str, row.seeds)) if whole else f"{len(row.seeds)} of {len(board.rules.seeds)}"


def _costs(runs: Sequence[FiledResult]) -> tuple[str, ...]:
    if not runs:
        return ("",) * len(_COSTS)
    records = [filed.result.record for filed in runs]
    costs = pd.DataFrame([record.cost.model_dump() for record in records])
    training, each, trained, peak = (
        costs[name].dropna() for name in ("train_seconds", "seconds_per_image", "parameters_trained", "peak_memory_mb")
    )
    worked = any(record.training and record.training.steps for record in records)  # else a control without training
    return (
        "-" if training.empty or not worked else format_seconds(float(training.mean())),
        "-" if each.empty else format_seconds(float(each.mean())),
        "-" if trained.empty or not worked else format_count(int(trained.iloc[0])),
        "-" if peak.empty else format_bytes(round(peak.max() * 10**6)),
    )


def _bullets(notes: Sequence[str]) -> str:
    return "".join(["\n", *(f"- {note}\n" for note in notes)]) if notes else ""


def _of_differences(comparison: BoardComparison) -> str:
    """Say what the differences are of, as far as the comparison records it."""
    text = ""
    if any(pair.seeds for pair in comparison.pairs):
        text += (
            " A difference is of the runs of the seeds named, a value in the tables of all runs of its row; where a "
            "row has other seeds too, the two need not agree."
        )
    if comparison.zero_differences == "absolute":
        text += " Of a metric marked →0 it is that of the distances from 0."
    return text
