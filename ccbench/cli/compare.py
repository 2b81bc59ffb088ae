"""`ccbench compare`: which of several scored runs is better, and what of it is chance."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ccbench.cli import leaderboard, options
from ccbench.cli.output import Output
from ccbench.tables.format import format_mean, format_seeds, format_value, interval_notes, metric_heading

if TYPE_CHECKING:
    from ccbench.comparison import Comparison, Entry, PairedTest
    from ccbench.tables.seeds import SeedSummary

_Runs = Annotated[
    list[Path],
    typer.Argument(help="Scored run folders of one protocol; runs of one method are its seeds.", metavar="RUN..."),
]
_Against = Annotated[
    str | None,
    typer.Option("--against", help="Compare the others with this method only: fewer tests.", metavar="NAME"),
]
_Store = Annotated[bool, typer.Option("--store", help="Keep the tests with the board that holds these runs.")]


def compare(
    runs: _Runs,
    against: _Against = None,
    data_root: options.DataRoot = None,
    device: options.Device = "auto",
    no_cache: options.NoCache = False,
    store: _Store = False,
    boards: leaderboard.Boards = leaderboard.DEFAULT_BOARDS,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Compare scored runs in every metric they share: difference, interval, p-value and verdict."""
    from ccbench.boards.kept_comparison import store_comparison
    from ccbench.comparison import compare_methods, read_entries, to_json
    from ccbench.runs import RunFolder

    out = Output(as_json, quiet)
    session = options.open_session(out, data_root, device, no_cache=no_cache)
    entries = read_entries([RunFolder.read(path) for path in runs])
    protocol = entries[0].runs[0].folder.config.protocol
    comparison = compare_methods(entries, session, against)
    kept = store_comparison(comparison, entries, boards) if store else None
    found = [
        {
            "name": entry.name,
            "runs": [
                {"run_id": r.folder.record.run_id, "seed": r.seed, "folder": str(r.folder.path)} for r in entry.runs
            ],
        }
        for entry in entries
    ]
    out.json({"protocol": protocol.name, "protocol_hash": protocol.hash, "methods": found, **to_json(comparison)})
    _show(entries, comparison, out)
    if kept is not None:
        out.line(f"kept with the board: {kept}; ccbench leaderboard render shows it")


def _show(entries: Sequence["Entry"], comparison: "Comparison", out: Output) -> None:
    from ccbench.metrics import metric_info
    from ccbench.metrics.statistics.ranking import ALPHA

    pairs = dict.fromkeys((one.first, one.second) for one in comparison.compared)
    for first, second in pairs:
        held = [one for one in comparison.compared if (one.first, one.second) == (first, second)]
        out.line(f"A: {first}, B: {second}; {_unit(held)}")
        header = ("metric", "A", "B", "A - B", "95% interval", "p", "p Holm", "effect", "n (clusters)", "verdict")
        rows = [_row(one) for one in held if one.first_values is not None]
        out.table(header, rows, right=range(1, len(header) - 1))
        for note in interval_notes([(one.metric, one.no_interval) for one in held]):
            out.line(note)
    for metric, reason in dict.fromkeys((one.metric, one.reason) for one in comparison.compared if one.reason):
        of = [one for one in comparison.compared if (one.metric, one.reason) == (metric, reason)]
        which = "" if len(of) == len(pairs) else f" ({'; '.join(f'{one.first} - {one.second}' for one in of)})"
        out.line(f"{metric}: not tested, {reason}{which}")
    if comparison.ranks:
        out.line(
            "Ranks: 1 is best; 95% of resamples lie in the range. Methods that share a letter do not differ "
            "significantly."
        )
        rows = [
            (
                metric_heading(one.metric),
                one.name,
                format_value(one.metric, one.value),
                _range(one.low, one.high),
                one.groups,
            )
            for one in comparison.ranks
        ]
        out.table(("metric", "method", "mean", "ranks", "ties"), rows, right=(2, 3))
    if any(metric_info(one.metric).direction == "zero" for one in comparison.compared if one.outcome):
        out.line("→0: the difference is that of the distances from 0, the absolute values of A and B.")
    out.line(f"p Holm: corrected over the {comparison.tests} tests above; a method is better at p Holm <= {ALPHA:g}.")
    if any(len(entry.runs) > 1 for entry in entries):
        out.line("Values of several seeds: mean, ± spread between them, (within: error of one seed's value).")


def _unit(held: Sequence["PairedTest"]) -> str:
    """Say what was drawn at random in the tests of one pair, and so what they speak of."""
    seeds = held[0].seeds
    shown = format_seeds(seeds)
    counts = [summary.n for one in held for summary in (one.first_values, one.second_values) if summary]
    more = "; A and B are means of all runs, A - B of the paired ones" if max(counts, default=0) > len(seeds) else ""
    if len(seeds) > 1:
        return f"seeds {shown} paired; unit of the test: condition and training{more}"
    return f"seed {shown}; unit of the test: condition, so it speaks of these two trained models alone{more}"


def _row(one: "PairedTest") -> tuple[str, ...]:
    values = (_summary(one.metric, one.first_values), _summary(one.metric, one.second_values))
    if one.outcome is None:
        return metric_heading(one.metric), *values, "", "", "", "", "", "", "not tested"
    verdict = {"better": "A better", "worse": "B better"}.get(one.outcome, one.outcome)
    return metric_heading(one.metric), *values, *one.shown, verdict


def _summary(metric: str, values: "SeedSummary | None") -> str:
    """Return mean and spread, and in brackets the standard error of one seed's value."""
    if values is None:
        return "-"
    mean = format_mean(metric, values.mean, values.spread)
    return mean if None in (values.spread, values.within) else f"{mean} ({format_value(metric, values.within)})"


def _range(low: int, high: int) -> str:
    return str(low) if low == high else f"{low} - {high}"
