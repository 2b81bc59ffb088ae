"""What a comparison finds: paired tests of two rows, and the ranks of rows, as boards and studies keep them."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import Field, model_validator

from ccbench.metrics import metric_info
from ccbench.metrics.statistics.paired import Difference
from ccbench.metrics.statistics.ranking import ALPHA
from ccbench.tables.format import (
    Outcome,
    format_difference,
    format_difference_span,
    format_effect,
    format_p,
)
from ccbench.tables.seeds import SeedSummary
from ccbench.types import ExtendedRecord, Record

Unit = Literal["condition", "condition and training"]

_NUMBERS = ("difference", "low", "high", "p", "p_holm", "effect", "n", "clusters")
_SAVED: dict[Outcome, str] = {"better": "better", "worse": "worse", "not significant": "not told apart"}
"""Outcome -> the word of it in saved tables, which stays."""


class Shown(NamedTuple):
    """A test's numbers as tables show them; `n` with the clusters in brackets, where they are known."""

    difference: str
    interval: str
    p: str
    p_holm: str
    effect: str
    n: str


class PairedTest(ExtendedRecord):
    """One metric of two rows, first less second, on the same conditions.

    Attributes:
        metric: its name.
        first: name of a row.
        second: name of the row that it is compared with.
        difference: of the means of the paired runs; None where `reason` says why it was not tested. Of a metric whose
            best is 0 it is that of both sides' distances from 0, the absolute values of their means.
        low: lower end of the 95 % interval of the difference; None where `no_interval` says why.
        high: its upper end.
        p: of the test alone.
        p_holm: corrected over all tests of the comparison or table.
        effect: in standard deviations of one condition's influence; None without spread.
        n: conditions.
        clusters: independent groups of conditions; None in files that did not record them.
        verdict: name of the better row; None = not significant at 5 %, or not tested.
        seeds: of the paired runs, first's and second's; empty in files that did not record them.
        reason: why it was not tested.
        no_interval: why there is no interval.
        by_seed: difference of each pair of runs; not saved.
        first_values: summary of all runs of the first row; not saved.
        second_values: summary of all runs of the second row; not saved.
    """

    metric: str
    first: str
    second: str
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    effect: float | None = None
    n: int | None = None
    clusters: int | None = None
    verdict: str | None = None
    seeds: tuple[tuple[int, int], ...] = ()
    reason: str | None = None
    no_interval: str | None = None
    by_seed: tuple[float, ...] = Field(default=(), exclude=True)
    first_values: SeedSummary | None = Field(default=None, exclude=True)
    second_values: SeedSummary | None = Field(default=None, exclude=True)
    added: ClassVar = ("clusters", "seeds", "reason", "no_interval")

    @model_validator(mode="after")
    def _is_tested_or_says_why_not(self) -> "PairedTest":
        numbers = self.difference, self.p, self.p_holm, self.n
        if (None in numbers) if self.reason is None else any(one is not None for one in (*numbers, self.verdict)):
            raise ValueError(f"{self.metric}: wanted either difference, p, p_holm and n, or the reason for none")
        return self

    @classmethod
    def of(cls, found: Difference, p_holm: float, **named: Any) -> "PairedTest":
        """Return the record of a difference whose p-value is corrected; `named`: its other fields but the verdict."""
        higher_is_better = metric_info(named["metric"]).direction == "up"
        better = named["first"] if (found.value > 0) == higher_is_better else named["second"]
        return cls(**named, **found.fields(), p_holm=p_holm, verdict=better if p_holm <= ALPHA else None)

    @property
    def unit(self) -> Unit | None:
        """What the test takes as drawn at random: "condition" speaks of these trained models only."""
        return None if self.difference is None else "condition and training" if len(self.seeds) > 1 else "condition"

    @property
    def outcome(self) -> Outcome | None:
        """What the test says of the first row; None where there is none."""
        if self.difference is None:
            return None
        return "not significant" if self.verdict is None else "better" if self.verdict == self.first else "worse"

    @property
    def shown(self) -> Shown:
        """The numbers as tables show them."""
        return Shown(
            format_difference(self.metric, self.difference),
            format_difference_span(self.metric, self.low, self.high),
            format_p(self.p),
            format_p(self.p_holm),
            format_effect(self.effect),
            "-" if self.n is None else f"{self.n}" if self.clusters is None else f"{self.n} ({self.clusters})",
        )


def flatten(test: PairedTest | None) -> dict[str, Any]:
    """Return what every saved table holds of a test in a line: its numbers, and what they say of the line's row."""
    outcome = test.outcome if test else None
    return {
        **{name: getattr(test, name, None) for name in _NUMBERS},
        "outcome": None if outcome is None else _SAVED[outcome],
        "reason": test.reason if test else None,
    }


def unflatten(line: Mapping[str, Any], first: object, second: object) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return the line of a saved table without its test, and the test's fields; None where it has none.

    Args:
        line: as it is in the file, of `flatten` and other fields.
        first: name of the line's row.
        second: name of the row that it is compared with.

    Raises:
        ValueError: the outcome is no word that tables save.
    """
    rest = {name: value for name, value in line.items() if name not in (*_NUMBERS, "outcome", "reason", "no_interval")}
    test = {name: line[name] for name in (*_NUMBERS, "reason", "no_interval") if name in line}
    outcome = line.get("outcome")
    if outcome is not None and outcome not in _SAVED.values():
        raise ValueError(f"outcome: found {outcome!r}, wanted one of {', '.join(_SAVED.values())}")
    if all(value is None for value in test.values()) and outcome is None:
        return rest, None
    verdict = first if outcome == "better" else second if outcome == "worse" else None
    return rest, {"metric": line.get("metric"), "first": first, "second": second, "verdict": verdict, **test}


class Rank(Record):
    """A row's place in one metric.

    Attributes:
        metric: its name.
        name: of the row.
        low: lowest of the ranks that hold 95 % of the resamples, 1 = best.
        high: highest of them.
        groups: letters of the groups of rows that it does not differ from significantly.
        value: mean over the row's runs; not saved.
    """

    metric: str
    name: str
    low: int
    high: int
    groups: str
    value: float | None = Field(default=None, exclude=True)
