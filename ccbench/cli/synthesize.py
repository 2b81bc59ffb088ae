"""`ccbench synthesize`: generate one image per test condition."""

from typing import Annotated

import typer

from ccbench.cli import options
from ccbench.cli.commands import command
from ccbench.cli.output import Output
from ccbench.errors import UsageError

_Copies = Annotated[
    int,
    typer.Option(
        "--copies",
        min=1,
        help="Images of each of the first 16 conditions, to measure diversity; the others have one.",
        metavar="N",
    ),
]


def synthesize(
    method: options.Method,
    protocol: options.Protocol = options.DEFAULT_PROTOCOL,
    data_root: options.DataRoot = None,
    seed: options.Seed = 0,
    sets: options.Set = None,
    config: options.Config = None,
    output: options.RunOutput = None,
    device: options.Device = "auto",
    limit: options.Limit = None,
    backbone: options.Backbone = None,
    allow_pickle: options.AllowPickle = False,
    copies: _Copies = 1,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Generate one image per test condition with a trained method. The same command resumes."""
    from ccbench.pipeline.make_run import open_run, run_config
    from ccbench.pipeline.synthesis import add_copies, synthesize_run
    from ccbench.runs.record import count_failures

    out = Output(as_json, quiet)
    session = options.open_session(out, data_root, device, backbone, allow_pickle)
    wanted = run_config(method, protocol, seed=seed, sets=sets or (), file=config, limit=limit)
    with open_run(wanted, session, output) as run:
        if run.following:
            return  # sampling is the first process's
        if run.record.training is None:
            raise UsageError(f"{run.path}: holds no trained {method}; run `ccbench train` with the same options first")
        synthesize_run(run, session)
        if copies > 1:
            made = add_copies(run, session, copies)
            out.note(f"copies: done, {made} new; they are scored by: {command('score', run.path)}")
        record, card = run.record, run.scorecard()
        out.json(
            {
                "run_id": record.run_id,
                "output": str(run.path),
                "status": record.status,
                "images": [str(path) for path in run.image_files()],
                "copies": [str(run.path / sample.file) for sample in run.copies()],
                "failures": count_failures(record, card.failures if card else {}),
                "cost": record.cost.model_dump(mode="json"),
            }
        )
        out.line(f"run folder: {run.path}")
        out.line(f"next: {command('score', run.path)}")
