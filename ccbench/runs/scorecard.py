"""The scorecard of one synthesis, and its JSON form."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ccbench.base.model_errors import first_problem
from ccbench.errors import DataError
from ccbench.runs.record import Count, Number, Share, Text
from ccbench.types import Interval, Record, Score

if TYPE_CHECKING:
    import pandas as pd

SCORECARD_VERSION = 3
"""Raised when a scorecard holds other metrics than before: runs with an older one are scored again."""

_PATH_OF = "path of "


@dataclass(frozen=True)
class SourceScores:
    """Scores and controls of the images of one data set of a mixed split, against that data set's own reference."""

    scores: list[Score]
    controls: dict[str, list[Score]]


@dataclass(frozen=True)
class NearPair:
    """A synthetic image and its nearest training image: numbers and ids of both, and their cosine distance, 0..2."""

    index: int
    condition_id: str
    training_index: int
    training_id: str
    distance: float


@dataclass(frozen=True)
class Notes:
    """Facts about a scoring. Each has its own rule of `ccbench verify`, see `score_drift` there.

    Attributes:
        prompts_truncated_share: of the prompts that the text encoder cuts, 0..1; None without prompts.
        memorisation: "publish", "look", or why it is not told; None where it was not measured.
        paths: encoder -> how it was computed here, such as `fused cpu, feature error 2e-05`; it changes no score.
        judge_weights: first 8 hex digits of the judge's sha256, None without a judge; each machine trains its own.
        judge_dice_validation: the judge's mean Dice on real validation images, 0..1.
    """

    prompts_truncated_share: float | None = None
    memorisation: str | None = None
    paths: Mapping[str, str] = field(default_factory=dict)
    judge_weights: str | None = None
    judge_dice_validation: float | None = None

    def to_json(self) -> dict[str, str | float]:
        """Return the facts that are known by name; a path's name is `path of ENCODER`."""
        facts = {
            "prompts_truncated_share": self.prompts_truncated_share,
            "memorisation": self.memorisation,
            **{f"{_PATH_OF}{name}": path for name, path in self.paths.items()},
            "judge_weights": self.judge_weights,
            "judge_dice_validation": self.judge_dice_validation,
        }
        return {name: fact for name, fact in facts.items() if fact is not None}


@dataclass(frozen=True, eq=False)
class Scorecard:
    """All scores of one set of synthetic images.

    Attributes:
        scores: one entry per metric, value None with a reason where it could not be computed.
        controls: name -> scores of a control; "real-split" holds real images scored like a method (floor, ceiling).
        per_sample: `index`, `condition_id` and a column for each metric of single images, one row an image, NaN = none.
        failures: kind -> number of synthetic images; 0 = looked for and not found.
        notes: facts about the scoring.
        by_source: data set -> its scores apart, where the split mixes several; empty otherwise.
        near_pairs: the synthetic images nearest to a training image, nearest first, for people to look at.
        version: which metrics it has, see `SCORECARD_VERSION`.
    """

    scores: list[Score]
    controls: dict[str, list[Score]]
    per_sample: "pd.DataFrame"
    failures: dict[str, int]
    notes: Notes = field(default_factory=Notes)
    by_source: dict[str, SourceScores] = field(default_factory=dict)
    near_pairs: list[NearPair] = field(default_factory=list)
    version: int = SCORECARD_VERSION

    def to_json(self) -> dict[str, Any]:
        """Return everything but `per_sample` as plain JSON values, numbers unrounded."""
        return {
            "version": self.version,
            **_to_json(self.scores, self.controls),
            "failures": dict(self.failures),
            "notes": self.notes.to_json(),
            "near_pairs": [asdict(pair) for pair in self.near_pairs],
            "by_source": {name: _to_json(part.scores, part.controls) for name, part in self.by_source.items()},
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any], per_sample: "pd.DataFrame | None" = None) -> "Scorecard":
        """Return the scorecard of `to_json`'s record; `per_sample` is empty unless given.

        Raises:
            DataError: the record does not have that form, or holds a number that no scorecard can.
        """
        try:
            held = _CardForm.model_validate(record)
            return cls(
                scores=_scores(held.scores),
                controls={name: _scores(scores) for name, scores in held.controls.items()},
                per_sample=per_sample_table([], {}) if per_sample is None else per_sample,
                failures=held.failures,
                notes=_notes(held.notes),
                near_pairs=[NearPair(**dict(pair)) for pair in held.near_pairs],
                version=held.version,
                by_source={
                    source: SourceScores(
                        _scores(part.scores), {name: _scores(scores) for name, scores in part.controls.items()}
                    )
                    for source, part in held.by_source.items()
                },
            )
        except ValueError as error:  # pydantic's are
            raise DataError(f"scorecard: not a scorecard's record ({first_problem(error)}); score again") from error


