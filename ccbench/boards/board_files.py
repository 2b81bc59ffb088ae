"""Boards on disk: `board.toml`, `audit.json` and the results, checked against each other."""

import json
import tomllib
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from ccbench.base.files import read_text
from ccbench.base.text import one_line
from ccbench.boards.board_result import BoardResult, FiledResult, read_result
from ccbench.boards.comparison_file import BoardComparison, comparison_file, read_comparison
from ccbench.errors import DataError, UsageError, VerificationError
from ccbench.metrics import metric_info
from ccbench.plugins.contract import Settings
from ccbench.protocols.config import revisions_of
from ccbench.protocols.protocol import PROTOCOLS
from ccbench.runs.record import ConditionsRecord, RunRecord
from ccbench.studies.leak_audit.audit_record import Audit, Thresholds


class BoardRules(Settings):
    """`board.toml`: what a run must match to be on the board.

    Attributes:
        seeds: run seeds that a complete row needs.
        conditions: the test conditions that every run was scored on.
    """

    protocol: str
    protocol_hash: str
    seeds: tuple[int, ...]
    conditions: ConditionsRecord


class Board(NamedTuple):
    """A board as it lies on disk. `audit`: the leak audit of its protocol, None where none is stored.

    Attributes:
        comparison: the paired tests of those rows whose runs they were made from, None where none are stored.
        untested: rows of methods that have other runs than the stored tests.
    """

    path: Path
    rules: BoardRules
    results: list[FiledResult]
    audit: Audit | None
    comparison: BoardComparison | None = None
    untested: tuple[str, ...] = ()

    def with_result(self, filed: FiledResult) -> "Board":
        """Return the board as it is with one more result, or with one in the place of that of its file."""
        others = [one for one in self.results if one.file != filed.file]
        results = sorted([*others, filed], key=lambda one: one.file)
        return _with_comparison(self._replace(results=results))


def list_boards(boards: Path) -> list[Path]:
    """Return the folders of the boards, sorted by name; none when there is no such folder."""
    return sorted(path.parent for path in boards.glob("*/board.toml"))


def read_board(path: Path) -> Board:
    """Read a board and check that its results fit its rules and each other.

    Raises:
        DataError: a file cannot be read.
        VerificationError: the results do not belong on one board.
    """
    rules = read_rules(path)
    current = PROTOCOLS.get(rules.protocol)
    if current is None or current.hash != rules.protocol_hash:
        raise VerificationError(
            f"{path / 'board.toml'}: protocol {rules.protocol} {rules.protocol_hash} is not the one in the code "
            f"({current.hash if current else 'none'}); its results cannot be compared with new runs, start a new board"
        )
    results = [read_result(file, path) for file in sorted((path / "results").glob("*/*.json"))]
    board = Board(path, rules, results, read_audit(path, rules))
    for filed in board.results:
        check_fits(board, filed.result, path / filed.file)
    return _with_comparison(board)


def _with_comparison(board: Board) -> Board:
    """Return the board with the stored tests of those of its rows that have the runs which were tested."""
    found = read_comparison(board.path, board.rules.protocol_hash)
    if found is None:
        return board
    rows: dict[str, dict[str, str]] = {}
    for filed in board.results:
        rows.setdefault(filed.row, {})[filed.result.record.run_id] = filed.result.tested_sha256
    controls = {filed.row for filed in board.results if filed.result.is_control}
    covered = found.covered(rows, comparison_file(board.path))
    untested = tuple(sorted(set(rows) - covered - controls))
    return board._replace(comparison=found.only(covered), untested=untested)


def read_rules(path: Path) -> BoardRules:
    """Return what is written in a board's `board.toml`.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return BoardRules.model_validate(tomllib.loads(read_text(path / "board.toml")))
    except ValueError as error:
        raise DataError(f"{path / 'board.toml'}: not a board's rules ({one_line(error, 160)}); restore it") from error


def audit_file(board: Path) -> Path:
    """Return where the leak audit of a board's protocol is stored."""
    return board / "audit.json"


def read_audit(board: Path, rules: BoardRules) -> Audit | None:
    """Return the stored leak audit of a board's protocol; None when there is none.

    Raises:
        DataError: it cannot be read.
        VerificationError: it is not of the images that the board scores on.
    """
    file = audit_file(board)
    if not file.is_file():
        return None
    try:
        audit = Audit.model_validate_json(file.read_bytes())
    except (OSError, ValidationError) as error:
        raise DataError(f"{file}: not a leak audit ({one_line(error, 160)}); {_audit_again(rules)}") from error
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


def check_fits(board: Board, result: BoardResult, where: Path) -> None:
    """Refuse a result that could not be compared with the others on the board.

    Raises:
        UsageError: another protocol version, or a seed the board does not ask for.
        DataError: other test conditions, other training pairs than were audited, another budget, another revision of a
            method, another n, or other signatures.
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
    _check_budget(result, where)
    _check_backbone(board, record, where)
    _check_revision(board, record, where)
    for score in result.scorecard.scores:
        partly = metric_info(score.metric).scope == "image" and score.n < rules.conditions.n  # as an edge out of sight
        if score.n != rules.conditions.n and not partly:
            raise DataError(f"{where}: {score.metric} has n={score.n}, wanted {rules.conditions.n}; score it again")
    computed = [s for filed in board.results for s in filed.scorecard.scores if s.value is not None]
    known = {s.metric: s.signature for s in computed}
    for score in result.scorecard.scores:
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


def _check_budget(result: BoardResult, where: Path) -> None:
    """Refuse a training of other steps than the protocol's, whatever the configuration says of it."""
    training, wanted = result.record.training, PROTOCOLS[result.record.protocol].training.max_steps
    if training is None:
        return
    last = max((step for step, _ in training.loss), default=0)
    allowed = {wanted, 0} if result.is_control else {wanted}
    if training.steps not in allowed or last > wanted:
        raise DataError(
            f"{where}: trained for {max(training.steps, last)} steps, the protocol's budget is {wanted}; train it "
            "again under the protocol"
        )


def _check_backbone(board: Board, record: RunRecord, where: Path) -> None:
    known = {filed.result.record.backbone.weights_sha256 for filed in board.results if filed.result.record.backbone}
    if record.backbone and known and record.backbone.weights_sha256 not in known:
        raise DataError(
            f"{where}: on a backbone with sha256 {record.backbone.weights_sha256[:12]}, the board's is "
            f"{min(known)[:12]}; run it again on the protocol's weights"
        )


def _check_revision(board: Board, record: RunRecord, where: Path) -> None:
    found = revisions_of(record.config)
    for filed in board.results:
        for name, held in revisions_of(filed.result.record.config).items():
            if found.get(name, held) != held:
                raise DataError(
                    f"{where}: made by revision {found[name]} of {name}, {board.path / filed.file} by revision {held}; "
                    f"a board holds one revision of a method: remove the older runs of {name} and add all its seeds"
                )


def rules_toml(rules: BoardRules) -> str:
    """Return the text of `board.toml`."""
    return (
        f"protocol = {_toml_text(rules.protocol)}\n"
        f"protocol_hash = {_toml_text(rules.protocol_hash)}\n"
        f"seeds = [{', '.join(map(str, rules.seeds))}]\n\n"
        "[conditions]\n"
        f"split = {_toml_text(rules.conditions.split)}\n"
        f"n = {rules.conditions.n}\n"
        f"manifest_sha256 = {_toml_text(rules.conditions.manifest_sha256)}\n"
    )


def _toml_text(text: str) -> str:
    """Return a TOML basic string; its escapes are JSON's, but for the characters above U+FFFF and the delete sign."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
