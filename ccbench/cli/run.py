"""`ccbench run`: train, synthesise, score and show, each step only where its result is missing."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ccbench.cli import brought_images, options
from ccbench.cli.commands import command
from ccbench.cli.output import Output
from ccbench.cli.score import show_scores
from ccbench.errors import UsageError
from ccbench.tables.format import format_count, format_seconds

if TYPE_CHECKING:
    from ccbench.runs import RunFolder
    from ccbench.runs.scorecard import Scorecard

FINISHED_WITH_FAILURES = 1

_CheckpointFrom = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint-from",
        help="Do not train: take the checkpoint of this complete run of the same method and settings; for a shuffled "
        "control, of the method that it shuffles.",
        metavar="RUN",
    ),
]


def run(
    method: options.Method,
    protocol: options.Protocol = options.DEFAULT_PROTOCOL,
    data_root: options.DataRoot = None,
    seed: options.Seed = 0,
    sets: options.Set = None,
    config: options.Config = None,
    output: options.RunOutput = None,
    device: options.Device = "auto",
    limit: options.Limit = None,
    quick: options.Quick = False,
    backbone: options.Backbone = None,
    allow_pickle: options.AllowPickle = False,
    checkpoint_from: _CheckpointFrom = None,
    from_dir: brought_images.FromDir = None,
    title: brought_images.Title = None,
    licence: brought_images.Licence = None,
    code: brought_images.Code = None,
    no_cache: options.NoCache = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a method, synthesise the test images, score them and show the table. The same command resumes.

    With --from-dir nothing is trained or generated: images that any program made are checked, copied and scored, and
    --method is the name of their row.
    """
    from ccbench.pipeline.make_run import make_run, run_config
    from ccbench.pipeline.outside_images import check_outside
    from ccbench.protocols.protocol import find_protocol
    from ccbench.runs.record import count_failures

    out = Output(as_json, quiet)
    session = options.open_session(out, data_root, device, backbone, allow_pickle, no_cache)
    said = {"title": title, "licence": licence, "code": code}
    brought_images.check_together(from_dir, said, sets, config)
    if from_dir is not None and quick:
        raise UsageError("--quick: with --from-dir nothing is trained; leave it out, or score the first with --limit N")
    if from_dir is None:
        outside = None
        wanted = run_config(method, protocol, seed=seed, sets=sets or (), file=config, limit=limit, quick=quick)
    else:
        outside = check_outside(from_dir, method, find_protocol(protocol), session, seed=seed, limit=limit, **said)
        wanted = outside.config
    made = make_run(wanted, session, folder=output, checkpoint_from=checkpoint_from, outside=outside)
    if made.following:
        return  # sampling and scoring are the first process's
    scored = made.scorecard()
    assert scored is not None, "make_run has written it"
    card = scored.model_copy(update={"failures": count_failures(made.record, scored.failures)})
    if quick:
        _write_report(made, data_root)
    out.json(_summary(made, card))
    _show(made, card, data_root, from_dir, out)
    if any(card.failures.values()):
        raise typer.Exit(FINISHED_WITH_FAILURES)


def _write_report(run: "RunFolder", data_root: Path | None) -> None:
    from ccbench.base.files import write_output
    from ccbench.report import collect_report, render_report

    write_output(run.report, render_report(collect_report([run], data_root)).encode())


def _summary(run: "RunFolder", card: "Scorecard") -> dict[str, Any]:
    record = run.record
    return {
        "run_id": record.run_id,
        "output": str(run.path),
        "gallery": str(run.gallery),
        **({"report": str(run.report)} if run.config.quick else {}),
        "protocol": record.protocol,
        "protocol_hash": record.protocol_hash,
        "seed": record.seed,
        "not_comparable": list(record.not_comparable),
        "cost": record.cost.model_dump(mode="json"),
        **card.model_dump(mode="json"),
    }


def _show(run: "RunFolder", card: "Scorecard", data_root: Path | None, from_dir: Path | None, out: Output) -> None:
    record, cost = run.record, run.record.cost
    out.line(f"{run.config.method} on {record.protocol}, seed {record.seed}")
    show_scores(card, out)
    trained = record.training is not None and record.training.steps > 0
    if cost.train_seconds is None:
        facts = ["unknown"]
    else:
        facts = [f"training {format_seconds(cost.train_seconds)}" if trained else "no training"]
    facts += [f"{format_seconds(cost.seconds_per_image)} an image"] if cost.seconds_per_image is not None else []
    facts += [f"{format_count(cost.parameters_trained)} trained parameters"] if cost.parameters_trained else []
    out.line(f"cost: {', '.join(facts)}")
    out.line(f"gallery: {run.gallery}")
    if run.config.quick:
        out.line(f"report: {run.report}; open it in any browser")
    if record.not_comparable:
        out.line(f"no board takes this run: {'; '.join(record.not_comparable)}")
    out.line()
    out.line("next:")
    for line, why in _next_commands(run, data_root, from_dir):
        out.line(f"  {line}\n      {why}")


def _next_commands(run: "RunFolder", data_root: Path | None, from_dir: Path | None) -> list[tuple[str, str]]:
    """Return what a person may want to do now, as commands that work."""
    config = run.config

    def words(method: str, quick: bool = False) -> list[str]:
        return options.run_words(method, config.protocol.name, data_root, config.seed, quick=quick)

    found = [
        (command("run", *words(name, config.quick)), "another method, on the same conditions")
        for name in _other_methods(run)[:1]
    ]
    if config.quick and _has_modules(config.method):
        of_it = options.run_words(config.method, config.protocol.name, data_root, 0, quick=True)
        found.append((command("ablate", *of_it), "the method without each of its parts"))
    if run.record.not_comparable:
        outside = ["--from-dir", from_dir] if from_dir else []
        return [*found, (command("run", *outside, *words(config.method)), "the whole protocol, which a board takes")]
    return [*found, (command("leaderboard", "add", run.path), "put this run on the board of its protocol")]


def _has_modules(name: str) -> bool:
    from ccbench.plugins.registry import find_method

    return bool(find_method(name).modules)


def _other_methods(run: "RunFolder") -> list[str]:
    """Return the other methods, those first that read the same parts of a condition and have not been run."""
    from ccbench.plugins.registry import list_methods

    methods = {entry.name: entry.method.info for entry in list_methods() if entry.method}
    own = methods.get(run.config.method)
    usual, quick = f"-seed{run.config.seed}", "-quick" if run.config.quick else ""
    default = run.path.name == f"{run.config.method}{usual}{quick}"

    def order(name: str) -> tuple[bool, bool, str]:
        other = run.path.with_name(f"{name}{usual}{quick}")
        return default and other.is_dir(), own is not None and methods[name].needs != own.needs, name

    return sorted((name for name in methods if not methods[name].control and name != run.config.method), key=order)
