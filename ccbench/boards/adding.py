"""Puts what is to be public onto a board: complete runs, and the leak audit of its protocol."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING

from ccbench.audit_record import Audit
from ccbench.boards.comparison import comparison_file
from ccbench.boards.rows import variant, variant_hash
from ccbench.boards.store import (
    Board,
    BoardResult,
    BoardRules,
    audit_file,
    check_audit,
    check_fits,
    read_audit,
    read_board,
    read_rules,
    rules_toml,
)
from ccbench.errors import DataError, UsageError
from ccbench.files import make_folder, remove_file, write_atomic
from ccbench.gallery import shrink_picture
from ccbench.protocols import find_protocol
from ccbench.store import RunFolder

if TYPE_CHECKING:  # what verifies needs torch, and a run is refused without it
    from ccbench.verification import Verification


def add_run(run: Path, boards: Path, verify: "Callable[[], Verification]") -> Path:
    """Put a complete, verified run on its protocol's board and return the result file; one added before is replaced.

    The gallery of the board's first seed, at the method's defaults, comes with it, made smaller, and without real
    images where users bring the data: their licence may keep them there. A control brings none, and neither does a run
    whose images lie so near to training images that somebody has to look first. Paired tests that the board held are
    removed where its runs change: they are of other runs then.

    Args:
        verify: hashes the run and scores it again, see `verify_run`; called last, when nothing else speaks against it.

    Raises:
        UsageError: the run is not complete, not scored, not comparable, of a seed the board does not ask for, or of
            another protocol version. DataError: conditions, counts or signatures differ from the board's, or the
            stored audit of the protocol found a leak. VerificationError: the run is not what its record says.
    """
    folder = RunFolder.read(run)
    result = _make_result(folder)
    record = result.record
    path = boards / record.protocol
    board = read_board(path) if (path / "board.toml").is_file() else _new_board(path, result)
    if board.audit and board.audit.leaks:
        raise DataError(
            f"{audit_file(path)}: the protocol's data leak, {'; '.join(board.audit.leaks)}; no run is accepted until "
            "the splits are mended and audited again"
        )
    check_fits(board, result, run)
    verify().require_no_drift(run)
    file = path / "results" / str(record.config["method"]) / f"{record.run_id}.json"
    make_folder(file.parent)
    if not (path / "board.toml").is_file():
        write_atomic(path / "board.toml", rules_toml(board.rules).encode())
    text = json.dumps(result.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if not file.is_file() or file.read_text(encoding="utf-8") != text:
        remove_file(comparison_file(path))
        write_atomic(file, text.encode())
    picture = folder.public_gallery if find_protocol(record.protocol).needs_data_root else folder.gallery
    shown = record.seed == board.rules.seeds[0] and not result.variant and not result.is_control
    if shown and picture.is_file() and not result.memorised:
        shrink_picture(picture, path / f"gallery-{record.config['method']}.png")
    return file


def store_audit(audit: Audit, boards: Path) -> Path:
    """Keep the leak audit of a protocol with its board, and return the file; a board without results may come later.

    Raises:
        UsageError: the audit is of folders. VerificationError: it is not of the images that the board scores on.
    """
    if audit.protocol is None:
        raise UsageError("--store: only the audit of a protocol belongs to a board; give --protocol, without --images")
    path = boards / audit.protocol
    file = audit_file(path)
    if (path / "board.toml").is_file():
        check_audit(audit, read_rules(path), file)
    make_folder(path)
    write_atomic(file, audit.to_text().encode())
    return file


def _make_result(folder: RunFolder) -> BoardResult:
    record, where = folder.record, folder.path
    if record.status != "complete":
        raise UsageError(f"{where}: the run is {folder.state}, not complete; run the same command to finish it")
    if record.not_comparable:
        raise UsageError(
            f"{where}: no board takes it, it differs from its protocol: {'; '.join(record.not_comparable)}"
        )
    scorecard = folder.scorecard()
    if scorecard is None:
        raise UsageError(f"{where}: the run has no scores of its present images; run: ccbench score {where}")
    folder.complete()  # recounts the images and their hashes: what is published is what was scored
    result = BoardResult(
        variant=variant(folder.config),
        variant_hash=variant_hash(folder.config),
        record=folder.record,
        scorecard=scorecard,
    )
    for place, text in _strings(result.model_dump(mode="json"), ""):
        if PurePosixPath(text).is_absolute() or PureWindowsPath(text).is_absolute() or str(Path.home()) in text:
            raise DataError(f"{where}: {place} holds a path of this machine ({text}); a public record must not")
    return result


def _new_board(path: Path, result: BoardResult) -> Board:
    protocol = find_protocol(result.record.protocol)
    conditions = result.record.conditions
    if conditions is None:
        raise DataError(f"{path}: run {result.record.run_id} does not say its test conditions; synthesise it again")
    rules = BoardRules(protocol=protocol.name, protocol_hash=protocol.hash, seeds=protocol.seeds, conditions=conditions)
    return Board(path, rules, [], read_audit(path, rules))


def _strings(value: object, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _strings(item, f"{place}.{key}".lstrip("."))
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item, place)
    elif isinstance(value, str):
        yield place, value
