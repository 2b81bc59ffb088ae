"""`ccbench score`: score a run, or any two folders of images."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ccbench.cli import options
from ccbench.cli.output import Output
from ccbench.errors import UsageError
from ccbench.tables.format import format_span, format_value, interval_notes, metric_heading

if TYPE_CHECKING:
    from ccbench.pipeline.session import Session
    from ccbench.runs.scorecard import Scorecard, SourceScores
    from ccbench.types import Score

_Folder = Annotated[Path | None, typer.Argument(help="Run folder to score, unless --images is given.", metavar="RUN")]
_Images = Annotated[Path | None, typer.Option("--images", help="Folder of images to score.", metavar="DIR")]
_Reference = Annotated[Path | None, typer.Option("--reference", help="Folder of real images.", metavar="DIR")]
_Prompts = Annotated[
    Path | None,
    typer.Option("--prompts", help='JSON Lines, {"id": file stem, "prompt": text}; for CLIP-score.', metavar="FILE"),
]
_Encoder = Annotated[
    str, typer.Option("--encoder", help="Of the set distances: lite0, inception, ...; see doctor.", metavar="NAME")
]
_Weights = Annotated[Path | None, typer.Option("--weights", help="Weights file of --encoder.", metavar="FILE")]
_TextEncoder = Annotated[
    str | None,
    typer.Option("--text-encoder", help="Of CLIP-score and CLIP-image: mini-clip, clip-vit-b-16.", metavar="NAME"),
]
_TextWeights = Annotated[
    Path | None, typer.Option("--text-weights", help="Weights file or folder of --text-encoder.", metavar="PATH")
]
_DEFAULT_ENCODER = "lite0"
_CONTROLS = {
    "real-split": "real images scored the same way",
    "vae-ceiling": "real test images through the backbone's VAE, the best that its latents can hold",
}


def score(
    folder: _Folder = None,
    images: _Images = None,
    reference: _Reference = None,
    prompts: _Prompts = None,
    encoder: _Encoder = _DEFAULT_ENCODER,
    weights: _Weights = None,
    text_encoder: _TextEncoder = None,
    text_weights: _TextWeights = None,
    data_root: options.DataRoot = None,
    device: options.Device = "auto",
    backbone: options.Backbone = None,
    allow_pickle: options.AllowPickle = False,
    no_cache: options.NoCache = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Score a run folder, or any folder of images against a folder of real ones."""
    out = Output(as_json, quiet)
    session = options.open_session(out, data_root, device, backbone, allow_pickle, no_cache)
    if folder is not None:
        own = (images, reference, prompts, weights, text_encoder, text_weights)
        if encoder != _DEFAULT_ENCODER or any(value is not None for value in own):
            raise UsageError(
                f"{folder}: a run is scored as its protocol says; give the run folder alone, or --images and "
                "--reference without it"
            )
        _score_run(folder, session, out)
        return
    if images is None or reference is None:
        raise UsageError("score: give a run folder, or both --images DIR and --reference DIR")
    from ccbench.scoring import score_folders

    card = score_folders(
        images,
        reference,
        prompts=prompts,
        set_encoder=encoder,
        set_weights=weights,
        text_encoder=text_encoder,
        text_weights=text_weights,
        device=session.torch_device,
        cache=session.cache,
        progress=session.progress,
        note=session.warn,
    ).card
    out.json({"images": images.resolve().name, "reference": reference.resolve().name, **card.model_dump(mode="json")})
    show_scores(card, out)


def _score_run(folder: Path, session: "Session", out: Output) -> None:
    from ccbench.pipeline.run_scorer import score_run
    from ccbench.runs import RunFolder
    from ccbench.runs.record import count_failures

    with RunFolder.open(folder) as run:
        card = score_run(run, session)
        card = card.model_copy(update={"failures": count_failures(run.record, card.failures)})
        out.json({"run_id": run.record.run_id, "output": str(run.path), **card.model_dump(mode="json")})
        show_scores(card, out)


def show_scores(card: "Scorecard", out: Output) -> None:
    """Print the scores, each beside the values that the controls reach; of a mixed split also each data set's alone."""
    _show_table(card, out)
    for name, part in card.by_source.items():
        out.line(f"{name} alone:")
        _show_table(part, out)
    for name in card.controls:
        out.line(f"{name}: {_CONTROLS[name]}")
    out.line("distances compare only at equal n")
    for score in card.scores:
        if score.reason:
            out.line(f"{score.metric}: {score.reason}")
    if card.notes.memorised:
        out.line("memorisation: images lie near to training images; look at nearest-training.png before showing any")
    failed = {kind: count for kind, count in card.failures.items() if count}
    if failed:
        out.line("failures: " + ", ".join(f"{count} {kind}" for kind, count in failed.items()))


def _show_table(part: "Scorecard | SourceScores", out: Output) -> None:
    """Print the scores of one set of images, with the controls' own n where that differs."""
    controls = {
        name: {score.metric: score for score in scores if score.value is not None}
        for name, scores in part.controls.items()
    }
    rows = []
    for score in part.scores:
        metric, shown = score.metric, [_control_cell(score, found.get(score.metric)) for found in controls.values()]
        rows.append(
            (metric_heading(metric), format_value(metric, score.value), interval_text(score), *shown, _counts(score))
        )
    header = ("metric", "value", f"{interval_level(part.scores)}interval", *controls, "n x real n")
    out.table(header, rows, right=range(1, len(header)))
    for note in interval_notes([(score.metric, score.no_interval) for score in part.scores]):
        out.line(note)


def interval_text(score: "Score") -> str:
    """Return a score's interval as tables show it; nothing where there is none."""
    return "" if score.interval is None else format_span(score.metric, score.interval.low, score.interval.high)


def interval_level(scores: "Sequence[Score]") -> str:
    """Return the level of the intervals for the head of their column, such as `95% `; nothing where there are none."""
    return next((f"{score.interval.level:.0%} " for score in scores if score.interval), "")


def _control_cell(score: "Score", control: "Score | None") -> str:
    if control is None:
        return "-"
    other = f" (n {_counts(control)})" if _counts(control) != _counts(score) else ""
    return format_value(score.metric, control.value) + other


def _counts(score: "Score") -> str:
    return str(score.n) if score.n_real is None else f"{score.n} x {score.n_real}"
