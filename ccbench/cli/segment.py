"""`ccbench segment`: train segmenters on real and synthetic images and say whether the synthetic ones help."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer
from typer.core import TyperGroup

from ccbench.base.process_ranks import process_count
from ccbench.cli import leaderboard, options, segment_score
from ccbench.cli.output import Output
from ccbench.errors import UsageError

if TYPE_CHECKING:
    from ccbench.segmenters.cells import Select
    from ccbench.segmenters.table_rows import BudgetName
    from ccbench.studies.segmentation.segmentation_results import SegmentationTable
    from ccbench.studies.segmentation.segmentation_study import TablePlan

_SPREAD = ("--runs", "--segmenter")


class _SpreadGroup(TyperGroup):
    """A group whose options in `_SPREAD` take all words up to the next option: `--runs A B` is `--runs A --runs B`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        spread, current, lone = [], "", False
        for word in [*args, "-"]:
            if word.startswith("-"):
                if lone:  # such as `--runs $RUNS` with nothing in it: the next option would be its value
                    raise UsageError(f"{current}: found nothing after it, wanted at least one value")
                current, lone = (word, True) if word in _SPREAD else ("", False)
                spread += [word] if not current else []
            else:
                spread += [current, word] if current else [word]
                lone = False
        return super().parse_args(ctx, spread[:-1])


app = typer.Typer(cls=_SpreadGroup, invoke_without_command=True)
app.command("score")(segment_score.score)

_Runs = Annotated[
    list[Path] | None,
    typer.Option("--runs", help="Trained runs of the protocol; runs of one method are its seeds.", metavar="RUN..."),
]
_ProtocolName = Annotated[
    str | None,
    typer.Option("--protocol", "-p", help="Frozen protocol; that of the runs unless given.", metavar="NAME"),
]
_Segmenters = Annotated[
    list[str] | None,
    typer.Option(
        "--segmenter",
        help="pranet, polyp-pvt (both unless given), or mmseg:PATH, a configuration of mmsegmentation: a .json is "
        "read as data, a .py is RUN AS CODE, so give only one that you trust.",
        metavar="NAME...",
    ),
]
_Rows = Annotated[
    str | None,
    typer.Option(
        "--rows",
        help="Some of real, real-x2, classic, classic-x2, copy-paste, mixed, synthetic, synthetic-x2; all by default.",
        metavar="LIST",
    ),
]
_Budget = Annotated[
    str, typer.Option("--budget", help="epochs: equal passes; steps: equal optimiser steps; both.", metavar="NAME")
]
_Seeds = Annotated[str, typer.Option("--seeds", help="Of the segmenters.", metavar="LIST")]
_Select = Annotated[
    str,
    typer.Option(
        "--select", help="validation, last, or test: the published habit, which the table then says.", metavar="NAME"
    ),
]
_Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="Folder of the table; runs/PROTOCOL/segmentation unless given; with --limit a folder of its own.",
        metavar="DIR",
    ),
]
_SetSegmenter = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change a setting of the segmenters, e.g. bce=weighted.", metavar="KEY=VALUE"),
]


