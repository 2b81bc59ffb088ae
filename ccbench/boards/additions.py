"""Puts what is to be public onto a board: complete runs, and the leak audit of its protocol."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from ccbench.base.files import make_folder, write_atomic
from ccbench.base.folder_files import lock_folder
from ccbench.boards.board_files import (
    Board,
    BoardRules,
    audit_file,
    check_audit,
    check_fits,
    read_audit,
    read_board,
    read_rules,
    rules_toml,
)
from ccbench.boards.board_result import BoardResult, FiledResult, make_filed, seal
from ccbench.boards.comparison_file import scorecard_sha256
from ccbench.boards.copies import RealThumbnails, check_copies, run_thumbnails
from ccbench.boards.rendered_boards import render_files
from ccbench.errors import DataError, UsageError, VerificationError
from ccbench.pipeline.session import Session
from ccbench.pipeline.verification import Verification, verify_run
from ccbench.plugins.registry import find_method
from ccbench.protocols.config import OutsideConfig, RecordedSettings, RunConfig, usual_config
from ccbench.protocols.given_settings import flatten
from ccbench.protocols.protocol import Protocol, find_protocol
from ccbench.protocols.row_names import variant, variant_hash
from ccbench.runs import RunFolder
from ccbench.runs.record import OUTSIDE
from ccbench.studies.leak_audit.audit_record import Audit
from ccbench.tables.pictures import shrink_picture

RESAMPLED = "images sampled again"
"""What checks of images that were sampled again from the checkpoint begin with."""


class Added(NamedTuple):
    """The file of a run on its board, and whether it was put there now or lay there before."""

    file: Path
    new: bool


def add_run(
    run: Path,
    boards: Path,
    session: Session,
    real: Callable[[str], RealThumbnails] | None = None,
    replace: bool = False,
) -> Added:
    """Put a complete, verified run on its protocol's board, with the scores that verifying it gave.

    Nothing is written unless the board renders with it. The gallery of the board's first seed, at the method's
    defaults, comes with it, made smaller, and without real images where users bring the data: their licence may keep
    them there. A control brings none, and neither does a run whose images lie so near to training images that somebody
    has to look first. Paired tests that the board holds stay, and no longer cover the row whose runs change.

    Args:
        run: the run folder.
        boards: the folder of the boards.
        session: what the run is verified with, see `verify_run`, when nothing else speaks against it.
        real: returns the thumbnails of the real images of a protocol by its name; None = they are not looked at.
        replace: take the place of a run of this configuration and seed. Without it the very run that is there stays.

    Raises:
        UsageError: the run is not complete, not scored, not comparable, of a seed the board does not ask for, of
            another protocol version, or of a configuration and seed that is there.
        DataError: conditions, counts or signatures differ from the board's, its images are copies, or the stored audit
            of the protocol found a leak.
        VerificationError: the run is not what its record says.
    """
    folder = RunFolder.read(run)
    result = _make_result(folder)
    path = boards / find_protocol(result.record.protocol).name
    board = _open_board(path, result)
    if board.audit and board.audit.leaks:
        raise DataError(
            f"{audit_file(path)}: the protocol's data leak, {'; '.join(board.audit.leaks)}; no run is accepted until "
            "the splits are mended and audited again"
        )
    if (held := _check_free(board, result, run, replace)) is not None:
        return Added(held, new=False)
    _check_parameters(folder)
    result = result.model_copy(update={"thumbnails": run_thumbnails(folder.image_files())})
    check_fits(board, result, run)
    check_copies(board, result, run, None if real is None else real(board.rules.protocol))
    gallery = _find_gallery(folder, board, result)
    result = _sealed(_with_verified(result, verify_run(run, session), run))
    with lock_folder(boards, wait=True):
        board = _open_board(path, result)  # another command may have added to it meanwhile
        _check_free(board, result, run, replace)
        check_fits(board, result, run)
        check_copies(board, result, run)
        filed = _file(result, run)
        board = board.with_result(filed)
        render_files(board)
        file = path / filed.file
        make_folder(file.parent)
        if not (path / "board.toml").is_file():
            write_atomic(path / "board.toml", rules_toml(board.rules).encode())
        if gallery is not None:
            shrink_picture(gallery, path / f"gallery-{result.record.config['method']}.png")
        text = json.dumps(result.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        write_atomic(file, text.encode(errors="backslashreplace"))  # last: where it is, the run is on the board
    return Added(file, new=True)


def _find_gallery(folder: RunFolder, board: Board, result: BoardResult) -> Path | None:
    """Return the picture that a run brings to its board, None where it brings none.

    Raises:
        DataError: it is a link.
    """
    record = result.record
    if record.seed != board.rules.seeds[0] or result.variant or result.is_control or result.scorecard.notes.memorised:
        return None
    hidden = find_protocol(record.protocol).needs_data_root
    return folder.picture(folder.public_gallery if hidden else folder.gallery)


def _check_parameters(folder: RunFolder) -> None:
    """Refuse more trained parameters than the checkpoint has bytes.

    Raises:
        VerificationError: the record states more.
    """
    stated, held = folder.record.cost.parameters_trained or 0, folder.checkpoint_bytes()
    if held and stated > held:
        raise VerificationError(
            f"{folder.path}: states {stated:,} trained parameters, its checkpoint holds {held:,} bytes; run it again"
        )


def store_audit(audit: Audit, boards: Path) -> Path:
    """Keep the leak audit of a protocol with its board, and return the file; a board without results may come later.

    Raises:
        UsageError: the audit is of folders.
        VerificationError: it is not of the images that the board scores on.
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
    """Return the result of a run as its folder states it; what follows from the configuration is derived anew.

    Raises:
        UsageError: the run is not complete, not scored, or not comparable.
        VerificationError: it states something else than its configuration gives.
        DataError: it holds what cannot be, or a path of this machine.
    """
    record, where = folder.record, folder.path
    if record.status != "complete":
        raise UsageError(f"{where}: the run is {folder.state}, not complete; run the same command to finish it")
    config = _derive_config(folder)
    reasons = config.not_comparable or record.not_comparable
    if reasons:
        raise UsageError(f"{where}: no board takes it, it differs from its protocol: {'; '.join(reasons)}")
    scorecard = folder.scorecard()
    if scorecard is None:
        raise UsageError(f"{where}: the run has no scores of its present images; run: ccbench score {where}")
    folder.complete()  # recounts the images and their hashes: what is published is what was scored
    if isinstance(config.settings, RecordedSettings):
        raise UsageError(
            f"{where}: {config.method} is not installed here, so its settings cannot be checked; install the package "
            "that offers it"
        )
    _check_card(folder, config)
    _check_said(config, where)
    result = BoardResult(
        variant=variant(config), variant_hash=variant_hash(config), record=folder.record, scorecard=scorecard
    )
    _file(result, where)
    _check_paths(result, where)
    return result


