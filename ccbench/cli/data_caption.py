"""`ccbench data caption | attributes`: captions for a folder of images, and how right what they say is."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from ccbench.cli import options
from ccbench.cli.output import Output
from ccbench.errors import UsageError

if TYPE_CHECKING:
    from ccbench.base.mask_files import MaskRule
    from ccbench.data.attributes.accuracy import AttributeAccuracy
    from ccbench.data.captioners import Captioner
    from ccbench.data.name_matching import PairFiles

FINISHED_WITH_FAILURES = 1
SAVE_EVERY = 10.0  # seconds, since an agent's answer may take many


def register(app: typer.Typer) -> None:
    """Add these commands to `ccbench data`."""
    app.command("caption")(caption)
    app.command("attributes")(attributes)


def caption(
    images: Annotated[Path, typer.Option("--images", help="Folder of images.", metavar="DIR")],
    masks: Annotated[
        Path, typer.Option("--masks", help="Folder of masks, called as their images; see docs/data.md.", metavar="DIR")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="JSON Lines file to write.", metavar="FILE")],
    captioner: Annotated[
        str,
        typer.Option("--captioner", help="measured, measured-1, or agent: a model.", metavar="NAME"),
    ] = "measured",
    model: Annotated[
        str | None, typer.Option("--model", help="The agent's model: a local folder or a hub id.", metavar="MODEL")
    ] = None,
    revision: Annotated[
        str | None, typer.Option("--revision", help="Branch, tag or commit of a hub id.", metavar="REVISION")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="First N images only.", metavar="N")] = None,
    polyp_is: options.PolypIs = None,
    device: options.Device = "auto",
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Caption each image of a folder from its pixels and its mask. The same command again keeps what is written."""
    from ccbench.base.mask_files import parse_mask_rule
    from ccbench.data.captioners.folder_captions import list_pairs

    out, rule = Output(as_json, quiet), parse_mask_rule(polyp_is)
    joined = list_pairs(images, masks)
    chosen = _open_captioner(captioner, model, revision, device)
    for note in joined.notes:
        out.warn(note)
    if joined.reworded:
        out.note(f"paired {joined.pairing()}")
    written, failed = _write_captions(chosen, joined.pairs, limit, output, rule, out)
    out.json({"captioner": chosen.id, "output": str(output), "captions": written, "failed": failed})
    out.line(f"wrote {written} captions of {chosen.id} to {output}")
    for reason in failed:
        out.warn(f"no caption: {reason}")
    if failed:
        raise typer.Exit(FINISHED_WITH_FAILURES)


def _write_captions(
    captioner: "Captioner",
    pairs: "Sequence[PairFiles]",
    limit: int | None,
    output: Path,
    rule: "MaskRule | None",
    out: Output,
) -> tuple[int, list[str]]:
    """Caption the first `limit` pairs; return how many have a caption, and why the others have none.

    Lines of later pairs are kept as they are.
    """
    from ccbench.base.files import json_lines, write_output
    from ccbench.data.captioners import NoCaption
    from ccbench.data.captioners.folder_captions import Line, caption_pairs, read_lines_of

    done = read_lines_of(captioner, output)
    waiting = {pair.id: done[pair.id] for pair in pairs if pair.id in done}
    selected, lines, failed = pairs[:limit], list[Line](), list[str]()

    def save() -> None:
        write_output(output, json_lines((*lines, *waiting.values())))

    saved = time.monotonic()
    with out.progress().step("caption images", len(selected)) as step:
        try:
            for pair, result in zip(selected, caption_pairs(captioner, selected, done, rule), strict=True):
                waiting.pop(pair.id, None)
                if isinstance(result, NoCaption):
                    failed.append(str(result))
                else:
                    lines.append(result)
                if time.monotonic() - saved > SAVE_EVERY:
                    save()
                    saved = time.monotonic()
                step.advance(note=f"{len(failed)} without" if failed else "")
        finally:
            if lines or done:
                save()
    return len(lines), failed


def _open_captioner(name: str, model: str | None, revision: str | None, device: str) -> "Captioner":
    from ccbench.data.captioners import AgentCaptioner, MeasuredCaptioner, Version, open_chat_model

    if name in ("measured", *get_args(Version)):
        if model is not None or revision is not None:
            raise UsageError("--model and --revision are for --captioner agent; leave them out or add it")
        return MeasuredCaptioner() if name == "measured" else MeasuredCaptioner(cast("Version", name))
    if name != "agent":
        raise UsageError(f"--captioner: found {name!r}, wanted measured or agent")
    if model is None:
        raise UsageError("--captioner agent: needs --model, a local folder or a hub id of a Hugging Face model")
    from ccbench.base.workers import pick_device

    return AgentCaptioner(open_chat_model(model, revision, pick_device(device)))


def attributes(
    n: Annotated[int, typer.Option("--n", min=1, max=100_000, help="How many phantoms to measure.")] = 500,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The phantoms follow from it.")] = 0,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Print how often each attribute that captions state is measured right, on phantoms, whose attributes are known."""
    from ccbench.data.attributes.accuracy import check_attributes

    out = Output(as_json, quiet)
    results = check_attributes(n, seed, out.progress())
    out.json({"n": n, "seed": seed, "attributes": {result.name: _facts(result) for result in results}})
    rows = [
        (
            result.name,
            f"{result.accuracy:.1%}",
            ", ".join(f"{value} {share:.0%}" for value, share in result.recall().items()),
            ", ".join(f"{true} as {measured} {n}" for true, measured, n in result.mistakes()[:3]) or "none",
        )
        for result in results
    ]
    out.table(("attribute", "right", "right of each value", "mistaken most often"), rows, right=(1,), wrap=(2, 3))
    out.line(f"{n} phantoms, seed {seed}; size and position are read off the mask alone")


def _facts(result: "AttributeAccuracy") -> dict[str, object]:
    mistakes = [{"true": true, "measured": measured, "n": n} for true, measured, n in result.mistakes()]
    return {"n": result.n, "accuracy": result.accuracy, "recall": result.recall(), "mistakes": mistakes}
