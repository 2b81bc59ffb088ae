"""From finished cells to the numbers of a segmentation table: means over seeds, intervals, and tests against real data.

A value is the mean over the seeds of the mean over the images. Its interval is over images (whole videos where they are
known) with these trained models held, its spread over trainings. Tests are paired by image and by seed, and speak of
other images and other trainings (`across_seeds`); Holm's correction goes over all tests of the table.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import groupby
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import pandas as pd
from pydantic import Field, model_serializer, model_validator

from ccbench.base.seeding import derive_seed
from ccbench.comparison.paired_test import PairedTest, flatten, unflatten
from ccbench.metrics.images.map_scores import MAP_METRICS
from ccbench.metrics.statistics.influence import mean_shares, ratio_shares
from ccbench.metrics.statistics.intervals import Estimate
from ccbench.metrics.statistics.paired import Difference, across_seeds, compare_means
from ccbench.metrics.statistics.ranking import holm
from ccbench.segmenters.cells import CellRecord, Select
from ccbench.segmenters.table_rows import BASELINES, BudgetName, Row
from ccbench.tables.seeds import summarise
from ccbench.types import ExtendedRecord, Record

OVERALL = "overall"
"""The protocol's own test sets together, each image counting once."""

PRIMARY = "mDice_256"
"""The metric that is tested and split by size."""

STRATA: dict[str, tuple[float, float]] = {"small": (0.0, 0.05), "medium": (0.05, 0.15), "large": (0.15, 1.01)}
"""Sizes of polyps: share of the image that the mask covers, from and below. An empty mask is in none."""

_POOLED = "dice_pooled"
_LATER = {"clusters", "reason", "seeds", "no_interval"}  # fields of a test that the first tables do not have
_ALL_EMPTY = Estimate(None, "all masks and maps are empty")


class Finished(NamedTuple):
    """A finished cell: its row, its record, and the scores of each test set, a row an image."""

    row: Row
    record: CellRecord
    tables: dict[str, pd.DataFrame]


class Value(ExtendedRecord):
    """One number of a table, over the seeds.

    Attributes:
        segmenter: its name.
        row: name of the row.
        test: name of the test set.
        metric: its name.
        stratum: `all`, or one of `STRATA`.
        mean: over the seeds.
        spread: standard deviation over the seeds; None as in `SeedSummary`.
        low: lower end of the 95 % interval over images or whole videos; None where `no_interval` says why.
        high: its upper end.
        seeds: seed -> value.
        n: images.
        no_interval: why there is no interval.
    """

    segmenter: str
    row: str
    test: str
    metric: str
    stratum: str = "all"
    mean: float
    spread: float | None
    low: float | None
    high: float | None
    seeds: dict[int, float]
    n: int
    no_interval: str | None = None
    added: ClassVar = ("no_interval",)


class RowTest(Record):
    """A row's primary metric less its baseline's, of one segmenter on one test set; a file holds it as one line.

    Attributes:
        segmenter: its name.
        budget: whose baseline it is.
        test: name of the test set.
        paired: row less baseline, on the same images; its seeds are those that both have.
    """

    segmenter: str
    budget: BudgetName
    test: str
    paired: PairedTest

    @property
    def row(self) -> str:
        """Name of the row."""
        return self.paired.first

    @property
    def baseline(self) -> str:
        """Name of the row that it is compared with."""
        return self.paired.second

    @model_validator(mode="before")
    @classmethod
    def _from_line(cls, line: Any) -> Any:
        if not isinstance(line, dict) or "paired" in line:
            return line
        rest, test = unflatten(line, line.get("row"), line.get("baseline"))
        seeds = rest.pop("seeds", [])
        paired = {**(test or {}), "seeds": [(seed, seed) for seed in seeds] if isinstance(seeds, list) else seeds}
        return {**{name: rest[name] for name in rest.keys() - {"row", "baseline", "metric"}}, "paired": paired}

    @model_serializer
    def _as_line(self) -> dict[str, Any]:
        test = self.paired
        line = {
            "segmenter": self.segmenter,
            "row": test.first,
            "baseline": test.second,
            "budget": self.budget,
            "test": self.test,
            "metric": test.metric,
            **flatten(test),
            "seeds": [seed for seed, _ in test.seeds],
            "no_interval": test.no_interval,
        }
        return {name: value for name, value in line.items() if value or name not in _LATER}


