"""The options of `ccbench run --from-dir`: images of another program join as a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ccbench.errors import UsageError

FromDir = Annotated[
    Path | None,
    typer.Option("--from-dir", help="Images made by another program, one PNG a test condition.", metavar="DIR"),
]
Title = Annotated[str | None, typer.Option("--title", help="With --from-dir: name of the generator.", metavar="TEXT")]
Licence = Annotated[str | None, typer.Option("--licence", help="With --from-dir: of its code.", metavar="TEXT")]
Code = Annotated[str | None, typer.Option("--code", help="With --from-dir: where its code is.", metavar="URL")]


def check_together(
    from_dir: Path | None, said: dict[str, str | None], sets: Sequence[str] | None, config: Path | None
) -> None:
    """Refuse options that do not go together with `--from-dir`, or without it.

    Args:
        said: what is said of the program, by option.

    Raises:
        UsageError: there is one.
    """
    stray = [name for name, text in said.items() if text is not None]
    if from_dir is None and stray:
        raise UsageError(f"--{stray[0]}: describes images of another program; give their folder as --from-dir")
    if from_dir is not None and (sets or config):
        option = "--set" if sets else "--config"
        raise UsageError(f"{option}: --from-dir runs no method, so there is nothing to set; leave it out")
