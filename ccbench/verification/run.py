"""Looks at a run: its files, the board's record of it, its scores and some of its images."""

from collections.abc import Callable, Iterator
from pathlib import Path

from ccbench.errors import CcbenchError, DataError, UsageError
from ccbench.images import sha256_file
from ccbench.records import Sample
from ccbench.scoring.runs import RunScorer
from ccbench.store import RunFolder
from ccbench.verification.checks import Check, Verification, equal
from ccbench.verification.images import RESAMPLED, resample
from ccbench.verification.scores import check_scores


def verify_run(
    path: Path,
    scorer: RunScorer,
    boards: Path | None = None,
    note: Callable[[str], None] = lambda text: None,
    resampled: int = RESAMPLED,
) -> Verification:
    """Compare a complete, scored run with its own record, with a board's, and with scores computed anew.

    Args:
        path: the run folder.
        scorer: computes the scores again, and samples the images.
        boards: folder of boards; where one holds this very run, its record must be the run's.
        note: is told what is not compared.
        resampled: how many images are sampled again from the checkpoint; 0 = none.

    Raises:
        UsageError: there is no run, or it is not complete and scored. DataError: the test data is missing or changed.
    """
    try:
        run = RunFolder.read(path)
        checks = [*_check_files(run), *(_check_board(run, boards, note) if boards else ())]
        stored, columns = run.scorecard(), run.per_sample()
    except DataError as error:  # a record that cannot be read, or not as what it was
        return Verification(run_id=path.name, checks=[Check(what="records", state="drift", detail=str(error))])
    files = Verification(run_id=run.record.run_id, checks=checks)
    if files.state == "drift":  # scores of changed files would say nothing more
        return files
    if stored is None:
        raise UsageError(f"{path}: the run has no scores of its present images; run: ccbench score {path}")
    checks += resample(run, resampled, scorer) if resampled else []  # first: it takes seconds, and the scores minutes
    return files.model_copy(update={"checks": [*checks, *check_scores(stored, columns, scorer.score(run))]})


def _check_files(run: RunFolder) -> Iterator[Check]:
    record = run.record
    if record.status != "complete":
        raise UsageError(f"{run.path}: the run is {record.status}, not complete; run the same command to finish it")
    config = run.config
    yield equal("configuration", config.config_hash, record.config_hash)
    yield equal("protocol", config.protocol.hash, record.protocol_hash)
    yield equal("seed", str(config.seed), str(record.seed))
    for name, (found, recorded) in run.scored_files().items():
        yield equal(name, found, recorded)
    yield equal("checkpoint", str(run.checkpoint_sha256()), str(record.method and record.method.weights_sha256))
    yield _check_images(run, run.samples(), record.conditions.n if record.conditions else 0, "images")
    for name, samples in (("copies", run.copies()), ("training images", run.training_samples())):
        if samples:
            yield _check_images(run, samples, len(samples), name)


def _check_images(run: RunFolder, samples: list[Sample], wanted: int, what: str) -> Check:
    wrong = [sample.file for sample in samples if sha256_file(run.path / sample.file) != sample.sha256]
    if wrong:
        return Check(what=what, state="drift", detail=f"{len(wrong)} are not as recorded, the first {wrong[0]}")
    if len(samples) != wanted:
        return Check(what=what, state="drift", detail=f"found {len(samples)}, wanted {wanted}")
    return Check(what=f"{what} ({len(samples)})", state="match")


def _check_board(run: RunFolder, boards: Path, note: Callable[[str], None]) -> Iterator[Check]:
    from ccbench.boards.store import BoardResult

    record = run.record
    file = boards / record.protocol / "results" / str(record.config["method"]) / f"{record.run_id}.json"
    if not file.is_file():
        return
    try:
        held = BoardResult.model_validate_json(file.read_bytes())
    except ValueError as error:
        yield Check(what="board", state="drift", detail=f"{file}: {' '.join(str(error).split())[:120]}")
        return
    if held.record.started != record.started:  # made again: another training, of this configuration and seed
        note(f"board: {file} is of another run of this configuration, started {held.record.started}; not compared")
        return
    yield equal("board's record", _same(held.record == record), _same(True))
    try:
        yield equal("board's scores", _same(held.scorecard == run.scorecard()), _same(True))
    except CcbenchError as error:
        yield Check(what="board's scores", state="drift", detail=str(error))


def _same(same: bool) -> str:
    return "the run's" if same else "another"
