"""Boards on disk: `board.toml` and `results/<method>/<run_id>.json`, read and checked against each other."""

import json
import tomllib
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple

from pydantic import Field, ValidationError

from ccbench.errors import DataError, UsageError, VerificationError
from ccbench.plugin import Settings
from ccbench.protocols import PROTOCOLS
from ccbench.records import ConditionsRecord, RunRecord
from ccbench.scorecard import Scorecard

SCHEMA_VERSION: Literal[1] = 1


class BoardRules(Settings):
    """`board.toml`: what a run must match to be on the board.

    Attributes:
        seeds: run seeds that a complete row needs. conditions: the test conditions that every run was scored on.
    """

    protocol: str
    protocol_hash: str
    seeds: tuple[int, ...]
    conditions: ConditionsRecord


class BoardResult(Settings):
    """One run on a board: its record and scorecard as they were written, unrounded.

    Attributes:
        variant: settings that differ from the method's defaults, `key=value, ...`; empty for the defaults.
        variant_hash: the run's configuration without its seed; the runs of one row share it.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    variant: str = ""
    variant_hash: str
    record: RunRecord
    scorecard: dict[str, Any] = Field(description="as Scorecard.to_json gives it")


class FiledResult(NamedTuple):
    """A result with the file that holds it, relative to its board, and the scorecard parsed."""

    file: PurePosixPath
    result: BoardResult
    scorecard: Scorecard

    @property
    def row(self) -> str:
        """Name of the board row that the result belongs to."""
        method = str(self.result.record.config["method"])
        return f"{method} ({self.result.variant})" if self.result.variant else method


class Board(NamedTuple):
    """A board as it lies on disk."""

    path: Path
    rules: BoardRules
    results: list[FiledResult]


def list_boards(boards: Path) -> list[Path]:
    """Return the folders of the boards, sorted by name; none when there is no such folder."""
    return sorted(path.parent for path in boards.glob("*/board.toml"))


def read_board(path: Path) -> Board:
    """Read a board and check that its results fit its rules and each other.

    Raises:
        DataError: a file cannot be read. VerificationError: the results do not belong on one board.
    """
    try:
        rules = BoardRules.model_validate(tomllib.loads((path / "board.toml").read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise DataError(f"{path / 'board.toml'}: not a board's rules ({_first_line(error)}); restore it") from error
    current = PROTOCOLS.get(rules.protocol)
    if current is None or current.hash != rules.protocol_hash:
        raise VerificationError(
            f"{path / 'board.toml'}: protocol {rules.protocol} {rules.protocol_hash} is not the one in the code "
            f"({current.hash if current else 'none'}); its results cannot be compared with new runs, start a new board"
        )
    board = Board(path, rules, [_read_result(file, path) for file in sorted((path / "results").glob("*/*.json"))])
    for filed in board.results:
        check_fits(board, filed.result, path / filed.file)
    return board


def _read_result(file: Path, board: Path) -> FiledResult:
    try:
        result = BoardResult.model_validate_json(file.read_bytes())
        name = PurePosixPath(file.relative_to(board).as_posix())
        return FiledResult(name, result, Scorecard.from_json(result.scorecard))
    except (ValidationError, DataError) as error:
        raise DataError(f"{file}: not a board result ({_first_line(error)}); add the run again") from error


def check_fits(board: Board, result: BoardResult, where: Path) -> None:
    """Refuse a result that could not be compared with the others on the board.

    Raises:
        UsageError: another protocol version, or a seed the board does not ask for.
        DataError: other test conditions, another n, or other signatures.
    """
    rules, record = board.rules, result.record
    if (record.protocol, record.protocol_hash) != (rules.protocol, rules.protocol_hash):
        raise UsageError(
            f"{where}: made under {record.protocol} {record.protocol_hash}, the board holds {rules.protocol} "
            f"{rules.protocol_hash}; run it again under the present protocol"
        )
    if record.seed not in rules.seeds:
        raise UsageError(f"{where}: seed {record.seed}, the board asks for seeds {', '.join(map(str, rules.seeds))}")
    if record.conditions != rules.conditions:
        found = f"{record.conditions.n} ({record.conditions.manifest_sha256[:12]})" if record.conditions else "none"
        raise DataError(
            f"{where}: scored on other test conditions: {found}, wanted {rules.conditions.n} "
            f"({rules.conditions.manifest_sha256[:12]}); run it again on the protocol's data"
        )
    card = Scorecard.from_json(result.scorecard)
    for score in card.scores:
        if score.n != rules.conditions.n:
            raise DataError(f"{where}: {score.metric} has n={score.n}, wanted {rules.conditions.n}; score it again")
    known = {s.metric: s.signature for filed in board.results for s in filed.scorecard.scores}
    for score in card.scores:
        if known.get(score.metric, score.signature) != score.signature:
            raise DataError(
                f"{where}: {score.metric} has signature {score.signature}, the board has {known[score.metric]}; "
                "numbers of different signatures are never compared, score every run again with one version"
            )


def rules_toml(rules: BoardRules) -> str:
    """Return the text of `board.toml`."""
    quote = json.dumps  # a JSON string of ASCII text is a TOML basic string
    return (
        f"protocol = {quote(rules.protocol)}\n"
        f"protocol_hash = {quote(rules.protocol_hash)}\n"
        f"seeds = [{', '.join(map(str, rules.seeds))}]\n\n"
        "[conditions]\n"
        f"split = {quote(rules.conditions.split)}\n"
        f"n = {rules.conditions.n}\n"
        f"manifest_sha256 = {quote(rules.conditions.manifest_sha256)}\n"
    )


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