class CellLine(Record):
    """What a table keeps of each cell: where its numbers come from."""

    segmenter: str
    row: str
    seed: int
    key: str
    steps: int
    passes: int
    images: int
    taken: int
    seconds: float
    parameters: int
    weights_sha256: str
    synthetic_run: str


class SegmentationTable(Record):
    """All numbers of one table, unrounded.

    Attributes:
        tests: test set -> images; the protocol's own first.
        own: how many of them are its own.
        budgets: those whose rows it holds.
        rows: name of each row -> the budgets it belongs to, in order.
    """

    schema_version: Literal[1] = 1
    protocol: str
    protocol_hash: str
    select: Select
    budgets: tuple[BudgetName, ...]
    segmenters: tuple[str, ...]
    rows: dict[str, tuple[BudgetName, ...]]
    tests: dict[str, int]
    own: int
    settings: dict[str, dict[str, object]]
    values: list[Value]
    comparisons: list[RowTest]
    cells: list[CellLine] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)

    def columns(self) -> list[str]:
        """Return the test sets as tables show them: the protocol's own together come first, where it has several."""
        return [*([OVERALL] if self.own > 1 else []), *self.tests]

    def value(self, segmenter: str, row: str, test: str, metric: str, stratum: str = "all") -> Value | None:
        """Return one number; None where there is none."""
        return self._by_place.get((segmenter, row, test, metric, stratum))

    def comparison(self, segmenter: str, row: str, test: str, budget: BudgetName) -> RowTest | None:
        """Return a row's test against the baseline of a budget; None where there is none."""
        return self._by_pair.get((segmenter, row, test, budget))

    @cached_property
    def _by_place(self) -> dict[tuple[str, ...], Value]:
        return {(one.segmenter, one.row, one.test, one.metric, one.stratum): one for one in self.values}

    @cached_property
    def _by_pair(self) -> dict[tuple[str, ...], RowTest]:
        return {(one.segmenter, one.row, one.test, one.budget): one for one in self.comparisons}


def tabulate(
    finished: Sequence[Finished],
    protocol: str,
    protocol_hash: str,
    budgets: Sequence[BudgetName],
    own: Sequence[str],
    notes: Sequence[str] = (),
) -> SegmentationTable:
    """Return the table of finished cells of one protocol, all selected in one way."""
    first = finished[0].record.plan
    ordered = [_in_order(one, own) for one in finished]
    groups = {key: list(part) for key, part in groupby(ordered, key=lambda one: (one.record.plan.segmenter, one.row))}
    return SegmentationTable(
        protocol=protocol,
        protocol_hash=protocol_hash,
        select=first.select,
        budgets=tuple(one for one in budgets if any(one in row.budgets for _, row in groups)),
        segmenters=tuple(dict.fromkeys(name for name, _ in groups)),
        rows={row.name: tuple(one for one in row.budgets if one in budgets) for _, row in groups},
        tests={name: len(scores) for name, scores in ordered[0].tables.items() if name != OVERALL},
        own=len(own),
        settings={one.record.plan.segmenter: one.record.plan.settings for one in finished},
        values=[value for (name, row), cells in groups.items() for value in _values(name, row, cells)],
        comparisons=_compare(groups, budgets),
        cells=[_line(one) for one in finished],
        notes=list(notes),
    )


_Groups = dict[tuple[str, Row], list[Finished]]


def _line(one: Finished) -> CellLine:
    record = one.record
    return CellLine(
        segmenter=record.plan.segmenter,
        row=one.row.name,
        seed=record.plan.seed,
        key=record.plan.key,
        steps=record.steps,
        passes=record.plan.passes,
        images=record.images,
        taken=record.taken,
        seconds=record.seconds,
        parameters=record.parameters,
        weights_sha256=record.weights_sha256,
        synthetic_run=record.plan.synthetic_run,
    )


def _in_order(one: Finished, own: Sequence[str]) -> Finished:
    """Return a cell whose scores stand in the order of `SegmentationTable.columns`, those of them all included."""
    overall = {OVERALL: pd.concat([one.tables[name] for name in own])} if len(own) > 1 else {}
    return one._replace(tables={**overall, **{name: one.tables[name] for name in own}, **one.tables})


