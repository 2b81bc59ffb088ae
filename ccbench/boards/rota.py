"""Which published run is scored again today: over the days each has its turn."""

from pathlib import Path

from ccbench.boards.board_files import list_boards, read_board
from ccbench.protocols.protocol import find_protocol
from ccbench.runs import RunFolder


def run_due(boards: Path, runs: Path, day: int, with_data: bool) -> Path | None:
    """Return the folder of the published run whose turn it is, among those below `runs`; None if none of them is there.

    Args:
        runs: holds run folders as `ccbench run` lays them out: PROTOCOL/RUN.
        day: a number that grows by one a day.
        with_data: whether runs count whose real images the user has to bring.
    """
    published = {
        (filed.result.record.protocol, filed.result.record.run_id)
        for path in list_boards(boards)
        for filed in read_board(path).results
    }
    folders = sorted(path for path in runs.glob("*/*") if RunFolder.is_there(path))
    records = [(path, RunFolder.read(path).record) for path in folders]
    due = [
        path
        for path, record in records
        if (record.protocol, record.run_id) in published
        and (with_data or not find_protocol(record.protocol).needs_data_root)
    ]
    return due[day % len(due)] if due else None
