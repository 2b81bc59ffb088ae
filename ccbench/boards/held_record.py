"""Whether a board's record of a run is the run's own."""

from collections.abc import Callable, Iterator
from pathlib import Path

from ccbench.base.files import read_data
from ccbench.base.text import one_line
from ccbench.boards.board_result import BoardResult
from ccbench.boards.comparison_file import scorecard_sha256
from ccbench.errors import CcbenchError
from ccbench.pipeline.verification.checks import Check, equal
from ccbench.runs import RunFolder


def check_held(run: RunFolder, boards: Path, note: Callable[[str], None]) -> Iterator[Check]:
    """Compare a run with the record that a board holds of it, where one does.

    Args:
        run: a complete, scored run.
        boards: the folder of the boards.
        note: is told where a board holds another run of this configuration, which is not compared.
    """
    record = run.record
    file = boards / record.protocol / "results" / str(record.config["method"]) / f"{record.run_id}.json"  # all names
    if not file.is_file():
        return
    try:
        held = BoardResult.model_validate_json(read_data(file))
    except ValueError as error:
        yield Check(what="board", state="drift", detail=f"{file}: {one_line(error, 120)}")
        return
    if held.record.started != record.started:  # made again: another training, of this configuration and seed
        note(f"board: {file} is of another run of this configuration, started {held.record.started}; not compared")
        return
    yield equal("board's record", _same(held.record == record), _same(True))
    try:
        card = run.scorecard()
        same = card is not None and held.tested_sha256 == scorecard_sha256(card)
        yield equal("board's scores", _same(same), _same(True))
    except CcbenchError as error:
        yield Check(what="board's scores", state="drift", detail=str(error))


def _same(same: bool) -> str:
    return "the run's" if same else "another"