def _derive_config(folder: RunFolder) -> RunConfig:
    """Return a run's configuration under the protocol of this version, which has to give the hashes that are recorded.

    Raises:
        UsageError: made under another version of the protocol.
        VerificationError: recorded under hashes that its configuration does not give.
    """
    record, where = folder.record, folder.path
    config, recorded = folder.config, Protocol.model_validate(record.config["protocol"])
    protocol, name = find_protocol(record.protocol), config.method
    if record.protocol_hash != protocol.hash or recorded.hash != protocol.hash:
        raise UsageError(
            f"{where}: made under {record.protocol} {recorded.hash} (recorded {record.protocol_hash}), "
            f"this version has {protocol.hash}; run it again under the present protocol"
        )
    if recorded.method_settings.get(name) != config.protocol.method_settings.get(name):
        raise VerificationError(
            f"{where}: records other settings as frozen for {name} than its card has; run it again with this version"
        )
    if (config.config_hash, config.seed) != (record.config_hash, record.seed):
        raise VerificationError(
            f"{where}: recorded as configuration {record.config_hash} with seed {record.seed}, its settings give "
            f"{config.config_hash} with seed {config.seed}; the record was edited, run it again"
        )
    return config


def _check_card(folder: RunFolder, config: RunConfig) -> None:
    """Refuse a record that states another kind of method than its configuration is of."""
    stated, outside = folder.record.method, isinstance(config.settings, OutsideConfig)
    wanted = (OUTSIDE, False) if outside else ("", find_method(config.method).info.control)
    found = ("", False) if stated is None else (OUTSIDE * (stated.distribution == OUTSIDE), stated.control)
    if found != wanted:
        raise VerificationError(
            f"{folder.path}: {config.method} is recorded as {_kind(*found)}, its configuration is of {_kind(*wanted)}; "
            "run it again"
        )


def _kind(distribution: str, control: bool) -> str:
    return "a control" if control else "images from outside" if distribution else "a method"


