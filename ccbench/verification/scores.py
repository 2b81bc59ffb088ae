"""Compares the scores on record with scores computed anew."""

from collections.abc import Iterator
from typing import Any

from ccbench.metrics import metric_info
from ccbench.metrics.intervals import NORMAL_QUANTILE
from ccbench.metrics.memorisation import SAME
from ccbench.scorecard import Scorecard
from ccbench.types import Score
from ccbench.verification.checks import Check, equal

TOLERANCE = 1e-3, 0.05
"""Of a value, and of its standard error: what features of two machines, or judges trained on two, may differ by."""

P_TOLERANCE = 0.01
"""Of a permutation p-value, which moves in steps when features do."""


def check_scores(stored: dict[str, Any], columns: Any, fresh: Scorecard) -> Iterator[Check]:
    """Yield a check of all that a stored scorecard and its table of single images hold, against a fresh one."""
    held = Scorecard.from_json(stored)
    groups, again = _score_groups(held), _score_groups(fresh)
    yield equal("groups of scores", ", ".join(again), ", ".join(groups))
    for name, scores in groups.items():
        found = {score.metric: score for score in again.get(name, [])}
        if [score.metric for score in scores] != list(found):
            yield Check(what=name or "scores", state="drift", detail=f"found metrics {', '.join(found) or 'none'}")
            continue
        yield from (_check_score(score, found[score.metric], f"{name}: " if name else "") for score in scores)
    for column in fresh.per_sample.columns.difference(["index", "condition_id"]):
        yield _check_column(column, columns, fresh)
    yield _check_pairs(held, fresh)
    yield equal("failures", str(held.failures), str(fresh.failures))
    yield equal("notes", _plain(fresh), _plain(held))


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
    if held == found:
        return Check(what=what, state="match")
    if _nature(held) != _nature(found):
        return equal(what, _nature(found), _nature(held))
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


def _one_image(metric: str, n: int, n_real: int | None = None) -> float:
    """Return by how much one image, of n or of n_real, moves a metric that counts them, else 0.

    The rounding of another machine, or of another number of threads, is enough for an image on a threshold.
    """
    counted = {"images": n, "reference": n_real, None: None}[metric_info(metric).counts]
    return 1 / counted if counted else 0.0


def _nature(score: Score) -> str:
    """Return all of a score that is no measured number: it has to be equal on every machine."""
    ends = f"{score.interval.level:g} {score.interval.kind}" if score.interval else "none"
    parts = (score.reason or "a value", f"interval {ends}", "no p" if score.p is None else "p")
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
