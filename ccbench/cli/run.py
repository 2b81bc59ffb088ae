"""`ccbench run`: train, synthesise, score and show, each step only where its result is missing."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ccbench.base.assets import BackboneSource
from ccbench.cli import brought_images, options
from ccbench.cli.commands import command
from ccbench.cli.output import Output
from ccbench.cli.score import score_step, show_scores
from ccbench.cli.synthesize import synthesize_step
from ccbench.cli.train import train_step
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
    from ccbench.runs.record import count_failures

    out = Output(as_json, quiet)
    source = BackboneSource(backbone, allow_pickle)
    chosen = options.RunOptions(method, protocol, data_root, seed, sets, config, output, limit)
    brought = brought_images.OutsideOptions(from_dir, title, licence, code).check(chosen, out)
    with brought_images.open_run(chosen, brought) if brought else chosen.open_run() as folder:
        out.note(f"run: {folder.record.run_id} in {folder.path}")
        if brought:
            fresh = brought_images.bring_step(folder, brought, out)
        else:
            train_step(folder, data_root, device, source, out, checkpoint_from)
            if folder.following:
                return  # sampling and scoring are the first process's
            fresh = synthesize_step(folder, data_root, device, source, out)
        card = score_step(folder, data_root, device, source, no_cache, out)
        card = card.model_copy(update={"failures": count_failures(folder.record, card.failures)})
        gallery_step(folder, data_root, fresh, out)
        out.json(_summary(folder, card))
        _show(folder, card, chosen, from_dir, out)
        if any(card.failures.values()):
            raise typer.Exit(FINISHED_WITH_FAILURES)


def gallery_step(run: "RunFolder", data_root: Path | None, fresh: bool, out: Output) -> None:
    """Draw the first test conditions unless the picture of these images is there."""
    config = run.config
    pictures = [run.gallery]
    if config.protocol.needs_data_root and not _is_control(run):  # a control's images may be the user's own
        pictures.append(run.public_gallery)
    if all(picture.is_file() for picture in pictures) and not fresh:
        out.note("gallery: skipped, the picture is there")
        return
    from ccbench.base.images import read_image
    from ccbench.data.split import open_split
    from ccbench.tables.pictures import GALLERY_ROWS, GalleryRow, draw_gallery

    pairs = open_split(config.protocol, "test", data_root, config.limit).pairs
    rows = [
        GalleryRow(pair.condition.mask, pair.image, read_image(file), pair.condition.prompt)
        for pair, file in zip(pairs[:GALLERY_ROWS], run.image_files(), strict=False)
    ]
    title = f"{config.method} on {config.protocol.name}, seed {config.seed}: the first {len(rows)} test conditions"
    for picture in pictures:
        draw_gallery(rows, picture, title, show_real=picture == run.gallery)
    out.note("gallery: done")


def _is_control(run: "RunFolder") -> bool:
    return run.record.method is not None and run.record.method.control


def _summary(run: "RunFolder", card: "Scorecard") -> dict[str, Any]:
    record = run.record
    return {
        "run_id": record.run_id,
        "output": str(run.path),
        "gallery": str(run.gallery),
        "protocol": record.protocol,
        "protocol_hash": record.protocol_hash,
        "seed": record.seed,
        "not_comparable": list(record.not_comparable),
        "cost": record.cost.model_dump(mode="json"),
        **card.model_dump(mode="json"),
    }


def _show(run: "RunFolder", card: "Scorecard", chosen: options.RunOptions, from_dir: Path | None, out: Output) -> None:
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
    if record.not_comparable:
        out.line(f"no board takes this run: {'; '.join(record.not_comparable)}")
    out.line()
    out.line("next:")
    for line, why in _next_commands(run, chosen, from_dir):
        out.line(f"  {line}\n      {why}")


def _next_commands(run: "RunFolder", chosen: options.RunOptions, from_dir: Path | None) -> list[tuple[str, str]]:
    """Return what a person may want to do now, as commands that work."""
    plain = replace(chosen, sets=None, config=None, output=None, limit=None)
    found = [
        (command("run", *replace(plain, method=name).words()), "another method, on the same conditions")
        for name in _other_methods(run)[:1]
    ]
    if run.record.not_comparable:
        outside = ["--from-dir", from_dir] if from_dir else []
        return [*found, (command("run", *outside, *plain.words()), "the whole protocol, which a board takes")]
    return [*found, (command("leaderboard", "add", run.path), "put this run on the board of its protocol")]


def _other_methods(run: "RunFolder") -> list[str]:
    """Return the other methods, those first that read the same parts of a condition and have not been run."""
    from ccbench.plugins.registry import list_methods

    methods = {entry.name: entry.method.info for entry in list_methods() if entry.method}
    own = methods.get(run.config.method)
    default = run.path.parent / f"{run.config.method}-seed{run.config.seed}" == run.path

    def order(name: str) -> tuple[bool, bool, str]:
        other = run.path.with_name(f"{name}-seed{run.config.seed}")
        return default and other.is_dir(), own is not None and methods[name].needs != own.needs, name

    return sorted((name for name in methods if not methods[name].control and name != run.config.method), key=order)
