"""A segmentation table as markdown, LaTeX and CSV: pure functions of its record, the only place where it is rounded."""

from collections.abc import Iterator

import pandas as pd

from ccbench.metrics.images.map_scores import MAP_METRICS
from ccbench.metrics.statistics.ranking import ALPHA
from ccbench.segmenters import SEGMENTERS
from ccbench.segmenters.table_rows import BASELINES, BudgetName
from ccbench.studies.segmentation.segmentation_results import OVERALL, PRIMARY, STRATA, SegmentationTable, Value
from ccbench.tables.csv import csv_table
from ccbench.tables.format import (
    MARKS,
    format_mean,
    format_seconds,
    format_seeds,
    format_span,
    format_value,
    interval_notes,
    metric_heading,
)
from ccbench.tables.latex import escape_tex, latex_table
from ccbench.tables.markdown import escape_cells, escape_markdown, facts_table, markdown_code, markdown_table
from ccbench.tables.stored import PAGE, TableKind, notice

_BUDGETS: dict[BudgetName, tuple[str, str]] = {  # name -> how it is called, and what it means
    "epochs": (
        "equal passes",
        "Each row makes as many passes over its images, so real + synthetic takes twice the steps.",
    ),
    "steps": ("equal steps", "Each row takes as many optimiser steps as real + synthetic."),
}
_REPORTED = (PRIMARY, "mIoU_256")
_NOT_AVAILABLE = "CCIS-DIFF, Table 3; its numbers were not to be had"
_SELECT = {
    "validation": "the pass of the highest mean Dice on validation images, never on test images",
    "last": "the last pass",
    "test": "the pass of the highest mean Dice **on the test images**, as Polyp-PVT's published script",
}


def render_markdown(table: SegmentationTable) -> str:
    """Return the page of a table."""
    parts = [f"# Segmentation on {escape_markdown(table.protocol)}\n", notice("ccbench segment"), _facts(table)]
    for budget in table.budgets:
        heading, meaning = _BUDGETS[budget]
        parts.append(f"## {heading.capitalize()}\n\n{meaning}\n")
        for segmenter in table.segmenters:
            parts.append(f"**{escape_markdown(segmenter)}**, {PRIMARY} / mIoU_256\n\n{_main(table, segmenter, budget)}")
    parts += [_marks(table), _differences(table), _conventions(table), _sizes(table), _reported(table), _costs(table)]
    return "\n".join(part for part in parts if part)


def render_latex(table: SegmentationTable) -> str:
    """Return the main tables in LaTeX (booktabs): a column for each segmenter and test set, a part for each budget."""
    tests, segmenters = table.columns(), table.segmenters
    places = [(segmenter, test) for segmenter in segmenters for test in tests]
    groups = []
    for budget in table.budgets:
        rows: list[tuple[str, ...]] = [(f"\\multicolumn{{{1 + len(places)}}}{{l}}{{{_BUDGETS[budget][0]}}}",)]
        for row in _rows(table, budget):
            cells = []
            for segmenter, test in places:
                shown = escape_tex(_cell(table, segmenter, row, test))
                better = _outcome(table, segmenter, row, test, budget) == "better"
                cells.append(f"\\textbf{{{shown}}}" if better else shown)
            rows.append((escape_tex(row), *cells))
        groups.append(rows)
    heads = (f"\\multicolumn{{{len(tests)}}}{{c}}{{{escape_tex(name)}}}" for name in segmenters)
    header = [("", *heads), ("trained on", *(escape_tex(test) for _, test in places))]
    return latex_table(f"l{'c' * len(places)}", header, groups)


def render_csv(table: SegmentationTable) -> str:
    """Return every value of a table, unrounded, a line each; seeds are columns."""
    seeds = sorted({seed for value in table.values for seed in value.seeds})
    rows = [
        {**value.model_dump(exclude={"seeds"}), **{f"seed_{seed}": value.seeds.get(seed) for seed in seeds}}
        for value in table.values
    ]
    return csv_table(pd.DataFrame(rows))


def main_rows(table: SegmentationTable, budget: BudgetName) -> Iterator[tuple[str, ...]]:
    """Yield segmenter, row and the cells of each test set, for a terminal."""
    for segmenter in table.segmenters:
        for row in _rows(table, budget):
            yield segmenter, row, *(_marked(table, segmenter, row, test, budget) for test in table.columns())


def main_title(table: SegmentationTable, budget: BudgetName) -> str:
    """Return what stands above `main_rows`."""
    return f"{table.protocol}, {_BUDGETS[budget][0]}: {PRIMARY} / mIoU_256"


