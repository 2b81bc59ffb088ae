"""The paired tests of a board's methods, kept beside it as `comparison.json`; the page's ties rest on them."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from ccbench.errors import DataError, VerificationError
from ccbench.records import Record


class PairTest(Record):
    """One metric of two rows: `first` less `second`.

    Attributes:
        verdict: the better one's name; None = not significantly different.
        seeds: of the runs that were paired, first's and second's; empty in comparisons that did not record them.
        no_interval: why there is no interval.
    """

    metric: str
    first: str
    second: str
    difference: float
    low: float | None
    high: float | None
    p: float
    p_holm: float
    effect: float | None
    n: int
    verdict: str | None
    seeds: tuple[tuple[int, int], ...] = ()
    no_interval: str | None = None


class RowRank(Record):
    """A row's place in one metric: 95 % of resamples put it from `low` to `high`; it ties within its `groups`."""

    metric: str
    name: str
    low: int
    high: int
    groups: str


class BoardComparison(Record):
    """All tests of one comparison.

    Attributes:
        scorecards: run id -> sha256 of the scorecard that was compared. tests: that Holm's correction went over.
        zero_differences: what the difference of a metric whose best is 0 is of: the means' distances from 0
            ("absolute"), or, in comparisons that do not say, the means themselves.
    """

    schema_version: Literal[1] = 1
    protocol: str
    protocol_hash: str
    scorecards: dict[str, str]
    tests: int
    zero_differences: Literal["signed", "absolute"] = "signed"
    pairs: list[PairTest]
    ranks: list[RowRank]

    def letters(self) -> dict[tuple[str, str], str]:
        """Return the tie groups of each row by (row, metric)."""
        return {(rank.name, rank.metric): rank.groups for rank in self.ranks}


def comparison_file(board: Path) -> Path:
    """Return where a board's comparison is stored."""
    return board / "comparison.json"


def scorecard_sha256(card: Mapping[str, Any]) -> str:
    """Return the sha256 of a scorecard's JSON form, in hex."""
    return hashlib.sha256(json.dumps(card, sort_keys=True).encode()).hexdigest()


def read_comparison(board: Path, scorecards: Mapping[str, str], protocol_hash: str) -> BoardComparison | None:
    """Return a board's stored comparison; None when there is none.

    Args:
        scorecards: run id -> sha256, of the runs on the board.

    Raises:
        DataError: it cannot be read. VerificationError: it was made of other scores than the board's.
    """
    file = comparison_file(board)
    if not file.is_file():
        return None
    try:
        found = BoardComparison.model_validate_json(file.read_bytes())
    except (OSError, ValidationError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"{file}: not a comparison ({reason}); run ccbench compare RUN... --store") from error
    changed = [run for run, digest in found.scorecards.items() if scorecards.get(run) != digest]
    if changed or found.protocol_hash != protocol_hash:
        which = changed[0] if changed else f"protocol {found.protocol_hash}"
        raise VerificationError(
            f"{file}: made of other scores than the board's ({which}); run ccbench compare RUN... --store again"
        )
    return found