class _IntervalForm(Record):
    low: Number
    high: Number
    level: Share
    kind: Text


class _ScoreForm(Record):
    """A score as JSON; older ones have no `p` and no `no_interval`."""

    metric: Text
    signature: Text
    value: Number | None
    interval: _IntervalForm | None
    p: Share | None = None
    n: Count
    n_real: Count | None
    reason: Text | None
    no_interval: Text | None = None


class _PairForm(Record):
    index: Count
    condition_id: Text
    training_index: Count
    training_id: Text
    distance: Number


class _PartForm(Record):
    scores: list[_ScoreForm]
    controls: dict[Text, list[_ScoreForm]]


class _CardForm(_PartForm):
    version: Count = 1
    failures: dict[Text, Count]
    notes: dict[Text, Text | Number]
    near_pairs: list[_PairForm] = Field(default_factory=list)
    by_source: dict[Text, _PartForm] = Field(default_factory=dict)


class _NotesForm(Record):
    """What `Notes.to_json` gives but for the paths."""

    prompts_truncated_share: Share | None = None
    memorisation: Text | None = None
    judge_weights: Text | None = None
    judge_dice_validation: Share | None = None


def _notes(facts: Mapping[str, str | float]) -> Notes:
    paths = {name: str(path) for name, path in facts.items() if name.startswith(_PATH_OF)}
    held = _NotesForm.model_validate({name: fact for name, fact in facts.items() if name not in paths})
    return Notes(**dict(held), paths={name.removeprefix(_PATH_OF): path for name, path in paths.items()})


def _scores(forms: Sequence[_ScoreForm]) -> list[Score]:
    return [Score(**{**dict(form), "interval": form.interval and Interval(**dict(form.interval))}) for form in forms]


def _to_json(scores: Sequence[Score], controls: Mapping[str, Sequence[Score]]) -> dict[str, Any]:
    return {
        "scores": [score_to_json(score) for score in scores],
        "controls": {name: [score_to_json(score) for score in control] for name, control in controls.items()},
    }


def score_to_json(score: Score) -> dict[str, Any]:
    """Return `{metric, signature, value, interval, p, n, n_real, reason, no_interval}`."""
    return {
        "metric": score.metric,
        "signature": score.signature,
        "value": score.value,
        "interval": None if score.interval is None else asdict(score.interval),
        "p": score.p,
        "n": score.n,
        "n_real": score.n_real,
        "reason": score.reason,
        "no_interval": score.no_interval,
    }


def per_sample_table(ids: Sequence[str], values: Mapping[str, Sequence[float]]) -> "pd.DataFrame":
    """Return the table of per-image scores, metric -> one value an image; a metric without values is all NaN."""
    import pandas as pd

    table = pd.DataFrame({"index": pd.RangeIndex(len(ids)), "condition_id": pd.Series(ids, dtype="str")})
    for name, column in values.items():
        table[name] = pd.Series(column if len(column) else [float("nan")] * len(ids), dtype="float64")
    return table
