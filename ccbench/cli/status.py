"""`ccbench status`: how far runs are, from outside."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ccbench.cli import options
from ccbench.cli.output import Output
from ccbench.tables.format import format_seconds

if TYPE_CHECKING:
    from ccbench.runs.run_status import RunStatus

_HEADER = ("run", "state", "step", "done", "left", "sign of life")

_Folders = Annotated[list[Path], typer.Argument(help="Run folders, or folders that hold some.", metavar="RUN...")]


def status(runs: _Folders, as_json: options.Json = False) -> None:
    """Print how far runs are, finished, under way or interrupted. Nothing is disturbed."""
    from ccbench.runs.run_status import find_runs, read_status

    out = Output(as_json)
    found = [read_status(path) for path in dict.fromkeys(path for folder in runs for path in find_runs(folder))]
    out.json([one._asdict() for one in found])
    out.table(_HEADER, [_row(one) for one in found], right=(3, 4), wrap=(0,))
    for one in found:
        if one.error:
            out.line(f"{one.path}: {one.error}")


def _row(run: "RunStatus") -> tuple[str, ...]:
    left = "-" if run.seconds_left is None else format_seconds(run.seconds_left)
    done = f"{run.done}/{run.total}" if run.total else "-"
    return run.path, run.state, run.step or "-", done, left, _ago(run.heartbeat)


def _ago(when: str | None) -> str:
    if when is None:
        return "-"
    return f"{format_seconds(max(1.0, (datetime.now(UTC) - datetime.fromisoformat(when)).total_seconds()))} ago"