def _values(segmenter: str, row: Row, cells: Sequence[Finished]) -> Iterator[Value]:
    """Yield the values of one row: every metric on every set, and the primary one by size of the polyp."""
    for test in cells[0].tables:
        tables = {one.record.plan.seed: one.tables[test] for one in cells}
        for metric in MAP_METRICS:
            yield from _value(segmenter, row, test, metric, "all", tables)
        share = next(iter(tables.values()))["share"]
        for stratum, (low, high) in STRATA.items():
            kept = ((share > low if not low else share >= low) & (share < high)).to_numpy()
            yield from _value(segmenter, row, test, PRIMARY, stratum, {s: t[kept] for s, t in tables.items()})


def _value(
    segmenter: str, row: Row, test: str, metric: str, stratum: str, tables: dict[int, pd.DataFrame]
) -> Iterator[Value]:
    """Yield the value of one metric; nothing where there is no image, or where a package was missing."""
    first = next(iter(tables.values()))
    if not len(first) or (metric != _POOLED and any(table[metric].isna().any() for table in tables.values())):
        return
    clusters = first["cluster"].tolist()
    if metric == _POOLED:
        above, below = (np.mean([table[name] for table in tables.values()], axis=0) for name in ("shared", "areas"))
        by_seed = {k: _pooled(table) for k, table in tables.items()}
        found = ratio_shares(2 * above, below, clusters).interval(0.0, 1.0) if below.any() else _ALL_EMPTY
    else:
        by_seed = {k: float(table[metric].mean()) for k, table in tables.items()}
        found = mean_shares(np.mean([table[metric] for table in tables.values()], axis=0), clusters).interval()
    summary, interval = summarise(list(by_seed.values())), found.interval
    assert summary is not None  # a row has a cell
    yield Value(
        segmenter=segmenter,
        row=row.name,
        test=test,
        metric=metric,
        stratum=stratum,
        mean=summary.mean,
        spread=summary.spread,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        seeds=by_seed,
        n=len(first),
        no_interval=found.reason,
    )


def _pooled(table: pd.DataFrame) -> float:
    areas = float(table["areas"].sum())
    return 2 * float(table["shared"].sum()) / areas if areas else 1.0  # all masks and maps empty, as `map_scores`


def _compare(groups: _Groups, budgets: Sequence[BudgetName]) -> list[RowTest]:
    """Return the tests of every row against the baseline of its budgets, of the seeds that both have.

    None where they share no seed, and of sets of a single image.
    """
    found: list[tuple[str, Row, BudgetName, str, list[int], Difference]] = []
    for (segmenter, row), cells in groups.items():
        several = [name for name, table in cells[0].tables.items() if len(table) > 1]
        for budget in (one for one in row.budgets if one in budgets and BASELINES[one] != row):
            base = groups.get((segmenter, BASELINES[budget]))
            if base is not None and _seeds(cells) & _seeds(base):
                found += [(segmenter, row, budget, test, *_difference(cells, base, test)) for test in several]
    corrected = holm([one.p for *_, one in found]).tolist()
    return [
        RowTest(
            segmenter=segmenter,
            budget=budget,
            test=test,
            paired=PairedTest.of(
                difference,
                p_holm,
                metric=PRIMARY,
                first=row.name,
                second=BASELINES[budget].name,
                seeds=tuple((seed, seed) for seed in seeds),
            ),
        )
        for (segmenter, row, budget, test, seeds, difference), p_holm in zip(found, corrected, strict=True)
    ]


def _seeds(cells: Sequence[Finished]) -> set[int]:
    return {one.record.plan.seed for one in cells}


def _difference(cells: Sequence[Finished], base: Sequence[Finished], test: str) -> tuple[list[int], Difference]:
    """Return the seeds that both have, and the difference of the means over them."""
    sides = [{one.record.plan.seed: one.tables[test][PRIMARY] for one in part} for part in (cells, base)]
    seeds = sorted(sides[0].keys() & sides[1].keys())
    first, second = (np.stack([side[seed].to_numpy() for seed in seeds]) for side in sides)  # (S, n)
    clusters = cells[0].tables[test]["cluster"].tolist()
    difference = compare_means(first.mean(axis=0), second.mean(axis=0), derive_seed("segmentation", test), clusters)
    if len(seeds) > 1:
        difference = across_seeds(difference, (first - second).mean(axis=1).tolist())
    return seeds, difference