@app.callback()
def segment(
    context: typer.Context,
    runs: _Runs = None,
    protocol: _ProtocolName = None,
    data_root: options.DataRoot = None,
    segmenter: _Segmenters = None,
    rows: _Rows = None,
    budget: _Budget = "both",
    seeds: _Seeds = "0,1,2",
    select: _Select = "validation",
    sets: _SetSegmenter = None,
    output: _Output = None,
    device: options.Device = "auto",
    jobs: options.Jobs = None,
    limit: options.Limit = None,
    store: options.Store = False,
    boards: leaderboard.Boards = leaderboard.DEFAULT_BOARDS,
    backbone: options.Backbone = None,
    allow_pickle: options.AllowPickle = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train polyp segmenters on real images with and without synthetic ones, and test them. Resumes.

    Every row of the table is a training set, every cell a segmenter of one seed; what is there is not made again.
    """
    if context.invoked_subcommand is not None:
        return
    from ccbench.studies.segmentation.overlays import draw_overlays
    from ccbench.studies.segmentation.segmentation_page import SEGMENTATION_TABLES
    from ccbench.studies.segmentation.segmentation_study import segment as make_table
    from ccbench.studies.segmentation.segmentation_study import with_copy_paste

    if store and limit is not None:
        raise UsageError("--store: a board keeps the table of whole sets; leave --limit out")
    if process_count() > 1:
        raise UsageError("segment: works cell by cell in processes of its own; start it without torchrun or accelerate")
    out = Output(as_json, quiet)
    session = options.open_session(out, data_root, device, backbone, allow_pickle, no_cache=True)
    plan = _plan(runs or (), protocol, limit, segmenter)
    plan = replace(
        plan,
        seeds=options.read_seeds(seeds),
        budgets=_read_budgets(budget),
        kinds=None if rows is None else tuple(rows.split(",")),
        select=_read_select(select),
        overrides=tuple(sets or ()),
    )
    plan.check()
    plan = with_copy_paste(plan, session)
    name = plan.protocol.name
    folder = output or Path("runs", name, "segmentation" if limit is None else f"segmentation-limit{limit}")
    made = make_table(plan, folder, session, jobs or os.cpu_count() or 1)
    SEGMENTATION_TABLES.write(made.table, folder)
    page = SEGMENTATION_TABLES.write(made.table, boards / name / SEGMENTATION_TABLES.places) if store else None
    pictures = draw_overlays(made.cells, folder, made.sets, folder)
    out.json({**made.table.model_dump(mode="json"), "output": str(folder), "overlays": [str(p) for p in pictures]})
    _show(made.table, out)
    out.line(f"table: {folder / 'README.md'}, also as table.tex, table.csv and table.json")
    if page:
        out.line(f"kept with the board: {page}")
    out.line(f"overlays: {', '.join(str(path) for path in pictures)}")


def _plan(runs: Sequence[Path], protocol: str | None, limit: int | None, segmenters: list[str] | None) -> "TablePlan":
    """Return the plan of all rows of these runs, of the protocol that is named or is theirs."""
    from ccbench.protocols.protocol import find_protocol
    from ccbench.runs import RunFolder
    from ccbench.segmenters import SEGMENTERS, find_segmenter
    from ccbench.studies.segmentation.segmentation_study import TablePlan, group_runs

    given = [RunFolder.read(path) for path in runs]
    found = find_protocol(protocol or (given[0].record.protocol if given else options.DEFAULT_PROTOCOL))
    chosen = tuple(find_segmenter(name) for name in segmenters or SEGMENTERS)
    return TablePlan(found, group_runs(given, found, limit), chosen, limit=limit)


def _read_budgets(name: str) -> "tuple[BudgetName, ...]":
    from ccbench.segmenters.table_rows import BUDGETS

    if name != "both" and name not in BUDGETS:
        raise UsageError(f"--budget: found {name!r}, wanted epochs, steps or both")
    return tuple(one for one in BUDGETS if name in ("both", one))


def _read_select(name: str) -> "Select":
    from ccbench.segmenters.cells import Select

    if name not in (known := get_args(Select)):
        raise UsageError(f"--select: found {name!r}, wanted {', '.join(known)}")
    return cast("Select", name)


def _show(table: "SegmentationTable", out: Output) -> None:
    from ccbench.metrics.statistics.ranking import ALPHA
    from ccbench.studies.segmentation.segmentation_page import main_header, main_rows, main_title

    for budget in table.budgets:
        out.line(main_title(table, budget))
        header = main_header(table)
        out.table(header, main_rows(table, budget), right=range(2, len(header)))
    out.line(f"▲ ▼: better or worse than real images only, Holm-corrected p <= {ALPHA:g}; no mark: not significant.")
    for note in table.notes:
        out.line(note)
