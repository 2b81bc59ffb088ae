"""An ablation's table as markdown, LaTeX and CSV: pure functions of its record, the only place where it is rounded."""

import pandas as pd

from ccbench.metrics import metric_info
from ccbench.metrics.statistics.ranking import ALPHA
from ccbench.studies.ablation.variant_scores import AblationTable, VariantScore
from ccbench.tables.csv import csv_table
from ccbench.tables.format import (
    MARKS,
    METRIC_GROUPS,
    format_bytes,
    format_count,
    format_difference,
    format_mean,
    format_seconds,
    format_settings,
    interval_notes,
    metric_heading,
)
from ccbench.tables.latex import escape_tex, latex_table
from ccbench.tables.markdown import escape_cells, escape_markdown, facts_table, markdown_code, markdown_table
from ccbench.tables.stored import PAGE, TableKind, notice

SAMPLES = "samples.png"
_EVIDENCE: dict[str | None, str] = {
    "worse": "supports it",
    "better": "speaks against it",
    "not significant": "not shown",
}


def render_markdown(table: AblationTable) -> str:
    """Return the page of an ablation."""
    parts = [f"# {escape_markdown(table.title)}\n", notice("ccbench ablate"), _facts(table), _claims(table)]
    parts += [f"## Differences from {markdown_code(table.base)}\n", _legend(table)]
    for group, title in METRIC_GROUPS.items():
        metrics = [metric for metric in table.metrics() if metric_info(metric).group == group]
        if metrics:
            parts += [f"**{title}**\n" if title else "", _group(table, metrics)]
    parts += [f"## The same conditions\n\n![Variants]({SAMPLES})\n", _tests(table), _runs(table)]
    return "\n".join(part for part in parts if part)


def render_latex(table: AblationTable) -> str:
    """Return the main metrics in LaTeX (booktabs): values of every variant, bold where it is significantly better."""
    metrics, held, rows = _main(table), table.by_place(), []
    for variant in table.variants:
        cells = []
        for metric in metrics:
            one = held[variant, metric]
            shown = escape_tex(_value(one))
            cells.append(f"\\textbf{{{shown}}}" if one.test and one.test.outcome == "better" else shown)
        rows.append((escape_tex(variant), *cells))
    header = ("variant", *(escape_tex(metric_heading(metric)) for metric in metrics))
    return latex_table(f"l{'r' * len(metrics)}", [header], [rows])


def render_csv(table: AblationTable) -> str:
    """Return every score of a table, unrounded, a line each; seeds are columns."""
    rows = [
        {**one.model_dump(exclude={"by_seed"}), **{f"seed_{seed}": one.by_seed.get(seed) for seed in table.seeds}}
        for one in table.scores
    ]
    return csv_table(pd.DataFrame(rows))


def claim_rows(table: AblationTable) -> list[tuple[str, ...]]:
    """Return what the tests say of each module's claim, a line a metric; see `CLAIM_HEADER`."""
    held = table.by_place()
    rows = []
    for claim in table.claims:
        for metric in claim.metrics:
            full, without = held.get((table.base, metric)), held.get((claim.without, metric))
            if full is None or without is None or full.mean is None:
                rows.append((claim.module, claim.says, metric_heading(metric), *["-"] * 5, "not measured"))
                continue
            test = without.test
            evidence = _EVIDENCE.get(test.outcome if test else None, "not tested")
            difference = (test.shown.difference, test.shown.interval, test.shown.p_holm) if test else ("-",) * 3
            values = metric_heading(metric), _value(full), _value(without)
            rows.append((claim.module, claim.says, *values, *difference, evidence))
    return rows


CLAIM_HEADER = ("module", "is for", "metric", "with it", "without it", "difference", "95% interval", "p Holm", "claim")
"""Of `claim_rows`."""


def main_rows(table: AblationTable) -> list[tuple[str, ...]]:
    """Return each variant's differences in the main metrics; see `main_header`."""
    return _group_rows(table, _main(table))


def main_header(table: AblationTable) -> tuple[str, ...]:
    """Return the header of `main_rows`."""
    return "variant", *map(metric_heading, _main(table))


def _main(table: AblationTable) -> list[str]:
    return [metric for metric in table.metrics() if metric_info(metric).group == "main"]


def _facts(table: AblationTable) -> str:
    seeds = f"{', '.join(map(str, table.seeds))}; a value is mean ± standard deviation over them"
    lines = [
        ("protocol", f"{markdown_code(table.protocol)}, hash {markdown_code(table.protocol_hash)}"),
        ("method", markdown_code(table.method)),
        ("test conditions", str(table.n)),
        ("seeds", seeds),
        ("the same for all", "conditions, their noise, training order and its noise, and all settings not named below"),
    ]
    if table.settings:
        lines.append(("changed in all", escape_markdown(format_settings(table.settings))))
    lines += [
        (markdown_code(name), escape_markdown(format_settings(changes) or "as published"))
        for name, changes in table.variants.items()
    ]
    return facts_table(lines, table.notes)


