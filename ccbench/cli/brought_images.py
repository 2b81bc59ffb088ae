"""What `ccbench run --from-dir` does instead of training and sampling: images of another program join as a run."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ccbench.cli.options import RunOptions
from ccbench.cli.output import Output
from ccbench.errors import UsageError

if TYPE_CHECKING:
    from ccbench.pipeline.outside_images import OutsideRun
    from ccbench.runs import RunFolder

FromDir = Annotated[
    Path | None,
    typer.Option("--from-dir", help="Images made by another program, one PNG a test condition.", metavar="DIR"),
]
Title = Annotated[str | None, typer.Option("--title", help="With --from-dir: name of the generator.", metavar="TEXT")]
Licence = Annotated[str | None, typer.Option("--licence", help="With --from-dir: of its code.", metavar="TEXT")]
Code = Annotated[str | None, typer.Option("--code", help="With --from-dir: where its code is.", metavar="URL")]


@dataclass(frozen=True)
class OutsideOptions:
    """The options that only images from outside have, as they were typed."""

    from_dir: Path | None
    title: str | None
    licence: str | None
    code: str | None

    def check(self, chosen: RunOptions, out: Output) -> "OutsideRun | None":
        """Return the checked images; None without `--from-dir`.

        Raises:
            UsageError: options that do not go together, or a name that is taken. DataError: see `check_outside`.
        """
        if self.from_dir is None:
            stray = [f"--{name}" for name in ("title", "licence", "code") if getattr(self, name) is not None]
            if stray:
                raise UsageError(f"{stray[0]}: describes images of another program; give their folder as --from-dir")
            return None
        if chosen.sets or chosen.config:
            option = "--set" if chosen.sets else "--config"
            raise UsageError(f"{option}: --from-dir runs no method, so there is nothing to set; leave it out")
        from ccbench.pipeline.outside_images import check_outside
        from ccbench.protocols.protocol import find_protocol

        return check_outside(
            self.from_dir,
            chosen.method,
            find_protocol(chosen.protocol),
            chosen.data_root,
            seed=chosen.seed,
            limit=chosen.limit,
            title=self.title,
            licence=self.licence,
            code=self.code,
            progress=out.progress(),
        )


def open_run(chosen: RunOptions, outside: "OutsideRun") -> "RunFolder":
    """Create or resume the run folder of images from outside."""
    from ccbench.runs import RunFolder

    config = outside.config
    limited = "" if config.limit is None else f"-{config.config_hash[:8]}"
    default = Path("runs", config.protocol.name, f"{config.method}-seed{config.seed}{limited}")
    return RunFolder.open(chosen.output or default, config)


def bring_step(run: "RunFolder", outside: "OutsideRun", out: Output) -> bool:
    """Copy the images that are missing; return whether there were any."""
    from ccbench.pipeline.outside_images import bring

    fresh = not run.is_sampled()
    bring(run, outside, out.progress())
    out.note(f"images: {'copied' if fresh else 'skipped, the run has'} all {len(outside.images)}")
    return fresh