def main_header(table: SegmentationTable) -> tuple[str, ...]:
    """Return the header of `main_rows`."""
    return "segmenter", "trained on", *table.columns()


def _rows(table: SegmentationTable, budget: BudgetName) -> list[str]:
    return [row for row, budgets in table.rows.items() if budget in budgets]


def _facts(table: SegmentationTable) -> str:
    cells = {(cell.segmenter, cell.row): cell for cell in table.cells}
    sizes = ", ".join(f"{name} {count}" for name, count in table.tests.items())
    seeds = sorted({cell.seed for cell in table.cells})
    lines = [
        ("protocol", f"{markdown_code(table.protocol)}, hash {markdown_code(table.protocol_hash)}"),
        (
            "test images",
            escape_markdown(sizes)
            + (f"; {OVERALL}: the first {table.own} together, by image" if table.own > 1 else ""),
        ),
        ("seeds", f"{', '.join(map(str, seeds))}; a number is mean ± standard deviation over them"),
        ("checkpoint", _SELECT[table.select]),
    ]
    for name, settings in table.settings.items():
        one = next(cell for (segmenter, _), cell in cells.items() if segmenter == name)
        shown = ", ".join(f"{key} {_plain(value)}" for key, value in settings.items() if value not in ("", None))
        lines.append((escape_markdown(name), escape_markdown(f"{one.parameters:,} parameters; {shown}")))
    return facts_table(lines, table.notes)


def _plain(value: object) -> str:
    return " ".join(map(_plain, value)) if isinstance(value, list | tuple) else str(value)


def _main(table: SegmentationTable, segmenter: str, budget: BudgetName) -> str:
    tests = table.columns()
    steps = {(cell.segmenter, cell.row): cell.steps for cell in table.cells}
    rows = []
    for row in _rows(table, budget):
        first, *others = (_marked(table, segmenter, row, test, budget) for test in tests)
        rows.append((row, str(steps[segmenter, row]), first, _interval(table, segmenter, row, tests[0]), *others))
    header = ("trained on", "steps", *map(escape_markdown, (tests[0], "95% interval", *tests[1:])))
    shown = [table.value(segmenter, row, tests[0], PRIMARY) for row in _rows(table, budget)]
    notes = interval_notes([(value.row, value.no_interval) for value in shown if value])
    return markdown_table(header, escape_cells(rows), right=range(1, len(header))) + "".join(
        f"\n{note}\n" for note in notes
    )


def _interval(table: SegmentationTable, segmenter: str, row: str, test: str) -> str:
    value = table.value(segmenter, row, test, PRIMARY)
    return "-" if value is None else format_span(PRIMARY, value.low, value.high)


def _shown(value: Value | None) -> str:
    return "-" if value is None else format_mean(value.metric, value.mean, value.spread)


def _cell(table: SegmentationTable, segmenter: str, row: str, test: str) -> str:
    dice, iou = (table.value(segmenter, row, test, metric) for metric in (PRIMARY, "mIoU_256"))
    return f"{_shown(dice)} / {'-' if iou is None else format_value('mIoU_256', iou.mean)}"


def _outcome(table: SegmentationTable, segmenter: str, row: str, test: str, budget: BudgetName) -> str | None:
    found = table.comparison(segmenter, row, test, budget)
    return found.paired.outcome if found else None


def _marked(table: SegmentationTable, segmenter: str, row: str, test: str, budget: BudgetName) -> str:
    return f"{_cell(table, segmenter, row, test)}{MARKS.get(_outcome(table, segmenter, row, test, budget), '')}"


def _marks(table: SegmentationTable) -> str:
    bases = " and ".join(f"`{BASELINES[budget].name}` under {_BUDGETS[budget][0]}" for budget in table.budgets)
    return (
        f"▲ ▼: {PRIMARY} better or worse than the same segmenter on real images only ({bases}), paired "
        f"by image and seed, p ≤ {ALPHA:g} after Holm's correction over the {len(table.comparisons)} tests of this "
        "page. No mark: not significant.\n"
    )