def _claims(table: AblationTable) -> str:
    if not table.claims:
        return ""
    return (
        "## What each module is for, and what the tests say\n\n"
        f"{markdown_table(CLAIM_HEADER, escape_cells(claim_rows(table)), right=range(3, 8))}"
    )


def _legend(table: AblationTable) -> str:
    unit = (
        "paired by condition and seed, over other conditions and other trainings"
        if table.unit == "condition and training"
        else "paired by condition, of these trained networks alone"
    )
    base = markdown_code(table.base)
    metrics = dict.fromkeys(one.metric for one in table.scores if one.test and one.test.reason and one.mean is not None)
    distances = " →0: of the distances from 0." if table.zero_differences == "absolute" else ""
    untested = f"; of {', '.join(metrics)} not tested, the difference is of the means" if metrics else ""
    return (
        f"First line: values of {base}. Others: variant less {base}. ▲ ▼: better or worse, {unit}, "
        f"p ≤ {ALPHA:g} after Holm's correction over the {table.tests} tests of this page. No mark: not "
        f"significant{untested}.{distances}\n"
    )


def _group(table: AblationTable, metrics: list[str]) -> str:
    header = ("variant", *map(metric_heading, metrics))
    return markdown_table(header, escape_cells(_group_rows(table, metrics)), right=range(1, len(header)))


def _group_rows(table: AblationTable, metrics: list[str]) -> list[tuple[str, ...]]:
    held = table.by_place()
    rows = [(table.base, *(_value(held[table.base, metric]) for metric in metrics))]
    for variant in list(table.variants)[1:]:
        rows.append((variant, *(_less(table, held[variant, metric], held[table.base, metric]) for metric in metrics)))
    return rows


def _less(table: AblationTable, one: VariantScore, base: VariantScore) -> str:
    """Return the tested difference, or that of the means (of their distances from 0) where there is no test."""
    if one.test and one.test.outcome:
        return f"{one.test.shown.difference}{MARKS.get(one.test.outcome, '')}"
    if one.mean is None or base.mean is None:
        return "-"
    absolute = table.zero_differences == "absolute" and metric_info(one.metric).direction == "zero"
    means = (abs(one.mean), abs(base.mean)) if absolute else (one.mean, base.mean)
    return format_difference(one.metric, means[0] - means[1])


def _value(one: VariantScore) -> str:
    return format_mean(one.metric, one.mean, one.spread)


def _tests(table: AblationTable) -> str:
    rows = [
        (metric_heading(one.metric), one.variant, _value(one), *one.test.shown, one.test.outcome)
        for one in table.scores
        if one.test and one.test.outcome
    ]
    header = ("metric", "variant", "value", "difference", "95% interval", "p", "p Holm", "effect", "n (clusters)", "")
    shown = markdown_table(header, escape_cells(rows), right=range(2, len(header) - 1))
    notes = interval_notes([(one.metric, one.test.no_interval) for one in table.scores if one.test])
    return "".join([f"## Every test\n\n{shown}{_untested(table)}", *(f"\n{note}.\n" for note in notes)])


def _untested(table: AblationTable) -> str:
    """Say which metrics have no test, once for each reason; of which variants, where it is not all."""
    runs, untested = {run.run_id for run in table.runs}, dict[tuple[str, str], list[str]]()
    for one in table.scores:
        if one.test and one.test.reason is not None:
            run, _, reason = one.test.reason.partition(": ")
            untested.setdefault((reason if run in runs else one.test.reason, one.metric), []).append(one.variant)
    lines: dict[tuple[str, str], list[str]] = {}
    for (reason, metric), variants in untested.items():
        of = f" of {', '.join(variants)}" if len(variants) < len(table.variants) - 1 else ""
        lines.setdefault((of, reason), []).append(metric)
    said = (f"{', '.join(metrics)}{of}; {reason}." for (of, reason), metrics in lines.items())
    return "".join(f"\nNot tested: {escape_markdown(one)}\n" for one in said)


def _runs(table: AblationTable) -> str:
    rows = [
        (
            escape_markdown(run.variant),
            str(run.seed),
            markdown_code(run.run_id),
            markdown_code((run.weights_sha256 or "-")[:12]),
            *_cost(run.train_seconds, run.seconds_per_image),
            "-" if run.peak_memory_mb is None else format_bytes(round(run.peak_memory_mb * 10**6)),
            "-" if run.parameters_trained is None else format_count(run.parameters_trained),
        )
        for run in table.runs
    ]
    header = ("variant", "seed", "run", "weights", "training", "one image", "peak memory", "trained parameters")
    return f"## Runs\n\n{markdown_table(header, rows, right=(1, 4, 5, 6, 7))}"


def _cost(*seconds: float | None) -> tuple[str, ...]:
    return tuple("-" if one is None else format_seconds(one) for one in seconds)


def _files(table: AblationTable) -> dict[str, str]:
    return {PAGE: render_markdown(table), "table.tex": render_latex(table), "table.csv": render_csv(table)}


ABLATION_TABLES = TableKind("a table of variants", AblationTable, "ablations/*", _files)
"""Any number of them beside each board."""
