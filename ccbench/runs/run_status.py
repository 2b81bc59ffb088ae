"""How far the runs in a folder are, as their records say; nothing is locked or changed."""

from pathlib import Path
from typing import NamedTuple

from ccbench.base.folder_files import is_locked
from ccbench.errors import DataError, UsageError
from ccbench.runs.record_file import RECORD
from ccbench.runs.run_folder import RunFolder


class RunStatus(NamedTuple):
    """How far a run is.

    Attributes:
        state: `running`, `interrupted` by a signal or killed, `failed`, `started`, which waits for the next command;
            of a run with all its images `scored`, `scoring` or `not scored`; or `unreadable`.
        step: what is done now, or was at the last sign of life.
        done, total: units of the step; images where nothing is under way.
        seconds_left: of the step.
        heartbeat: when it last gave a sign of life, ISO 8601; None where nobody works on it.
        error: why it failed or cannot be read.
    """

    path: str
    run_id: str
    state: str
    step: str
    done: int
    total: int
    seconds_left: float | None
    heartbeat: str | None
    error: str | None


def find_runs(folder: Path) -> list[Path]:
    """Return the run folders at or below a folder, sorted.

    Raises:
        UsageError: there is none.
    """
    found = sorted(path.parent for path in folder.rglob(RECORD)) if folder.is_dir() else []
    if not found:
        raise UsageError(f"{folder}: found no run at or below it (no {RECORD}); give the folder of runs")
    return found


def read_status(path: Path) -> RunStatus:
    """Return how far the run in a folder is; one whose files cannot be read is `unreadable`."""
    try:
        return _read_status(RunFolder.read(path))
    except DataError as error:
        return RunStatus(str(path), "", "unreadable", "", 0, 0, None, None, str(error))


def _read_status(run: RunFolder) -> RunStatus:
    record, state = run.record, run.state
    step, done, total, left = "", 0, 0, None
    if record.doing is not None:
        step, done, total = record.doing.step, record.doing.done, record.doing.total
        left = record.doing.seconds_left if state == "running" else None
    elif record.conditions is not None:
        step, done, total = "images", len(run.samples()), record.conditions.n
    if state == "complete":
        state = "scored" if run.scorecard() else "scoring" if is_locked(run.path) else "not scored"
    return RunStatus(str(run.path), record.run_id, state, step, done, total, left, record.heartbeat, record.error)
