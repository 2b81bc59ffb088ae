"""Keeps a comparison beside the board of its protocol."""

from collections.abc import Sequence
from pathlib import Path

from ccbench.base.files import remove_file, write_atomic
from ccbench.boards.board_files import read_board
from ccbench.boards.comparison_file import BoardComparison, comparison_file, scorecard_sha256
from ccbench.comparison.compared_runs import Entry
from ccbench.comparison.paired_comparison import Comparison
from ccbench.errors import UsageError


def store_comparison(comparison: Comparison, entries: Sequence[Entry], boards: Path) -> Path:
    """Keep the tests of a board's rows with the board and return the file; one that was there is replaced.

    Raises:
        UsageError: there is no such board, a run is not on it, or a row's runs on it are not all compared.
    """
    protocol = entries[0].runs[0].folder.config.protocol
    path = boards / protocol.name
    if not (path / "board.toml").is_file():
        raise UsageError(f"--store: no board in {path}; put the runs on it first (ccbench leaderboard add)")
    remove_file(comparison_file(path))  # it may be of other scores than the present ones
    held: dict[str, set[str]] = {}
    for filed in read_board(path).results:
        held.setdefault(filed.row, set()).add(filed.result.record.run_id)
    for entry in entries:
        given = {run.folder.record.run_id for run in entry.runs}
        if given != held.get(entry.name, set()):
            raise UsageError(f"--store: {entry.name}: the board has {len(held.get(entry.name, ()))} runs of it and "
                             f"{len(given)} were compared; give those of the board")  # fmt: skip
    stored = BoardComparison(
        protocol=protocol.name,
        protocol_hash=protocol.hash,
        scorecards={run.folder.record.run_id: scorecard_sha256(run.card) for entry in entries for run in entry.runs},
        tests=comparison.tests,
        zero_differences="absolute",
        pairs=[one for one in comparison.compared if one.difference is not None],
        ranks=comparison.ranks,
    )
    write_atomic(comparison_file(path), (stored.model_dump_json(indent=1) + "\n").encode())
    return comparison_file(path)
