"""`ccbench synthesize`: generate one image per test condition."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ccbench.base.assets import BackboneSource
from ccbench.cli import options
from ccbench.cli.commands import command
from ccbench.cli.output import Output
from ccbench.errors import UsageError
from ccbench.tables.format import format_seconds

if TYPE_CHECKING:
    from ccbench.runs import RunFolder

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
    from ccbench.pipeline.synthesis import add_copies
    from ccbench.runs.record import count_failures

    out = Output(as_json, quiet)
    source = BackboneSource(backbone, allow_pickle)
    chosen = options.RunOptions(method, protocol, data_root, seed, sets, config, output, limit)
    with chosen.open_run() as run:
        if run.following:
            return  # sampling is the first process's
        if run.record.training is None:
            raise UsageError(f"{run.path}: holds no trained {method}; run `ccbench train` with the same options first")
        synthesize_step(run, data_root, device, source, out)
        if copies > 1:
            picked, progress = options.pick_device(device), out.progress()
            made = add_copies(run, data_root, copies, device=picked, backbone=source, progress=progress)
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


def synthesize_step(
    run: "RunFolder", data_root: Path | None, device: str, backbone: BackboneSource, out: Output
) -> bool:
    """Generate the images that are missing; return whether there were any."""
    from ccbench.pipeline.synthesis import synthesize as synthesize_run

    if run.is_sampled():
        synthesize_run(run, data_root, progress=out.progress())  # recounts the images and their hashes
        out.note(f"synthesize: skipped, all {len(run.samples())} images are there")
        return False
    picked = options.pick_device(device)
    synthesize_run(run, data_root, device=picked, backbone=backbone, progress=out.progress())
    each = run.record.cost.seconds_per_image
    out.note(f"synthesize: done, {len(run.samples())} images" + (f", {format_seconds(each)} each" if each else ""))
    return True
