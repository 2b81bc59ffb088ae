"""Boards on disk: `board.toml`, `audit.json` and `results/<method>/<run_id>.json`, checked against each other."""

import json
import tomllib
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple

from pydantic import Field, ValidationError

from ccbench.audit_record import Audit, Thresholds
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
        variant: settings that differ from the method's defaults, `key=value, ...`; empty for the defaults. Of a control
            on another method, that method too.
        variant_hash: the run's configuration without its seed; the runs of one row share it.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    variant: str = ""
    variant_hash: str
    record: RunRecord
    scorecard: dict[str, Any] = Field(description="as Scorecard.to_json gives it")

    @property
    def is_control(self) -> bool:
        """Whether the run is of a control, no method."""
        return self.record.method is not None and self.record.method.control


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
    """A board as it lies on disk. `audit`: the leak audit of its protocol, None where none is stored."""

    path: Path
    rules: BoardRules
    results: list[FiledResult]
    audit: Audit | None


def list_boards(boards: Path) -> list[Path]:
    """Return the folders of the boards, sorted by name; none when there is no such folder."""
    return sorted(path.parent for path in boards.glob("*/board.toml"))


def read_board(path: Path) -> Board:
    """Read a board and check that its results fit its rules and each other.

    Raises:
        DataError: a file cannot be read. VerificationError: the results do not belong on one board.
    """
    rules = read_rules(path)
    current = PROTOCOLS.get(rules.protocol)
    if current is None or current.hash != rules.protocol_hash:
        raise VerificationError(
            f"{path / 'board.toml'}: protocol {rules.protocol} {rules.protocol_hash} is not the one in the code "
            f"({current.hash if current else 'none'}); its results cannot be compared with new runs, start a new board"
        )
    results = [_read_result(file, path) for file in sorted((path / "results").glob("*/*.json"))]
    board = Board(path, rules, results, read_audit(path, rules))
    for filed in board.results:
        check_fits(board, filed.result, path / filed.file)
    return board


def read_rules(path: Path) -> BoardRules:
    """Return what is written in a board's `board.toml`.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return BoardRules.model_validate(tomllib.loads((path / "board.toml").read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise DataError(f"{path / 'board.toml'}: not a board's rules ({_first_line(error)}); restore it") from error


def audit_file(board: Path) -> Path:
    """Return where the leak audit of a board's protocol is stored."""
    return board / "audit.json"


def read_audit(board: Path, rules: BoardRules) -> Audit | None:
    """Return the stored leak audit of a board's protocol; None when there is none.

    Raises:
        DataError: it cannot be read. VerificationError: it is not of the images that the board scores on.
    """
    file = audit_file(board)
    if not file.is_file():
        return None
    try:
        audit = Audit.model_validate_json(file.read_bytes())
    except (OSError, ValidationError) as error:
        raise DataError(f"{file}: not a leak audit ({_first_line(error)}); {_audit_again(rules)}") from error
    check_audit(audit, rules, file)
    return audit


def check_audit(audit: Audit, rules: BoardRules, where: Path) -> None:
    """Refuse an audit that says nothing about a board.

    Raises:
        VerificationError: it is of another protocol, of other test images, or made with other thresholds.
    """
    test = audit.find_set(rules.conditions.split)
    found = f"{test.n} ({test.manifest_sha256[:12]})" if test else "none"
    wanted = f"{rules.conditions.n} ({rules.conditions.manifest_sha256[:12]})"
    if audit.protocol != rules.protocol or found != wanted:
        raise VerificationError(
            f"{where}: audited {audit.protocol or 'folders'} with test images {found}, the board's are "
            f"{rules.protocol} with {wanted}; {_audit_again(rules)}"
        )
    if audit.thresholds != Thresholds():
        raise VerificationError(f"{where}: made with other thresholds than this version has; {_audit_again(rules)}")


def _audit_again(rules: BoardRules) -> str:
    return f"audit the data that it scores on: ccbench data audit --protocol {rules.protocol} --store"


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
        DataError: other test conditions, other training pairs than were audited, another n, or other signatures.
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
    _check_training(board, record, where)
    _check_backbone(board, record, where)
    card = Scorecard.from_json(result.scorecard)
    for score in card.scores:
        if score.n != rules.conditions.n:
            raise DataError(f"{where}: {score.metric} has n={score.n}, wanted {rules.conditions.n}; score it again")
    computed = [s for filed in board.results for s in filed.scorecard.scores if s.value is not None]
    known = {s.metric: s.signature for s in computed}
    for score in card.scores:
        if score.value is not None and known.get(score.metric, score.signature) != score.signature:
            raise DataError(
                f"{where}: {score.metric} has signature {score.signature}, the board has {known[score.metric]}; "
                "numbers of different signatures are never compared, score every run again with one version"
            )


def _check_training(board: Board, record: RunRecord, where: Path) -> None:
    audited = board.audit.find_set("train") if board.audit else None
    pairs = record.training.pairs if record.training else None
    if audited and pairs and (pairs.n, pairs.manifest_sha256) != (audited.n, audited.manifest_sha256):
        raise DataError(
            f"{where}: trained on {pairs.n} pairs ({pairs.manifest_sha256[:12]}), the leak audit looked at "
            f"{audited.n} ({audited.manifest_sha256[:12]}); {_audit_again(board.rules)}"
        )


def _check_backbone(board: Board, record: RunRecord, where: Path) -> None:
    known = {filed.result.record.backbone.weights_sha256 for filed in board.results if filed.result.record.backbone}
    if record.backbone and known and record.backbone.weights_sha256 not in known:
        raise DataError(
            f"{where}: on a backbone with sha256 {record.backbone.weights_sha256[:12]}, the board's is "
            f"{min(known)[:12]}; run it again on the protocol's weights"
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
