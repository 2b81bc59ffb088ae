"""`ccbench ablate`: what each part of a method contributes."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ccbench.base.process_ranks import process_count
from ccbench.cli import leaderboard, options
from ccbench.cli.output import Output
from ccbench.errors import UsageError

if TYPE_CHECKING:
    from ccbench.studies.ablation.variant_scores import AblationTable
    from ccbench.studies.ablation.variants import Ablation

_Plan = Annotated[
    Path | None,
    typer.Argument(help="TOML file of variants, such as those in configs/ablations.", metavar="[FILE]"),
]
_Method = Annotated[
    str | None,
    typer.Option("--method", "-m", help="Method whose modules are left out, or whose settings --vary names."),
]
_ProtocolName = Annotated[
    str | None,
    typer.Option("--protocol", "-p", help=f"Frozen protocol; that of FILE, or {options.DEFAULT_PROTOCOL}."),
]
_Vary = Annotated[
    list[str] | None,
    typer.Option("--vary", help="Values of a setting instead of modules, e.g. taam.mode=A,B.", metavar="KEY=A,B,..."),
]
_Cross = Annotated[bool, typer.Option("--cross", help="Every combination of several --vary; else one at a time.")]
_Seeds = Annotated[str | None, typer.Option("--seeds", help="0,1,2, or those of FILE, unless given.", metavar="LIST")]
_Quick = Annotated[bool, typer.Option("--quick", help="One seed, quick runs as of `ccbench run --quick`.")]
_Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Folder of the table; runs/PROTOCOL/ablations/NAME by default.", metavar="DIR"),
]


def ablate(
    file: _Plan = None,
    method: _Method = None,
    protocol: _ProtocolName = None,
    data_root: options.DataRoot = None,
    vary: _Vary = None,
    cross: _Cross = False,
    seeds: _Seeds = None,
    quick: _Quick = False,
    output: _Output = None,
    device: options.Device = "auto",
    jobs: options.Jobs = None,
    store: options.Store = False,
    boards: leaderboard.Boards = leaderboard.DEFAULT_BOARDS,
    backbone: options.Backbone = None,
    allow_pickle: options.AllowPickle = False,
    no_cache: options.NoCache = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train, sample and score variants of a method alike, and test each against the full one. Resumes.

    Without FILE and --vary: the method without each of its modules, and without all of them.
    """
    from ccbench.comparison import open_scoring_data
    from ccbench.studies.ablation.ablation_page import ABLATION_TABLES, SAMPLES
    from ccbench.studies.ablation.variant_pictures import draw_samples
    from ccbench.studies.ablation.variant_runs import finish_runs, plan_runs
    from ccbench.studies.ablation.variant_scores import tabulate
    from ccbench.studies.ablation.variants import plan_name

    if process_count() > 1:
        raise UsageError("ablate: makes runs in processes of its own; start it without torchrun or accelerate")
    plan = _plan(file, method, protocol, vary or [], cross, seeds, quick)
    if quick and store:
        raise UsageError("--store: a board keeps tables of the protocol's whole budget; leave --quick out")
    out = Output(as_json, quiet)
    name = plan_name(plan)
    folder = output or Path("runs", plan.protocol, "ablations", f"{name}-quick" if quick else name)
    session = options.open_session(out, data_root, device, backbone, allow_pickle, no_cache, folder / "shared")
    runs = plan_runs(plan, Path("runs"), session)
    finish_runs(runs, session, jobs or os.cpu_count() or 1)
    data = open_scoring_data(runs[0].config, session)
    table = tabulate(plan, runs, data, session.cache, session.progress)
    page = ABLATION_TABLES.write(table, folder)
    draw_samples(runs, session, folder / SAMPLES, plan.title)
    stored = None
    if store:
        kept = boards / plan.protocol / "ablations" / name
        stored = ABLATION_TABLES.write(table, kept)
        draw_samples(runs, session, kept / SAMPLES, plan.title, public=True)
    out.json({**table.model_dump(mode="json"), "output": str(folder)})
    _show(table, out)
    out.line(f"table: {page}, also as table.tex, table.csv and table.json; samples: {folder / SAMPLES}")
    if stored:
        out.line(f"kept with the board: {stored}")


def _plan(
    file: Path | None,
    method: str | None,
    protocol: str | None,
    vary: list[str],
    cross: bool,
    seeds: str | None,
    quick: bool,
) -> "Ablation":
    from ccbench.studies.ablation.variants import make_quick, plan_of_modules, plan_of_values, read_plan

    if file is not None and (method is not None or vary):
        raise UsageError(f"{file}: names its method and variants; leave --method and --vary out")
    if cross and len(vary) < 2:
        raise UsageError("--cross: combines the values of several --vary; give two or more")
    if file is not None:
        plan = read_plan(file)
        plan = plan.model_copy(update={"protocol": protocol}) if protocol else plan
    elif method is None:
        raise UsageError("ablate: name what is ablated: --method METHOD, or a TOML file of variants")
    elif vary:
        plan = plan_of_values(method, protocol or options.DEFAULT_PROTOCOL, vary, cross)
    else:
        plan = plan_of_modules(method, protocol or options.DEFAULT_PROTOCOL)
    if seeds is not None:
        plan = plan.model_copy(update={"seeds": options.read_seeds(seeds)})
    return make_quick(plan) if quick else plan


def _show(table: "AblationTable", out: Output) -> None:
    from ccbench.metrics.statistics.ranking import ALPHA
    from ccbench.studies.ablation.ablation_page import CLAIM_HEADER, claim_rows, main_header, main_rows

    header = main_header(table)
    out.line(f"{table.title} on {table.protocol}: {table.base}, and each variant less {table.base}")
    out.table(header, main_rows(table), right=range(1, len(header)))
    if table.claims:
        out.table(CLAIM_HEADER, claim_rows(table), right=range(3, 8), wrap=(1,))
    out.line(f"▲ ▼: better or worse, Holm-corrected p <= {ALPHA:g}; no mark: not significant.")
    for note in table.notes:
        out.line(note)
