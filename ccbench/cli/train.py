"""`ccbench train`: train a method under a protocol."""

from pathlib import Path
from typing import TYPE_CHECKING

from ccbench.base.assets import BackboneSource
from ccbench.cli import options
from ccbench.cli.commands import command
from ccbench.cli.output import Output
from ccbench.tables.format import format_seconds

if TYPE_CHECKING:
    from ccbench.runs import RunFolder


def train(
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
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a method under a protocol. The same command resumes."""
    out = Output(as_json, quiet)
    source = BackboneSource(backbone, allow_pickle)
    chosen = options.RunOptions(method, protocol, data_root, seed, sets, config, output, limit)
    with chosen.open_run() as run:
        train_step(run, data_root, device, source, out)
        record = run.record
        out.json(
            {
                "run_id": record.run_id,
                "output": str(run.path),
                "training": record.training.model_dump(mode="json") if record.training else None,
                "cost": record.cost.model_dump(mode="json"),
            }
        )
        out.line(f"checkpoint: {run.checkpoint}")
        out.line(f"next: {command('synthesize', *chosen.words())}")


def train_step(
    run: "RunFolder",
    data_root: Path | None,
    device: str,
    backbone: BackboneSource,
    out: Output,
    checkpoint_from: Path | None = None,
) -> None:
    """Train the run's method, copy a training that another run has finished, or say that it is trained already."""
    from ccbench.pipeline.training import copy_training
    from ccbench.pipeline.training import train as train_run
    from ccbench.plugins.registry import find_method
    from ccbench.runs import RunFolder

    done = run.record.training
    if (done is None or not run.checkpoint.is_dir()) and checkpoint_from is not None:
        source = RunFolder.read(checkpoint_from)
        copy_training(run, source, data_root, device=options.pick_device(device))
        out.note(f"train: copied from {source.record.run_id}")
    elif find_method(run.config.method).train_ref is None:
        train_run(run, data_root, device=options.pick_device(device))
        out.note("train: skipped, a control with nothing to train")
    elif done is None or not run.checkpoint.is_dir():
        picked = options.pick_device(device)
        out.note(_budget(run))
        train_run(run, data_root, device=picked, backbone=backbone, progress=out.progress(), note=out.warn)
        out.note(f"train: done in {format_seconds(run.record.cost.train_seconds or 0)}")
    else:
        out.note(f"train: skipped, the checkpoint is complete ({done.steps} steps)")


def _budget(run: "RunFolder") -> str:
    """Say before training how long it is: a limit on the images does not shorten it."""
    config = run.config
    training, limit = config.training, config.limit
    text = f"train: {training.max_steps:,} steps of {training.batch_size} images"
    if limit is None:
        return text
    passes = training.max_steps * training.batch_size / limit
    return (
        f"{text}; --limit {limit} does not shorten it, each of {limit} images is seen {passes:,.0f} times. "
        "Less: --set training.max_steps=N"
    )
