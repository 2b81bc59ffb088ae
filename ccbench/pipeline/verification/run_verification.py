"""Looks at a run: its files, the board's record of it, its scores and some of its images."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ccbench.base.images import sha256_file
from ccbench.errors import DataError, UsageError, VerificationError
from ccbench.pipeline.session import Session
from ccbench.pipeline.verification.checks import Check, Verification, equal, worst
from ccbench.pipeline.verification.resampled import RESAMPLED, resample
from ccbench.pipeline.verification.score_drift import check_scores
from ccbench.plugins.registry import find_method
from ccbench.protocols.config import OutsideConfig, RecordedSettings, RunConfig
from ccbench.protocols.protocol import Protocol
from ccbench.runs import RunFolder
from ccbench.runs.record import OUTSIDE, RunRecord, Sample
from ccbench.runs.scorecard import ScoredImages


def verify_run(
    path: Path,
    session: Session,
    also: Callable[[RunFolder], Iterable[Check]] = lambda run: (),
    resampled: int = RESAMPLED,
) -> Verification:
    """Compare a complete, scored run with its own record, and with scores computed anew.

    Args:
        path: the run folder.
        session: what the scores are computed and the images sampled with.
        also: more that is compared before anything is computed, such as a board's record of the run.
        resampled: how many images are sampled again from the checkpoint; 0 = none.

    Raises:
        UsageError: there is no run, or it is not complete and scored.
        DataError: the test data is missing or changed.
    """
    try:
        run = RunFolder.read(path)
        checks = [*_check_files(run), *also(run)]
        if worst(*checks) == "drift":  # scores of changed files would say nothing more
            return Verification(run_id=run.record.run_id, checks=checks)
        card, columns = run.scorecard(), run.per_sample() if run.scored_files() else None
    except (DataError, VerificationError) as error:  # a record that cannot be read, or not as what it was
        return Verification(run_id=path.name, checks=[Check(what="records", state="drift", detail=str(error))])
    if card is None or columns is None:
        raise UsageError(f"{path}: the run has no scores of its present images; run: ccbench score {path}")
    checks += resample(run, resampled, session) if resampled else []
    fresh = session.scorer().score(run)
    checks.append(_check_order(run, fresh))
    checks += check_scores(ScoredImages(card, columns), fresh)
    return Verification(run_id=run.record.run_id, checks=checks, card=fresh.card)


def _check_files(run: RunFolder) -> Iterator[Check]:
    record = run.record
    if record.status != "complete":
        raise UsageError(f"{run.path}: the run is {run.state}, not complete; run the same command to finish it")
    recorded = Protocol.model_validate(record.config.get("protocol"))
    yield equal("protocol", recorded.hash, record.protocol_hash)
    if recorded.hash != record.protocol_hash:
        return
    config = run.config
    yield _check_configuration(config, record)
    yield from _check_method(config, record)
    for name, (found, noted) in run.scored_files().items():
        yield equal(name, found, noted)
    yield equal("checkpoint", run.checkpoint_sha256(), record.method and record.method.weights_sha256)
    yield _check_images(run, run.samples(), record.conditions.n if record.conditions else 0, "images")
    for name, samples in (("copies", run.copies()), ("training images", run.training_samples())):
        if samples:
            yield _check_images(run, samples, len(samples), name)


def _check_configuration(config: RunConfig, record: RunRecord) -> Check:
    if isinstance(config.settings, RecordedSettings):
        detail = f"the method {config.method} is not installed, which says what changes an image"
        return Check(what="configuration", state="not checked", detail=detail)
    return equal("configuration", config.config_hash, record.config_hash)


def _check_method(config: RunConfig, record: RunRecord) -> Iterator[Check]:
    """Compare what a record says of its method, as far as it is known here: which row it becomes hangs on that."""
    if record.method is None:
        yield Check(what="method", state="drift", detail="found no record of the method")
        return
    brought = isinstance(config.settings, OutsideConfig)
    kind = "images from outside" if brought else "control" if record.method.control else "method"
    if (record.method.distribution == OUTSIDE) != brought:
        yield Check(what="method", state="drift", detail=f"found {kind} of distribution {record.method.distribution}")
        return
    try:
        control = find_method(config.method).info.control
    except UsageError:
        return
    yield equal("method", kind, "control" if control else "method")


def _check_images(run: RunFolder, samples: list[Sample], wanted: int, what: str) -> Check:
    wrong = [sample.file for sample in samples if sha256_file(run.path / sample.file) != sample.sha256]
    if wrong:
        return Check(what=what, state="drift", detail=f"{len(wrong)} are not as recorded, the first {wrong[0]}")
    if len(samples) != wanted:
        return Check(what=what, state="drift", detail=f"found {len(samples)}, wanted {wanted}")
    if what == "images" and [sample.index for sample in samples] != list(range(len(samples))):
        return Check(what=what, state="drift", detail=f"found other numbers than 0 to {wanted - 1}")
    return Check(what=f"{what} ({len(samples)})", state="match")


def _check_order(run: RunFolder, fresh: ScoredImages) -> Check:
    """Compare the conditions that the images are said to be of with those that they were scored as."""
    found = [sample.condition_id for sample in run.samples()]
    wrong = [(a, b) for a, b in zip(found, fresh.per_sample["condition_id"], strict=False) if a != b]
    return equal("conditions", *(wrong[0] if wrong else ("the protocol's", "the protocol's")))
