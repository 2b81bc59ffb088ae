"""Compares the scores on record with scores computed anew."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from ccbench.metrics.sets.memorisation import SAME
from ccbench.metrics.statistics.intervals import EARLIER_KINDS, NORMAL_QUANTILE
from ccbench.metrics.tolerance import OF_P, OF_VALUE, allowed
from ccbench.pipeline.verification.checks import Check, State, equal, worst
from ccbench.runs.scorecard import Scorecard, ScoredImages
from ccbench.types import Score

if TYPE_CHECKING:
    import pandas as pd

SEGMENTER_DICE = 0.01
"""Between two trainings of the reference segmenter on one set of images: of its Dice on the validation images."""

_MEMORISED = ("memorised_near", "memorised_alone")


def check_scores(stored: ScoredImages, scored: ScoredImages) -> Iterator[Check]:
    """Yield a check of all that a stored scorecard and its table of single images hold, against fresh ones."""
    held, fresh = stored.card, scored.card
    memorised: list[Check] = []
    groups, again = held.groups(), fresh.groups()
    yield equal("groups of scores", ", ".join(again), ", ".join(groups))
    for name, scores in groups.items():
        found = {score.metric: score for score in again.get(name, [])}
        if [score.metric for score in scores] != list(found):
            yield Check(what=name or "scores", state="drift", detail=f"found metrics {', '.join(found) or 'none'}")
            continue
        checks = [_check_score(score, found[score.metric], f"{name}: " if name else "") for score in scores]
        memorised += [check for check in checks if check.what in _MEMORISED]
        yield from checks
    for column in scored.per_sample.columns.difference(["index", "condition_id"]):
        yield _check_column(column, stored.per_sample, scored.per_sample)
    near = _check_pairs(held, fresh)
    yield near
    yield equal("failures", fresh.failures, held.failures)
    yield from _check_notes(held, fresh, worst(near, *memorised))


def _check_pairs(held: Scorecard, fresh: Scorecard) -> Check:
    """Compare the pairs nearest to training images; of near ties another machine may list others.

    Distances of equal images, below `SAME`, are rounding.
    """
    what = "nearest training images"
    if held.near_pairs == fresh.near_pairs:
        return Check(what=what, state="match")
    old, new = ([pair.distance for pair in card.near_pairs] for card in (held, fresh))
    close = len(old) == len(new) and all(abs(a - b) <= max(OF_VALUE * a, SAME) for a, b in zip(old, new, strict=True))
    moved = sum(a != b for a, b in zip(held.near_pairs, fresh.near_pairs, strict=False))
    return Check(
        what=what,
        state="within tolerance" if close else "drift",
        detail=f"found {len(new)} pairs, {moved} of them others than the {len(old)} recorded",
    )


def _check_notes(held: Scorecard, fresh: Scorecard, shares: State) -> Iterator[Check]:
    """Compare the notes, each by its own rule. How features were computed (`paths`) is no score and not compared.

    Args:
        shares: the worst of the checks that the verdict on memorisation follows from: it may differ where they do.
    """
    old, new = held.notes, fresh.notes
    yield equal("prompts_truncated_share", new.prompts_truncated_share, old.prompts_truncated_share)
    verdict = equal("memorisation", new.memorisation, old.memorisation)
    if verdict.state == "drift" and shares == "within tolerance" and None not in (old.memorisation, new.memorisation):
        verdict = verdict.model_copy(update={"state": "within tolerance"})
    yield verdict
    if old.judge_weights is None or new.judge_weights is None or old.judge_weights == new.judge_weights:
        facts = [(notes.judge_weights, notes.judge_dice_validation) for notes in (new, old)]
        said = ("none" if weights is None else f"{weights}, Dice {dice}" for weights, dice in facts)
        yield equal("reference segmenter", *said)
        return
    dices = [notes.judge_dice_validation or 0.0 for notes in (new, old)]
    near = abs(dices[0] - dices[1]) <= SEGMENTER_DICE
    yield Check(
        what="reference segmenter",
        state="within tolerance" if near else "drift",
        detail=f"another training of it: found {new.judge_weights}, Dice {dices[0]}, wanted {old.judge_weights}, Dice "
        f"{dices[1]} (tolerance {SEGMENTER_DICE:g})",
    )


def _check_score(held: Score, found: Score, prefix: str) -> Check:
    what = f"{prefix}{held.metric}"
    held, found = _of_one_rule(held, found)
    if held == found:
        return Check(what=what, state="match")
    if _nature(held) != _nature(found):
        return equal(what, _nature(found), _nature(held))
    ends, found_numbers = held.interval, _numbers(found)
    error = (ends.high - ends.low) / (2 * NORMAL_QUANTILE) if ends else 0.0
    most = allowed(held.metric, held.value or 0.0, error, held.n, held.n_real)
    near, details = True, []
    for name, old in _numbers(held).items():
        new, limit = found_numbers[name], OF_P if name == "p" else most
        near &= abs(old - new) <= limit
        if old != new:
            details.append(f"{name} found {new!r}, wanted {old!r} (tolerance {limit:.3g})".lstrip())
    return Check(what=what, state="within tolerance" if near else "drift", detail="; ".join(details))


def _of_one_rule(held: Score, found: Score) -> tuple[Score, Score]:
    """Return both scores without what only the present rule of intervals gives, where the record is of an earlier one.

    A record of an earlier version has the same value and another interval of it, or no reason why there is none.
    """
    held = replace(held, no_interval=held.no_interval or None)
    if held.interval is not None and held.interval.kind.startswith(EARLIER_KINDS):
        return replace(held, interval=None), replace(found, interval=None, no_interval=None)
    if held.interval is None and held.no_interval is None:
        return held, replace(found, no_interval=None)
    return held, found


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


def _check_column(name: str, held: "pd.DataFrame", fresh: "pd.DataFrame") -> Check:
    """Compare one metric of single images; its tolerance is judged by the mean, which is a score of its own."""
    what = f"per image: {name}"
    if name not in held or list(held["condition_id"]) != list(fresh["condition_id"]):
        return Check(what=what, state="drift", detail="the column is not there, or of other images")
    old, new = held[name], fresh[name]
    if old.equals(new):
        return Check(what=what, state="match")
    moved = (old - new).abs()
    most = allowed(name, float(old.abs().mean()), 0.0, len(old))
    close = bool((old.isna() == new.isna()).all() and moved.mean() <= most)
    return Check(
        what=what,
        state="within tolerance" if close else "drift",
        detail=f"{int((moved > 0).sum())} of {len(old)} images differ, by {moved.mean():.3g} on average",
    )