def _check_said(config: RunConfig, where: Path) -> None:
    """Refuse settings that differ from the method's defaults where the record's `overrides` do not say so."""
    if isinstance(config.settings, OutsideConfig):
        return
    plain = usual_config(config)
    if plain.config_hash == variant_hash(config):
        return
    usual = dict(flatten(plain.settings.model_dump(mode="json")))
    used = dict(flatten(config.settings.model_dump(mode="json")))
    said = dict(flatten({key.removeprefix("method."): value for key, value in config.overrides.items()}))
    changed = [key for key, value in used.items() if value != usual.get(key) and _affects_image(config, key)]
    if unsaid := [key for key in changed if said.get(key) != used[key]]:
        raise VerificationError(
            f"{where}: {unsaid[0]} is {used[unsaid[0]]!r}, not {usual.get(unsaid[0])!r}, and the record does not say "
            "that it was changed; run it again"
        )


def _affects_image(config: RunConfig, key: str) -> bool:
    if key == "of_revision":  # which the board checks
        return False
    extra = type(config.settings).model_fields[key.partition(".")[0]].json_schema_extra
    return not isinstance(extra, dict) or extra.get("affects_image") is not False


def _file(result: BoardResult, where: Path) -> FiledResult:
    try:
        return make_filed(result)
    except DataError as error:
        raise DataError(f"{where}: {error}; no board takes it") from error


def _with_verified(result: BoardResult, found: Verification, where: Path) -> BoardResult:
    """Return the result with the scores that were computed when it was verified.

    Raises:
        VerificationError: something drifted, or the images of a trained method could not be tied to its weights.
    """
    found.require_no_drift(where)
    again = [check for check in found.checks if check.what.startswith(RESAMPLED)]
    missing = next((check for check in again if check.state == "not checked"), None)
    method = result.record.method
    trained = method is not None and not method.control and method.distribution != OUTSIDE
    if missing and trained:
        raise VerificationError(
            f"{where}: {missing.what}: {missing.detail}; only images that its checkpoint gives stand in a method's "
            "row, others are brought with `ccbench run --from-dir`"
        )
    update: dict[str, object] = {"resampled": len(again) if again and not missing else None}
    if found.card is not None and found.card != result.scorecard:
        update |= {"scorecard": found.card, "claimed_sha256": scorecard_sha256(result.scorecard)}
    return result.model_copy(update=update)


def _sealed(result: BoardResult) -> BoardResult:
    return result.model_copy(update={"sha256": seal(result.model_dump(mode="json"))})


def _check_free(board: Board, result: BoardResult, where: Path, replace: bool) -> Path | None:
    """Return the file of the very run on the board; None where there is none, or another that is to be replaced.

    Raises:
        UsageError: another run of this configuration and seed is there.
    """
    held = next((one for one in board.results if one.result.record.run_id == result.record.run_id), None)
    if held is None:
        return None
    if replace:
        return None
    if held.result.record == result.record and held.result.tested_sha256 == scorecard_sha256(result.scorecard):
        return board.path / held.file
    raise UsageError(
        f"{where}: the board holds {held.file}, a run of this configuration and seed that was started "
        f"{held.result.record.started}; --replace puts this one in its place"
    )


def _check_paths(result: BoardResult, where: Path) -> None:
    for place, text in _strings(result.model_dump(mode="json", exclude={"thumbnails"}), ""):
        if (path := _find_path(text)) is not None:
            raise DataError(f"{where}: {place} holds a path of this machine ({path}); a public record must not")


_TOKEN = re.compile(r"(?<![\w.~/:-])(?:file://|~)?(?:/[^\s/'\",;:()\[\]{}<>|]+){2,}")
_WINDOWS = re.compile(r"(?<![\w/])(?:[A-Za-z]:\\|\\\\\w)[^\s'\",;]+")
_ROOT = re.compile("Users|Volumes|data|etc|gpfs|home|lustre|media|mnt|opt|private|root|scratch|srv|tmp|usr|var|work")


def _find_path(text: str) -> str | None:
    """Return what in a text is a path of some machine; a fraction, a licence and a web address are none."""
    if windows := _WINDOWS.search(text):
        return windows[0]
    for found in _TOKEN.finditer(text):
        token = found[0]
        parts = token.removeprefix("file://").removeprefix("~").split("/")
        if token == text or not token.startswith("/") or _ROOT.fullmatch(parts[1]) or Path(token).exists():
            return token
    return None


def _open_board(path: Path, result: BoardResult) -> Board:
    return read_board(path) if (path / "board.toml").is_file() else _new_board(path, result)


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
