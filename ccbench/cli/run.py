"""`ccbench run`: train, synthesise, score and show, each step only where its result is missing."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ccbench.cli import options
from ccbench.cli.output import Output
from ccbench.cli.score import score_step, show_scores
from ccbench.cli.synthesize import synthesize_step
from ccbench.cli.train import train_step
from ccbench.tables import format_count, format_seconds

if TYPE_CHECKING:
    from ccbench.store import RunFolder

FINISHED_WITH_FAILURES = 1


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
    no_cache: options.NoCache = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a method, synthesise the test images, score them and show the table. The same command resumes."""
    out = Output(as_json, quiet)
    chosen = options.RunOptions(method, protocol, data_root, seed, sets, config, output, limit)
    with chosen.open_run() as folder:
        out.note(f"run: {folder.record.run_id} in {folder.path}")
        train_step(folder, data_root, device, out)
        fresh = synthesize_step(folder, data_root, device, out)
        card = score_step(folder, data_root, device, no_cache, out)
        gallery_step(folder, data_root, fresh, out)
        out.json(_summary(folder, card))
        _show(folder, card, out)
        if any({**card["failures"], **folder.record.failures}.values()):
            raise typer.Exit(FINISHED_WITH_FAILURES)


def gallery_step(run: "RunFolder", data_root: Path | None, fresh: bool, out: Output) -> None:
    """Draw the first test conditions unless the picture of these images is there."""
    config = run.config
    pictures = [run.gallery, run.public_gallery] if config.protocol.needs_data_root else [run.gallery]
    if all(picture.is_file() for picture in pictures) and not fresh:
        out.note("gallery: skipped, the picture is there")
        return
    from ccbench.data.sources import open_split
    from ccbench.gallery import GALLERY_ROWS, GalleryRow, draw_gallery
    from ccbench.images import read_image

    pairs = open_split(config.protocol, "test", data_root, config.limit).pairs
    rows = [
        GalleryRow(pair.condition.mask, pair.image, read_image(file), pair.condition.prompt)
        for pair, file in zip(pairs[:GALLERY_ROWS], run.image_files(), strict=False)
    ]
    title = f"{config.method} on {config.protocol.name}, seed {config.seed}: the first {len(rows)} test conditions"
    for picture in pictures:
        draw_gallery(rows, picture, title, show_real=picture == run.gallery)
    out.note("gallery: done")


def _summary(run: "RunFolder", card: dict[str, Any]) -> dict[str, Any]:
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
        **card,
        "failures": {**card["failures"], **record.failures},
    }


def _show(run: "RunFolder", card: dict[str, Any], out: Output) -> None:
    record, cost = run.record, run.record.cost
    out.line(f"{run.config.method} on {record.protocol}, seed {record.seed}")
    show_scores(card, out)
    facts = [f"training {format_seconds(cost.train_seconds)}"]
    facts += [f"{format_seconds(cost.seconds_per_image)} an image"] if cost.seconds_per_image is not None else []
    facts += [f"{format_count(cost.parameters_trained)} trained parameters"] if cost.parameters_trained else []
    out.line(f"cost: {', '.join(facts)}")
    out.line(f"gallery: {run.gallery}")
    if record.not_comparable:
        out.line(f"no board takes this run: {'; '.join(record.not_comparable)}")
    out.line()
    out.line("next:")
    for command, why in _next_commands(run):
        out.line(f"  {command}\n      {why}")


def _next_commands(run: "RunFolder") -> list[tuple[str, str]]:
    """What a person may want to do now, as commands that work."""
    from ccbench.registry import list_methods

    config = run.config
    data = " --data-root DIR" if config.protocol.needs_data_root else ""
    where = "" if config.protocol.name == options.DEFAULT_PROTOCOL else f" --protocol {config.protocol.name}{data}"
    others = [entry.name for entry in list_methods() if entry.method and entry.name != config.method]
    found = [(f"ccbench run --method {name}{where}", "another method, on the same conditions") for name in others[:1]]
    if run.record.not_comparable:
        return [*found, (f"ccbench run --method {config.method}{where}", "the whole protocol, which a board takes")]
    return [*found, (f"ccbench leaderboard add {run.path}", "put this run on the board of its protocol")]
