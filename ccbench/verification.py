"""Whether a run still is what its record says: files hashed again, scores computed again from the images."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from ccbench.assets import BackboneSource
from ccbench.errors import CcbenchError, DataError, UsageError
from ccbench.features.cache import FeatureCache
from ccbench.images import sha256_file
from ccbench.metrics.intervals import NORMAL_QUANTILE
from ccbench.records import Record, Sample
from ccbench.scorecard import Scorecard
from ccbench.scoring.runs import compute_scorecard
from ccbench.store import RunFolder
from ccbench.types import Progress, Score, SilentProgress

State = Literal["match", "within tolerance", "drift"]

TOLERANCE = 1e-3, 0.05
"""Of a value, and of its standard error: what features of two machines, or judges trained on two, may differ by."""

_ORDER: tuple[State, ...] = ("match", "within tolerance", "drift")


class Check(Record):
    """One thing that was looked at. `detail`: what was found and what was wanted, empty for a match."""

    what: str
    state: State
    detail: str = ""


class Verification(Record):
    """All that was looked at in one run."""

    run_id: str
    checks: list[Check]

    @property
    def state(self) -> State:
        """The worst of all."""
        return max((check.state for check in self.checks), key=_ORDER.index)


def verify_run(
    path: Path,
    data_root: Path | None,
    *,
    boards: Path | None = None,
    device: str = "cpu",
    backbone: BackboneSource = BackboneSource(),
    cache: FeatureCache | None = None,
    progress: Progress = SilentProgress(),
    note: Callable[[str], None] = lambda text: None,
) -> Verification:
    """Compare a complete, scored run with its own record, with a board's, and with scores computed anew.

    Args:
        boards: folder of boards; where one holds the run, its record must be the run's.

    Raises:
        UsageError: there is no run, or it is not complete and scored. DataError: the test data is missing or changed.
    """
    try:
        run = RunFolder.read(path)
        checks = [*_check_files(run), *(_check_board(run, boards) if boards else ())]
        stored, columns = run.scorecard(), run.per_sample()
    except DataError as error:  # a record that cannot be read, or not as what it was
        return Verification(run_id=path.name, checks=[Check(what="records", state="drift", detail=str(error))])
    files = Verification(run_id=run.record.run_id, checks=checks)
    if files.state == "drift":  # scores of changed files would say nothing more
        return files
    if stored is None:
        raise UsageError(f"{path}: the run has no scores of its present images; run: ccbench score {path}")
    fresh = compute_scorecard(
        run, data_root, device=device, backbone=backbone, cache=cache, progress=progress, note=note
    )
    return files.model_copy(update={"checks": [*checks, *_check_scores(stored, columns, fresh)]})


def _check_files(run: RunFolder) -> Iterator[Check]:
    record = run.record
    if record.status != "complete":
        raise UsageError(f"{run.path}: the run is {record.status}, not complete; run the same command to finish it")
    config = run.config
    yield _equal("configuration", config.config_hash, record.config_hash)
    yield _equal("protocol", config.protocol.hash, record.protocol_hash)
    yield _equal("seed", str(config.seed), str(record.seed))
    for name, (found, recorded) in run.scored_files().items():
        yield _equal(name, found, recorded)
    yield _equal("checkpoint", str(run.checkpoint_sha256()), str(record.method and record.method.weights_sha256))
    yield _check_images(run, run.samples(), record.conditions.n if record.conditions else 0, "images")
    for name, samples in (("copies", run.copies()), ("training images", run.training_samples())):
        if samples:
            yield _check_images(run, samples, len(samples), name)


def _equal(what: str, found: str, wanted: str) -> Check:
    same = found == wanted
    return Check(
        what=what, state="match" if same else "drift", detail="" if same else f"found {found}, wanted {wanted}"
    )


def _check_images(run: RunFolder, samples: list[Sample], wanted: int, what: str) -> Check:
    wrong = [sample.file for sample in samples if sha256_file(run.path / sample.file) != sample.sha256]
    if wrong:
        return Check(what=what, state="drift", detail=f"{len(wrong)} are not as recorded, the first {wrong[0]}")
    if len(samples) != wanted:
        return Check(what=what, state="drift", detail=f"found {len(samples)}, wanted {wanted}")
    return Check(what=f"{what} ({len(samples)})", state="match")


def _check_board(run: RunFolder, boards: Path) -> Iterator[Check]:
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
    yield _equal("board's record", _same(held.record == record), _same(True))
    try:
        yield _equal("board's scores", _same(held.scorecard == run.scorecard()), _same(True))
    except CcbenchError as error:
        yield Check(what="board's scores", state="drift", detail=str(error))


def _same(same: bool) -> str:
    return "the run's" if same else "another"


def _check_scores(stored: dict[str, Any], columns: Any, fresh: Scorecard) -> Iterator[Check]:
    held = Scorecard.from_json(stored)
    for name, (old, new) in {
        "scores": (held.scores, fresh.scores),
        **{f"control {key}": (scores, fresh.controls.get(key, [])) for key, scores in held.controls.items()},
    }.items():
        found = {score.metric: score for score in new}
        if [score.metric for score in old] != list(found):
            yield Check(what=name, state="drift", detail=f"found metrics {', '.join(found)}")
            continue
        yield from (_check_score(score, found[score.metric], "" if name == "scores" else f"{name}: ") for score in old)
    for column in fresh.per_sample.columns.difference(["index", "condition_id"]):
        yield _check_column(column, columns, fresh)
    yield _equal("failures", str(held.failures), str(fresh.failures))
    yield _equal("notes", _plain(fresh), _plain(held))


def _plain(card: Scorecard) -> str:
    """Return a scorecard's notes but for those of a judge's own training."""
    return str({key: value for key, value in card.notes.items() if not key.startswith("judge_")})


def _check_score(held: Score, found: Score, prefix: str) -> Check:
    what = f"{prefix}{held.metric}"
    if held.signature != found.signature or (held.n, held.n_real) != (found.n, found.n_real):
        return _equal(what, f"{found.signature}, n {found.n}", f"{held.signature}, n {held.n}")
    if held.value is None or found.value is None:
        return _equal(what, str(found.reason), str(held.reason))
    ends = held.interval
    error = (ends.high - ends.low) / (2 * NORMAL_QUANTILE) if ends else 0.0
    pairs = [(held.value, found.value)]
    if ends and found.interval:
        pairs += [(ends.low, found.interval.low), (ends.high, found.interval.high)]
    if all(old == new for old, new in pairs) and (ends is None) == (found.interval is None):
        return Check(what=what, state="match")
    allowed = TOLERANCE[0] * abs(held.value) + TOLERANCE[1] * error
    near = all(abs(old - new) <= allowed for old, new in pairs) and (ends is None) == (found.interval is None)
    return Check(
        what=what,
        state="within tolerance" if near else "drift",
        detail=f"found {found.value!r}, wanted {held.value!r} (tolerance {allowed:.3g})",
    )


def _check_column(name: str, held: Any, fresh: Scorecard) -> Check:
    """Compare one metric of single images; its tolerance is judged by the mean, which is a score of its own."""
    what = f"per image: {name}"
    if name not in held or list(held["condition_id"]) != list(fresh.per_sample["condition_id"]):
        return Check(what=what, state="drift", detail="the column is not there, or of other images")
    old, new = held[name], fresh.per_sample[name]
    if old.equals(new):
        return Check(what=what, state="match")
    moved = (old - new).abs()
    close = bool((old.isna() == new.isna()).all() and moved.mean() <= TOLERANCE[0] * old.abs().mean())
    return Check(
        what=what,
        state="within tolerance" if close else "drift",
        detail=f"{int((moved > 0).sum())} of {len(old)} images differ, by {moved.mean():.3g} in the mean",
    )
