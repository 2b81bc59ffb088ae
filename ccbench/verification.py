"""Whether a run still is what its record says: files hashed again, scores computed again from the images."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from ccbench.errors import CcbenchError, DataError, UsageError, VerificationError
from ccbench.images import sha256_file
from ccbench.metrics import metric_info
from ccbench.metrics.intervals import EARLIER_KINDS, NORMAL_QUANTILE
from ccbench.metrics.memorisation import SAME
from ccbench.records import Record, Sample
from ccbench.scorecard import Scorecard
from ccbench.scoring.runs import RunScorer
from ccbench.store import RunFolder
from ccbench.types import Score

State = Literal["match", "within tolerance", "drift"]

TOLERANCE = 1e-3, 0.05
"""Of a value, and of its standard error: what features of two machines, or judges trained on two, may differ by."""

P_TOLERANCE = 0.01
"""Of a permutation p-value, which moves in steps when features do."""

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

    def require_no_drift(self, path: Path) -> None:
        """Raise `VerificationError` about the first drift of the run in `path`, where there is one."""
        for check in self.checks:
            if check.state == "drift":
                raise VerificationError(f"{path}: {check.what}: {check.detail}")


def verify_run(
    path: Path, scorer: RunScorer, boards: Path | None = None, note: Callable[[str], None] = lambda text: None
) -> Verification:
    """Compare a complete, scored run with its own record, with a board's, and with scores computed anew.

    Args:
        boards: folder of boards; where one holds this very run, its record must be the run's.

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
    return files.model_copy(update={"checks": [*checks, *_check_scores(stored, columns, scorer.score(run))]})


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
    yield _equal("board's record", _same(held.record == record), _same(True))
    try:
        yield _equal("board's scores", _same(held.scorecard == run.scorecard()), _same(True))
    except CcbenchError as error:
        yield Check(what="board's scores", state="drift", detail=str(error))


def _same(same: bool) -> str:
    return "the run's" if same else "another"


def _check_scores(stored: dict[str, Any], columns: Any, fresh: Scorecard) -> Iterator[Check]:
    held = Scorecard.from_json(stored)
    groups, again = _score_groups(held), _score_groups(fresh)
    yield _equal("groups of scores", ", ".join(again), ", ".join(groups))
    for name, scores in groups.items():
        found = {score.metric: score for score in again.get(name, [])}
        if [score.metric for score in scores] != list(found):
            yield Check(what=name or "scores", state="drift", detail=f"found metrics {', '.join(found) or 'none'}")
            continue
        yield from (_check_score(score, found[score.metric], f"{name}: " if name else "") for score in scores)
    for column in fresh.per_sample.columns.difference(["index", "condition_id"]):
        yield _check_column(column, columns, fresh)
    yield _check_pairs(held, fresh)
    yield _equal("failures", str(held.failures), str(fresh.failures))
    yield _equal("notes", _plain(fresh), _plain(held))


def _score_groups(card: Scorecard) -> dict[str, list[Score]]:
    """Return a scorecard's lists of scores by what they are of: nothing for the run's own."""
    groups = {"": card.scores} | {f"control {name}": scores for name, scores in card.controls.items()}
    for source, apart in card.by_source.items():
        groups[source] = apart.scores
        groups |= {f"{source}, control {name}": scores for name, scores in apart.controls.items()}
    return groups


def _check_pairs(held: Scorecard, fresh: Scorecard) -> Check:
    """Compare the pairs nearest to training images; of near ties another machine may list others.

    Distances of equal images, below `SAME`, are rounding.
    """
    what = "nearest training images"
    if held.near_pairs == fresh.near_pairs:
        return Check(what=what, state="match")
    old, new = ([pair.distance for pair in card.near_pairs] for card in (held, fresh))
    close = len(old) == len(new) and all(
        abs(a - b) <= max(TOLERANCE[0] * a, SAME) for a, b in zip(old, new, strict=True)
    )
    moved = sum(a != b for a, b in zip(held.near_pairs, fresh.near_pairs, strict=False))
    return Check(
        what=what,
        state="within tolerance" if close else "drift",
        detail=f"found {len(new)} pairs, {moved} of them others than the {len(old)} recorded",
    )


