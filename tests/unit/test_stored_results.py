"""The results on the published boards: read and written again they are the same bytes, under the same hashes."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ccbench.boards.board_files import read_board
from ccbench.boards.board_result import BoardResult, seal
from ccbench.boards.comparison_file import scorecard_sha256
from ccbench.runs.scorecard import Scorecard

BOARDS = Path(__file__).parents[2] / "leaderboards"
RESULTS = sorted(BOARDS.glob("*/results/*/*.json"))


def numbers(value: Any) -> Iterator[float]:
    """Every float below a JSON value."""
    if isinstance(value, float):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from numbers(inner)


@pytest.mark.parametrize("file", RESULTS, ids=lambda file: file.stem)
def test_a_stored_result_is_written_as_it_was_read(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    content = json.loads(text)
    result = BoardResult.model_validate(content)
    as_read = result.model_dump(mode="json", exclude_unset=True)  # without fields that came later
    assert json.dumps(as_read, indent=2, ensure_ascii=False) + "\n" == text
    assert seal(as_read) == result.sha256
    card = content["scorecard"]
    assert len(list(numbers(card))) > 100 and len(result.scorecard.scores) == len(card["scores"])
    assert json.dumps(result.scorecard.model_dump(mode="json")) == json.dumps(card)
    sha256 = hashlib.sha256(json.dumps(card, sort_keys=True).encode()).hexdigest()
    assert scorecard_sha256(result.scorecard) == sha256 == result.tested_sha256
    assert Scorecard.model_validate_json(json.dumps(card)) == result.scorecard


def test_stored_comparisons_are_of_the_stored_scorecards() -> None:
    assert len(RESULTS) >= 31
    held = {path.parent.name: read_board(path.parent) for path in BOARDS.glob("*/comparison.json")}
    assert held
    for board in held.values():
        assert (
            board.comparison is not None
            and board.comparison.scorecards.items()
            <= {filed.result.record.run_id: filed.result.tested_sha256 for filed in board.results}.items()
        )
