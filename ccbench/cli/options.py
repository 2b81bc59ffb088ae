"""The options that several commands share."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ccbench.errors import UsageError

if TYPE_CHECKING:
    from ccbench.cli.output import Output
    from ccbench.pipeline.session import Session


def _known_device(name: str) -> str:
    """Refuse a name that is no device before anything is written; torch is not asked yet."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise UsageError(f"--device: found {name!r}, wanted auto, cpu, cuda or cuda:N")
    return name


Method = Annotated[str, typer.Option("--method", "-m", help="Method; `ccbench methods` lists them.", metavar="NAME")]
Protocol = Annotated[
    str, typer.Option("--protocol", "-p", help="Frozen protocol; `ccbench protocols` lists them.", metavar="NAME")
]
DataRoot = Annotated[
    Path | None,
    typer.Option("--data-root", help="Folder of the real images, for a protocol that needs them.", metavar="DIR"),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Run seed; training, order and noise follow.", metavar="N")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change a setting, e.g. method.guidance_scale=3; may be repeated.", metavar="KEY=VALUE"),
]
Config = Annotated[
    Path | None,
    typer.Option("--config", help="TOML file of settings; --set goes before it.", metavar="FILE"),
]
RunOutput = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Run folder; runs/PROTOCOL/METHOD-seedN unless given.", metavar="DIR"),
]
Device = Annotated[
    str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.", metavar="NAME", callback=_known_device)
]
Backbone = Annotated[
    str | None,
    typer.Option(
        "--backbone",
        help="The protocol's backbone where you have it: a diffusers folder, a single-file checkpoint or a hub id.",
        metavar="REF",
    ),
]
AllowPickle = Annotated[
    bool,
    typer.Option("--allow-pickle", help="Read PyTorch pickles (.ckpt, .pt, .pth) given as weights; tensors only."),
]
Limit = Annotated[
    int | None,
    typer.Option("--limit", min=1, help="First N items of each split only; no board takes such a run.", metavar="N"),
]
Quick = Annotated[
    bool,
    typer.Option("--quick", help="A first look in minutes: less training, fewer images; no board takes such a run."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes on stderr.")]
Jobs = Annotated[
    int | None, typer.Option("--jobs", min=1, help="Processes on a CPU; one a core unless given.", metavar="N")
]
Store = Annotated[bool, typer.Option("--store", help="Keep the table with the protocol's board.")]
NoCache = Annotated[
    bool, typer.Option("--no-cache", help="Compute every feature; neither read nor fill the feature cache.")
]

PolypIs = Annotated[
    str | None,
    typer.Option(
        "--polyp-is",
        help="Which pixels of a mask are polyp, where not those above 127: bright, dark, alpha, values:1,2 or "
        "colours:FF0000.",
        metavar="RULE",
    ),
]

DEFAULT_PROTOCOL = "phantom-128"


def run_words(
    method: str,
    protocol: str,
    data_root: Path | None,
    seed: int,
    *,
    sets: Sequence[str] | None = None,
    config: Path | None = None,
    output: Path | None = None,
    limit: int | None = None,
    quick: bool = False,
) -> list[str]:
    """Return the options that decide a run and where it lies as words of a command line."""
    given = {
        "--method": method,
        "--protocol": None if protocol == DEFAULT_PROTOCOL else protocol,
        "--data-root": data_root,
        "--seed": seed or None,
        "--config": config,
        "--output": output,
        "--limit": limit,
    }
    words = [str(word) for pair in given.items() if pair[1] is not None for word in pair]
    words += ["--quick"] if quick else []
    return words + [word for text in sets or () for word in ("--set", text)]


def open_session(
    out: "Output",
    data_root: Path | None,
    device: str,
    backbone: str | None = None,
    allow_pickle: bool = False,
    no_cache: bool = False,
    shared: Path | None = None,
) -> "Session":
    """Return what a command's options say of where things are; features are cached in the user's folder."""
    from ccbench.base.assets import BackboneSource
    from ccbench.features.feature_cache import default_folder
    from ccbench.pipeline.session import Session

    return Session(
        data_root=data_root,
        device=device,
        backbone=BackboneSource(backbone, allow_pickle),
        cache_folder=None if no_cache else default_folder(),
        shared=shared,
        progress=out.progress(),
        note=out.note,
        warn=out.warn,
    )


def read_seeds(text: str) -> tuple[int, ...]:
    """Return the seeds of `--seeds`.

    Raises:
        UsageError: not different numbers from 0 on, with commas between them.
    """
    try:
        seeds = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"--seeds: found {text!r}, wanted numbers such as 0,1,2") from error
    if len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise UsageError(f"--seeds: found {text!r}, wanted different numbers from 0 on")
    return seeds
