"""`ccbench leaderboard`: publish complete runs and render the tables."""

from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ccbench.cli import options
from ccbench.cli.output import Output
from ccbench.errors import UsageError

if TYPE_CHECKING:
    from ccbench.boards.board_files import Board

app = typer.Typer(help="Publish complete runs and render the tables.")

Boards = Annotated[Path, typer.Option("--boards", help="Folder of the boards.", metavar="DIR")]
DEFAULT_BOARDS = Path("leaderboards")


@app.callback()
def leaderboard() -> None:
    """Publish complete runs and render the tables."""


@app.command("add")
def add(
    runs: Annotated[list[Path], typer.Argument(help="Folders of complete, scored runs.", metavar="RUN...")],
    data_root: options.DataRoot = None,
    boards: Boards = DEFAULT_BOARDS,
    device: options.Device = "auto",
    backbone: options.Backbone = None,
    allow_pickle: options.AllowPickle = False,
    no_cache: options.NoCache = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the place of runs of the same configuration and seed.")
    ] = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Verify complete runs, put them on their protocol's board, and render the board."""
    from ccbench.boards.additions import add_run
    from ccbench.boards.copies import RealThumbnails, real_thumbnails
    from ccbench.boards.rendered_boards import render_boards
    from ccbench.protocols.protocol import find_protocol

    out = Output(as_json, quiet)
    session = options.open_session(out, data_root, device, backbone, allow_pickle, no_cache)

    @cache
    def real(protocol: str) -> RealThumbnails:
        return real_thumbnails(find_protocol(protocol), data_root)

    results, pages = list[Path](), list[Path]()
    try:
        for run in runs:
            added = add_run(run, boards, session, real, replace)
            results.append(added.file)
            out.line(f"{'added' if added.new else 'there already:'} {added.file}")
    finally:  # of several runs one may be refused: those before it are on the board
        pages += render_boards(boards) if results else []
    out.json({"results": [str(result) for result in results], "pages": [str(page) for page in pages]})
    for page in pages:
        out.line(f"rendered {page}")


@app.command("render")
def render(
    boards: Boards = DEFAULT_BOARDS,
    check: Annotated[bool, typer.Option("--check", help="As `ccbench leaderboard check`.")] = False,
    as_json: options.Json = False,
) -> None:
    """Render every board, the tables beside it, and the index from the records."""
    _render(boards, check, Output(as_json))


@app.command("check")
def check_boards(
    boards: Boards = DEFAULT_BOARDS,
    runs: Annotated[
        Path | None,
        typer.Option(
            "--runs",
            help="Folder of run folders: one run of a board is also verified, a different one each day.",
            metavar="DIR",
        ),
    ] = None,
    data_root: options.DataRoot = None,
    device: options.Device = "auto",
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Compare every page and table with what its records give; drift is exit code 5. Nothing is written."""
    out = Output(as_json, quiet)
    _render(boards, True, out)
    if runs is not None:
        _verify_due(boards, runs, data_root, device, out)


def _verify_due(boards: Path, runs: Path, data_root: Path | None, device: str, out: Output) -> None:
    from datetime import UTC, datetime

    from ccbench.boards.rota import run_due

    due = run_due(boards, runs, datetime.now(UTC).toordinal(), data_root is not None)
    if due is None:
        out.note(f"{runs}: holds no run that is on a board and can be scored here")
        return
    from ccbench.boards.held_record import check_held
    from ccbench.pipeline.verification import verify_run

    session = options.open_session(out, data_root, device, no_cache=True)
    found = verify_run(due, session, partial(check_held, boards=boards, note=out.note))
    out.note(f"{found.run_id}: {found.state}")
    found.require_no_drift(due)


def _render(boards: Path, check: bool, out: Output) -> None:
    from ccbench.boards.rendered_boards import render_boards
    from ccbench.studies.ablation.ablation_page import ABLATION_TABLES
    from ccbench.studies.segmentation.segmentation_page import SEGMENTATION_TABLES

    pages = [*render_boards(boards, check)]
    for kind in (SEGMENTATION_TABLES, ABLATION_TABLES):
        pages += kind.render_all(boards, check)
    out.json({"pages": [str(page) for page in pages], "checked": check})
    for page in pages:
        out.line(f"{'up to date' if check else 'rendered'}: {page}")
    if not pages:
        out.line(f"no boards in {boards}; `ccbench leaderboard add RUN` makes the first one")


@app.command("show")
def show(
    board: Annotated[str, typer.Argument(help="Protocol of the board.", metavar="PROTOCOL")] = options.DEFAULT_PROTOCOL,
    boards: Boards = DEFAULT_BOARDS,
    as_json: options.Json = False,
) -> None:
    """Print the tables of one board: methods, then controls, group by group."""
    from ccbench.boards.score_table import board_rows, by_place, metrics_of, score_table
    from ccbench.metrics import metric_info
    from ccbench.tables.format import METRIC_GROUPS, metric_heading

    out, found = Output(as_json), _open(boards, board)
    table = score_table(found)
    lines = by_place(table)
    out.json([line._asdict() for line in table])
    for group, title in METRIC_GROUPS.items():
        metrics = [metric for metric in metrics_of(found) if metric_info(metric).group == group]
        if not metrics:
            continue
        out.line(title or f"{board}: mean ± standard deviation over the seeds")
        rows = [
            (row.name, ", ".join(map(str, row.seeds)), *(lines[row.name, metric].shown for metric in metrics))
            for row in board_rows(found)
        ]
        header = ("row", "seeds", *map(metric_heading, metrics))
        out.table(header, rows, right=range(2, len(header)))


@app.command("export")
def export(
    row: Annotated[str, typer.Option("--row", help="Method, as the board names it.", metavar="NAME")],
    form: Annotated[str, typer.Option("--format", help="hf: Hugging Face's model-index.", metavar="NAME")] = "hf",
    board: Annotated[str, typer.Argument(help="Protocol of the board.", metavar="PROTOCOL")] = options.DEFAULT_PROTOCOL,
    boards: Boards = DEFAULT_BOARDS,
) -> None:
    """Print one row in a form that others read, for the head of a model's README."""
    from ccbench.boards.model_index import render_model_index

    if form != "hf":
        raise UsageError(f"--format: found {form!r}, wanted hf")
    Output().line(render_model_index(_open(boards, board), row).rstrip("\n"))


def _open(boards: Path, name: str) -> "Board":
    from ccbench.boards.board_files import list_boards, read_board

    known = [path.name for path in list_boards(boards)]
    if name not in known:
        raise UsageError(f"{boards}: no board of {name!r}; there are {', '.join(known) or 'none'}")
    return read_board(boards / name)
