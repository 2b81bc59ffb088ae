"""The options that several commands share, and the run folder that they name."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ccbench.errors import UsageError

if TYPE_CHECKING:
    from ccbench.base.assets import BackboneSource
    from ccbench.cli.output import Output
    from ccbench.features.feature_cache import FeatureCache
    from ccbench.protocols.config import RunConfig
    from ccbench.runs import RunFolder
    from ccbench.scoring.run_scorer import RunScorer


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


@dataclass(frozen=True)
class RunOptions:
    """The options that decide a run and where it lies, as they were typed."""

    method: str
    protocol: str
    data_root: Path | None
    seed: int
    sets: list[str] | None
    config: Path | None
    output: Path | None
    limit: int | None

    def resolve(self) -> "tuple[RunConfig, Path]":
        """Return the run's configuration and its folder.

        Raises:
            UsageError: an unknown name, key or value. DataError: the data root does not hold what the protocol reads.
        """
        from ccbench.data.split import check_data
        from ccbench.plugins.registry import find_method
        from ccbench.protocols.config import resolve_config
        from ccbench.protocols.protocol import find_protocol
        from ccbench.runs import default_run_folder

        protocol = find_protocol(self.protocol)
        method = find_method(self.method)
        config = resolve_config(
            method, protocol, file=self.config, sets=self.sets or (), seed=self.seed, limit=self.limit
        )
        if protocol.needs_data_root:
            check_data(protocol, self.data_root, self.limit)
        return config, self.output or default_run_folder(config)

    def words(self) -> list[str]:
        """Return the options as words of a command line."""
        given = {
            "--method": self.method,
            "--protocol": None if self.protocol == DEFAULT_PROTOCOL else self.protocol,
            "--data-root": self.data_root,
            "--seed": self.seed or None,
            "--config": self.config,
            "--output": self.output,
            "--limit": self.limit,
        }
        words = [str(word) for pair in given.items() if pair[1] is not None for word in pair]
        return words + [word for text in self.sets or () for word in ("--set", text)]

    def open_run(self) -> "RunFolder":
        """Create or resume the run folder; see `resolve` for the errors."""
        from ccbench.runs import RunFolder

        config, path = self.resolve()
        return RunFolder.open(path, config)


def open_cache(no_cache: bool, out: "Output") -> "FeatureCache | None":
    """Return the user's feature cache, or None where it is not wanted."""
    from ccbench.features.feature_cache import FeatureCache, default_folder

    return None if no_cache else FeatureCache(default_folder(), out.note)


def open_scorer(
    data_root: Path | None, device: str, backbone: "BackboneSource", no_cache: bool, out: "Output"
) -> "RunScorer":
    """Return what scores runs as a command's options say."""
    from ccbench.scoring.run_scorer import RunScorer

    return RunScorer(
        data_root,
        device=pick_device(device),
        backbone=backbone,
        cache=open_cache(no_cache, out),
        progress=out.progress(),
        note=out.note,
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


def pick_device(name: str) -> str:
    """Return the device to use for `auto`, `cpu`, `cuda` or `cuda:N`.

    Raises:
        UsageError: CUDA on a machine where torch sees none, or not so many.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    found = torch.cuda.device_count()
    if name != "cpu" and int(name.partition(":")[2] or 0) >= found:
        raise UsageError(f"--device: {name} asked for and torch sees {found} CUDA devices; use --device cpu")
    return name
