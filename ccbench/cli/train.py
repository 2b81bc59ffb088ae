"""`ccbench train`: train a method under a protocol."""

from ccbench.cli import options
from ccbench.cli.commands import command
from ccbench.cli.output import Output


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
    from ccbench.pipeline.make_run import open_run, run_config
    from ccbench.pipeline.training import train_run

    out = Output(as_json, quiet)
    session = options.open_session(out, data_root, device, backbone, allow_pickle)
    wanted = run_config(method, protocol, seed=seed, sets=sets or (), file=config, limit=limit)
    with open_run(wanted, session, output) as run:
        train_run(run, session)
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
        words = options.run_words(
            method, protocol, data_root, seed, sets=sets, config=config, output=output, limit=limit
        )
        out.line(f"next: {command('synthesize', *words)}")
