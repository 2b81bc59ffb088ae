"""The scorecard of one synthesis, and its JSON form."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ccbench.errors import DataError
from ccbench.types import Interval, Score

if TYPE_CHECKING:
    import pandas as pd

SCORECARD_VERSION = 3
"""Raised when a scorecard holds other metrics than before: runs with an older one are scored again."""


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


@dataclass(frozen=True, eq=False)
class Scorecard:
    """All scores of one set of synthetic images.

    Attributes:
        scores: one entry per metric, value None with a reason where it could not be computed.
        controls: name -> scores of a control; "real-split" holds real images scored like a method (floor, ceiling).
        per_sample: `index`, `condition_id` and a column for each metric of single images, one row an image, NaN = none.
        failures: kind -> number of synthetic images; 0 = looked for and not found.
        notes: short facts about the scoring, such as the share of truncated prompts.
        by_source: data set -> its scores apart, where the split mixes several; empty otherwise.
        near_pairs: the synthetic images nearest to a training image, nearest first, for people to look at.
        version: which metrics it has, see `SCORECARD_VERSION`.
    """

    scores: list[Score]
    controls: dict[str, list[Score]]
    per_sample: "pd.DataFrame"
    failures: dict[str, int]
    notes: dict[str, str | float]
    by_source: dict[str, SourceScores] = field(default_factory=dict)
    near_pairs: list[NearPair] = field(default_factory=list)
    version: int = SCORECARD_VERSION

    def to_json(self) -> dict[str, Any]:
        """Return everything but `per_sample` as plain JSON values, numbers unrounded."""
        return {
            "version": self.version,
            **_to_json(self.scores, self.controls),
            "failures": dict(self.failures),
            "notes": dict(self.notes),
            "near_pairs": [asdict(pair) for pair in self.near_pairs],
            "by_source": {name: _to_json(part.scores, part.controls) for name, part in self.by_source.items()},
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any], per_sample: "pd.DataFrame | None" = None) -> "Scorecard":
        """Return the scorecard of `to_json`'s record; `per_sample` is empty unless given.

        Raises:
            DataError: the record does not have that form.
        """
        try:
            return cls(
                **_from_json(record),
                per_sample=per_sample_table([], {}) if per_sample is None else per_sample,
                failures=dict(record["failures"]),
                notes=dict(record["notes"]),
                near_pairs=[NearPair(**pair) for pair in record.get("near_pairs", [])],
                version=record.get("version", 1),
                by_source={n: SourceScores(**_from_json(part)) for n, part in record.get("by_source", {}).items()},
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise DataError(f"scorecard: not a scorecard's record ({error!r}); score the run again") from error


def _to_json(scores: Sequence[Score], controls: Mapping[str, Sequence[Score]]) -> dict[str, Any]:
    return {
        "scores": [score_to_json(score) for score in scores],
        "controls": {name: [score_to_json(score) for score in control] for name, control in controls.items()},
    }


def _from_json(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "scores": [score_from_json(score) for score in record["scores"]],
        "controls": {name: [score_from_json(s) for s in scores] for name, scores in record["controls"].items()},
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


def score_from_json(record: Mapping[str, Any]) -> Score:
    """Return the score of `score_to_json`'s record; older records have no `p` and no `no_interval`."""
    interval = record["interval"]
    return Score(
        metric=record["metric"],
        signature=record["signature"],
        value=record["value"],
        n=record["n"],
        n_real=record["n_real"],
        interval=None if interval is None else Interval(**interval),
        reason=record["reason"],
        p=record.get("p"),
        no_interval=record.get("no_interval"),
    )


def per_sample_table(ids: Sequence[str], values: Mapping[str, Sequence[float]]) -> "pd.DataFrame":
    """Return the table of per-image scores, metric -> one value an image; a metric without values is all NaN."""
    import pandas as pd

    table = pd.DataFrame({"index": pd.RangeIndex(len(ids)), "condition_id": pd.Series(ids, dtype="str")})
    for name, column in values.items():
        table[name] = pd.Series(column if len(column) else [float("nan")] * len(ids), dtype="float64")
    return table
