"""The scorecard of one synthesis, the same object in memory and as JSON."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    WrapSerializer,
    model_serializer,
    model_validator,
)

from ccbench.types import Count, Number, Record, Score, Share, Text

if TYPE_CHECKING:
    import pandas as pd

SCORECARD_VERSION = 3
"""Raised when a scorecard holds other metrics than before: runs with an older one are scored again."""

_PATH_OF = "path of "
_ADDED = "no_interval"  # a field of scores that earlier scorecards do not have: they are written as they were read


def _read_score(stored: Any) -> Any:
    return {_ADDED: "", **stored} if isinstance(stored, dict) else stored


def _write_score(score: Score, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
    stored: dict[str, Any] = handler(score)
    if score.no_interval == "":
        del stored[_ADDED]
    return stored


StoredScore = Annotated[Score, BeforeValidator(_read_score), WrapSerializer(_write_score)]
"""A score as a field of a record."""


class SourceScores(Record):
    """Scores and controls of the images of one data set of a mixed split, against that data set's own reference."""

    scores: list[StoredScore]
    controls: dict[Text, list[StoredScore]]


class NearPair(Record):
    """A synthetic image and its nearest training image: numbers and ids of both, and their cosine distance, 0..2."""

    index: Count
    condition_id: Text
    training_index: Count
    training_id: Text
    distance: Number


class Notes(Record):
    """Facts about a scoring. Each has its own rule of `ccbench verify`, see `score_drift` there.

    In JSON a fact that is not known is left out, and a path is a fact named `path of ENCODER`.

    Attributes:
        prompts_truncated_share: of the prompts that the text encoder cuts, 0..1; None without prompts.
        memorisation: "publish", "look", or why it is not told; None where it was not measured.
        paths: encoder -> how it was computed here, such as `fused cpu, feature error 2e-05`; it changes no score.
        judge_weights: first 8 hex digits of the reference segmenter's sha256, None without one; each machine trains its
            own.
        judge_dice_validation: the reference segmenter's mean Dice on real validation images, 0..1.
    """

    prompts_truncated_share: Share | None = None
    memorisation: Text | None = None
    paths: dict[Text, Text] = Field(default_factory=dict)
    judge_weights: Text | None = None
    judge_dice_validation: Share | None = None

    @property
    def memorised(self) -> bool:
        """Whether the images lie so near to training images that somebody has to look before they are shown."""
        return self.memorisation == "look"

    @model_validator(mode="before")
    @classmethod
    def _gather_paths(cls, facts: Any) -> Any:
        if not isinstance(facts, dict) or not (named := [name for name in facts if name.startswith(_PATH_OF)]):
            return facts
        others = {name: fact for name, fact in facts.items() if name not in named}
        return {**others, "paths": {name.removeprefix(_PATH_OF): facts[name] for name in named}}

    @model_serializer
    def _flatten(self) -> dict[str, Any]:
        facts = {
            "prompts_truncated_share": self.prompts_truncated_share,
            "memorisation": self.memorisation,
            **{f"{_PATH_OF}{name}": path for name, path in self.paths.items()},
            "judge_weights": self.judge_weights,
            "judge_dice_validation": self.judge_dice_validation,
        }
        return {name: fact for name, fact in facts.items() if fact is not None}


class Scorecard(Record):
    """All scores of one set of synthetic images.

    Attributes:
        version: which metrics it has, see `SCORECARD_VERSION`.
        scores: one entry per metric, value None with a reason where it could not be computed.
        controls: name -> scores of a control; "real-split" holds real images scored like a method (floor, ceiling).
        failures: kind -> number of synthetic images; 0 = looked for and not found.
        notes: facts about the scoring.
        near_pairs: the synthetic images nearest to a training image, nearest first, for people to look at.
        by_source: data set -> its scores apart, where the split mixes several; empty otherwise.
    """

    version: Count = SCORECARD_VERSION
    scores: list[StoredScore]
    controls: dict[Text, list[StoredScore]]
    failures: dict[Text, Count]
    notes: Notes = Notes()
    near_pairs: list[NearPair] = Field(default_factory=list)
    by_source: dict[Text, SourceScores] = Field(default_factory=dict)

    def groups(self) -> dict[str, list[Score]]:
        """Return all lists of scores by what they are of; the run's own by an empty name."""
        groups = {"": self.scores} | {f"control {name}": scores for name, scores in self.controls.items()}
        for source, apart in self.by_source.items():
            groups[source] = apart.scores
            groups |= {f"{source}, control {name}": scores for name, scores in apart.controls.items()}
        return groups


class ScoredImages(NamedTuple):
    """What scoring a set of images gives.

    Attributes:
        card: its scores.
        per_sample: `index`, `condition_id` and a column for each metric of single images, one row an image, NaN = none.
    """

    card: Scorecard
    per_sample: "pd.DataFrame"


def per_sample_table(ids: Sequence[str], values: Mapping[str, Sequence[float]]) -> "pd.DataFrame":
    """Return the table of per-image scores, metric -> one value an image; a metric without values is all NaN."""
    import pandas as pd

    table = pd.DataFrame({"index": pd.RangeIndex(len(ids)), "condition_id": pd.Series(ids, dtype="str")})
    for name, column in values.items():
        table[name] = pd.Series(column if len(column) else [float("nan")] * len(ids), dtype="float64")
    return table