def _differences(table: SegmentationTable) -> str:
    test = table.columns()[0]
    tested = [one for one in table.comparisons if one.test == test]
    if not tested:
        return ""
    recorded = any(one.paired.seeds for one in tested)
    rows = []
    for one in tested:
        seeds = (format_seeds(one.paired.seeds),) if recorded else ()
        rows.append((one.segmenter, one.row, one.baseline, *seeds, *one.paired.shown))
    heads = ("segmenter", "trained on", "less", *(("seeds paired",) if recorded else ()))
    n = "n" if all(one.paired.clusters is None for one in tested) else "n (clusters)"
    header = (*heads, PRIMARY, "95% interval", "p", "p Holm", "effect", n)
    notes = interval_notes([(f"{one.row} less {one.baseline}", one.paired.no_interval) for one in tested])
    text = markdown_table(header, escape_cells(rows), right=range(len(heads), len(header)))
    return f"## Differences on {escape_markdown(test)}\n\n{text}" + "".join(f"\n{note}\n" for note in notes)


def _conventions(table: SegmentationTable) -> str:
    test = table.columns()[0]
    metrics = [metric for metric in MAP_METRICS if any(value.metric == metric for value in table.values)]
    rows = [
        (segmenter, row, *(_shown(table.value(segmenter, row, test, metric)) for metric in metrics))
        for segmenter in table.segmenters
        for row in table.rows
    ]
    header = ("segmenter", "trained on", *map(metric_heading, metrics))
    shown = markdown_table(header, escape_cells(rows), right=range(2, len(header)))
    return f"## Every convention on {escape_markdown(test)}\n\n{shown}"


def _sizes(table: SegmentationTable) -> str:
    test = table.columns()[0]
    counts = {name: table.value(table.segmenters[0], next(iter(table.rows)), test, PRIMARY, name) for name in STRATA}
    header = tuple(f"{name} (n = {value.n if value else 0})" for name, value in counts.items())
    rows = [
        (segmenter, row, *(_shown(table.value(segmenter, row, test, PRIMARY, name)) for name in STRATA))
        for segmenter in table.segmenters
        for row in table.rows
    ]
    limits = ", ".join(f"{name} {low:.0%} to {min(high, 1):.0%}" for name, (low, high) in STRATA.items())
    text = markdown_table(("segmenter", "trained on", *header), escape_cells(rows), right=range(2, 2 + len(header)))
    return (
        f"## By size of the polyp on {escape_markdown(test)}\n\n{PRIMARY}; share of the image that the mask covers: "
        f"{limits}.\n\n{text}"
    )


def _reported(table: SegmentationTable) -> str:
    """Return what papers print of these segmenters, and why there is nothing of synthetic images."""
    cards = [card for card in SEGMENTERS.values() if card.title in table.segmenters]
    if not cards:
        return ""
    sets = list(dict.fromkeys(name for card in cards for name in card.reported))
    rows = []
    for card in cards:
        pairs = (card.reported.get(name) for name in sets)
        cells = ("-" if pair is None else " / ".join(map(format_value, _REPORTED, pair)) for pair in pairs)
        rows.append((card.title, "real", *cells, card.paper))
        rows.append((card.title, "real + synthetic", *["-"] * len(sets), _NOT_AVAILABLE))
    header = ("segmenter", "trained on", *sets, "where")
    return (
        "## Reported in print\n\nmDice / mIoU, not ours and not comparable: 1,450 training images in 352 px, and a "
        "pass that Polyp-PVT's script chooses on test images. Never mixed with the tables above.\n\n"
        f"{markdown_table(header, rows, right=range(2, 2 + len(sets)))}"
    )


def _costs(table: SegmentationTable) -> str:
    groups: dict[tuple[str, str], list[float]] = {}
    for cell in table.cells:
        groups.setdefault((cell.segmenter, cell.row), []).append(cell.seconds)
    first = {(cell.segmenter, cell.row): cell for cell in table.cells}
    rows = [
        (
            segmenter,
            row,
            str(first[segmenter, row].images),
            str(first[segmenter, row].steps),
            format_seconds(sum(seconds) / len(seconds)),
            ", ".join(dict.fromkeys(c.synthetic_run for c in table.cells if (c.segmenter, c.row) == (segmenter, row)))
            or "-",
        )
        for (segmenter, row), seconds in groups.items()
    ]
    header = ("segmenter", "trained on", "images", "steps", "training", "synthetic images of")
    return f"## Cost and origin\n\n{markdown_table(header, escape_cells(rows), right=(2, 3, 4))}"


def _files(table: SegmentationTable) -> dict[str, str]:
    return {PAGE: render_markdown(table), "table.tex": render_latex(table), "table.csv": render_csv(table)}


SEGMENTATION_TABLES = TableKind("a table of segmenters", SegmentationTable, "segmentation", _files)
"""One beside each board."""
