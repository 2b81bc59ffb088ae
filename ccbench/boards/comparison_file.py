"""The paired tests of a board's methods, kept beside it as `comparison.json`; the page's ties rest on them."""

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import ValidationError

from ccbench.base.text import one_line
from ccbench.comparison.paired_test import PairedTest, Rank
from ccbench.errors import DataError, VerificationError
from ccbench.runs.scorecard import Scorecard
from ccbench.types import ExtendedRecord


class BoardComparison(ExtendedRecord):
    """All tests of one comparison.

    Attributes:
        scorecards: run id -> sha256 of the scorecard that was compared.
        tests: that Holm's correction went over.
        zero_differences: what the difference of a metric whose best is 0 is of: the means' distances from 0
            ("absolute"), or, in comparisons that do not say, the means themselves.
    """

    schema_version: Literal[1] = 1
    protocol: str
    protocol_hash: str
    scorecards: dict[str, str]
    tests: int
    zero_differences: Literal["signed", "absolute"] = "signed"
    pairs: list[PairedTest]
    ranks: list[Rank]
    added: ClassVar = ("zero_differences",)

    def covered(self, rows: Mapping[str, Mapping[str, str]], where: Path) -> set[str]:
        """Return the rows that still have the runs and scores which were compared.

        Args:
            rows: row -> run id -> sha256 of its scorecard, of all rows on the board.
            where: named in errors.

        Raises:
            VerificationError: a run that was compared is not on the board.
        """
        held = {run for runs in rows.values() for run in runs}
        if gone := sorted(set(self.scorecards) - held):
            raise _of_others(where, gone[0])
        return {row for row, runs in rows.items() if all(self.scorecards.get(run) == runs[run] for run in runs)}

    def only(self, rows: Collection[str]) -> "BoardComparison":
        """Return the tests of two of these rows, and the ranks of these rows."""
        pairs = [pair for pair in self.pairs if pair.first in rows and pair.second in rows]
        return self.model_copy(update={"pairs": pairs, "ranks": [rank for rank in self.ranks if rank.name in rows]})

    def letters(self) -> dict[tuple[str, str], str]:
        """Return the tie groups of each row by (row, metric)."""
        return {(rank.name, rank.metric): rank.groups for rank in self.ranks}


def comparison_file(board: Path) -> Path:
    """Return where a board's comparison is stored."""
    return board / "comparison.json"


def scorecard_sha256(card: Scorecard) -> str:
    """Return the sha256 of a scorecard's JSON form, in hex."""
    return hashlib.sha256(json.dumps(card.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


def read_comparison(board: Path, protocol_hash: str) -> BoardComparison | None:
    """Return a board's stored comparison; None when there is none.

    Raises:
        DataError: it cannot be read.
        VerificationError: it was made under another protocol.
    """
    file = comparison_file(board)
    if not file.is_file():
        return None
    try:
        found = BoardComparison.model_validate_json(file.read_bytes())
    except (OSError, ValidationError) as error:
        raise DataError(
            f"{file}: not a comparison ({one_line(error, 120)}); run ccbench compare RUN... --store"
        ) from error
    if found.protocol_hash != protocol_hash:
        raise _of_others(file, f"protocol {found.protocol_hash}")
    return found


def _of_others(file: Path, which: str) -> VerificationError:
    return VerificationError(
        f"{file}: made of other scores than the board's ({which}); run ccbench compare RUN... --store again"
    )
