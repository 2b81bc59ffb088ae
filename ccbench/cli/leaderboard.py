"""`ccbench leaderboard`: publish complete runs and render the tables."""

from pathlib import Path
from typing import Annotated

import typer

from ccbench.cli import options
from ccbench.cli.output import Output

app = typer.Typer(help="Publish complete runs and render the tables.")

Boards = Annotated[Path, typer.Option("--boards", help="Folder of the boards.", metavar="DIR")]
DEFAULT_BOARDS = Path("leaderboards")


@app.callback()
def leaderboard() -> None:
    """Publish complete runs and render the tables."""


@app.command("add")
def add(
    run: Annotated[Path, typer.Argument(help="Folder of a complete, scored run.", metavar="RUN")],
    boards: Boards = DEFAULT_BOARDS,
    as_json: options.Json = False,
) -> None:
    """Put a complete run on its protocol's board, and render the board."""
    from ccbench.board import add_run, render_boards

    out = Output(as_json)
    result = add_run(run, boards)
    pages = render_boards(boards)
    out.json({"result": str(result), "pages": [str(page) for page in pages]})
    out.line(f"added {result}")
    for page in pages:
        out.line(f"rendered {page}")


@app.command("render")
def render(
    boards: Boards = DEFAULT_BOARDS,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail when a page is out of date.")] = False,
    as_json: options.Json = False,
) -> None:
    """Render every board, the tables beside it, and the index from the records."""
    from ccbench.ablation.rendering import ABLATION_TABLES
    from ccbench.board import render_boards
    from ccbench.downstream.rendering import SEGMENTATION_TABLES

    out = Output(as_json)
    pages = [*render_boards(boards, check)]
    for kind in (SEGMENTATION_TABLES, ABLATION_TABLES):
        pages += kind.render_all(boards, check)
    out.json({"pages": [str(page) for page in pages], "checked": check})
    for page in pages:
        out.line(f"{'up to date' if check else 'rendered'}: {page}")
    if not pages:
        out.line(f"no boards in {boards}; `ccbench leaderboard add RUN` makes the first one")