def _plain(card: Scorecard) -> str:
    """Return a scorecard's notes but for those of a judge's own training."""
    return str({key: value for key, value in card.notes.items() if not key.startswith("judge_")})


def _check_score(held: Score, found: Score, prefix: str) -> Check:
    what = f"{prefix}{held.metric}"
    held, found = _of_one_rule(held, found)
    if held == found:
        return Check(what=what, state="match")
    if _nature(held) != _nature(found):
        return _equal(what, _nature(found), _nature(held))
    ends, found_numbers = held.interval, _numbers(found)
    error = (ends.high - ends.low) / (2 * NORMAL_QUANTILE) if ends else 0.0
    allowed = (
        TOLERANCE[0] * abs(held.value or 0.0) + TOLERANCE[1] * error + _one_image(held.metric, held.n, held.n_real)
    )
    near, details = True, []
    for name, old in _numbers(held).items():
        new, limit = found_numbers[name], P_TOLERANCE if name == "p" else allowed
        near &= abs(old - new) <= limit
        if old != new:
            details.append(f"{name} found {new!r}, wanted {old!r} (tolerance {limit:.3g})".lstrip())
    return Check(what=what, state="within tolerance" if near else "drift", detail="; ".join(details))


def _of_one_rule(held: Score, found: Score) -> tuple[Score, Score]:
    """Return both scores without what only the present rule of intervals gives, where the record is of an earlier one.

    A record of an earlier version has the same value and another interval of it, or no reason why there is none.
    """
    if held.interval is not None and held.interval.kind.startswith(EARLIER_KINDS):
        return replace(held, interval=None), replace(found, interval=None, no_interval=None)
    if held.interval is None and held.no_interval is None:
        return held, replace(found, no_interval=None)
    return held, found


def _one_image(metric: str, n: int, n_real: int | None = None) -> float:
    """Return by how much one image, of n or of n_real, moves a metric that counts them, else 0.

    The rounding of another machine, or of another number of threads, is enough for an image on a threshold.
    """
    counted = {"images": n, "reference": n_real, None: None}[metric_info(metric).counts]
    return 1 / counted if counted else 0.0


def _nature(score: Score) -> str:
    """Return all of a score that is no measured number: it has to be equal on every machine."""
    ends = f"{score.interval.level:g} {score.interval.kind}" if score.interval else "none"
    parts = (score.reason or "a value", f"interval {score.no_interval or ends}", "no p" if score.p is None else "p")
    return f"{score.signature}, n {score.n} x {score.n_real}, {', '.join(parts)}"


def _numbers(score: Score) -> dict[str, float]:
    """Return what was measured, those that the score has: the value, the ends of its interval, and p."""
    ends = score.interval
    sides = {"interval's low end": ends.low, "interval's high end": ends.high} if ends else {}
    numbers = {"": score.value, **sides, "p": score.p}
    return {name: number for name, number in numbers.items() if number is not None}


def _check_column(name: str, held: Any, fresh: Scorecard) -> Check:
    """Compare one metric of single images; its tolerance is judged by the mean, which is a score of its own."""
    what = f"per image: {name}"
    if name not in held or list(held["condition_id"]) != list(fresh.per_sample["condition_id"]):
        return Check(what=what, state="drift", detail="the column is not there, or of other images")
    old, new = held[name], fresh.per_sample[name]
    if old.equals(new):
        return Check(what=what, state="match")
    moved = (old - new).abs()
    allowed = TOLERANCE[0] * old.abs().mean() + _one_image(name, len(old))
    close = bool((old.isna() == new.isna()).all() and moved.mean() <= allowed)
    return Check(
        what=what,
        state="within tolerance" if close else "drift",
        detail=f"{int((moved > 0).sum())} of {len(old)} images differ, by {moved.mean():.3g} in the mean",
    )
