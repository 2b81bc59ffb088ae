"""From finished cells to the numbers of a segmentation table: means over seeds, intervals, and tests against real data.

A value is the mean over the seeds of the mean over the images. Its interval is over images (whole videos where they are
known) with these trained models held, its spread over trainings. Tests are paired by image and by seed, and speak of
other images and other trainings (`across_seeds`); Holm's correction goes over all tests of the table.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import groupby
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import pandas as pd
from pydantic import Field

from ccbench.base.seeding import derive_seed
from ccbench.metrics.images.map_scores import MAP_METRICS
from ccbench.metrics.statistics.influence import mean_shares, ratio_shares
from ccbench.metrics.statistics.intervals import Estimate
from ccbench.metrics.statistics.paired import across_seeds, compare_means
from ccbench.metrics.statistics.ranking import ALPHA, holm
from ccbench.segmenters.cells import CellRecord, Select
from ccbench.segmenters.table_rows import BASELINES, BudgetName, Row
from ccbench.tables.format import Outcome
from ccbench.types import ExtendedRecord, Record

OVERALL = "overall"
"""The protocol's own test sets together, each image counting once."""

PRIMARY = "mDice_256"
"""The metric that is tested and split by size."""

STRATA: dict[str, tuple[float, float]] = {"small": (0.0, 0.05), "medium": (0.05, 0.15), "large": (0.15, 1.01)}
"""Sizes of polyps: share of the image that the mask covers, from and below. An empty mask is in none."""

_POOLED = "dice_pooled"
_ALL_EMPTY = Estimate(None, "all masks and maps are empty")


class Finished(NamedTuple):
    """A finished cell: its row, its record, and the scores of each test set, a row an image."""

    row: Row
    record: CellRecord
    tables: dict[str, pd.DataFrame]


class Value(ExtendedRecord):
    """One number of a table, over the seeds.

    Attributes:
        stratum: `all`, or one of `STRATA`. seeds: value of each. spread: standard deviation between them, None for one.
        low, high: of 95 %, over images or whole videos; None where `no_interval` says why.
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


class Test(ExtendedRecord):
    """A row's primary metric less its baseline's, on the same images and of the same seeds.

    Attributes:
        low, high: of 95 %; `no_interval` says why there are none. p_holm: corrected over all tests of the table.
        effect: in standard deviations of an image. seeds: those that both rows have, whose runs are paired; empty in
            tables that did not record them.
    """

    segmenter: str
    row: str
    baseline: str
    budget: BudgetName
    test: str
    metric: str
    difference: float
    low: float | None
    high: float | None
    p: float
    p_holm: float
    effect: float | None
    n: int
    outcome: Outcome
    seeds: tuple[int, ...] = ()
    no_interval: str | None = None
    added: ClassVar = ("seeds", "no_interval")


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
        tests: test set -> images; the protocol's own first. own: how many of them are its own.
        budgets: those whose rows it holds. rows: name of each row -> the budgets it belongs to, in order.
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
    comparisons: list[Test]
    cells: list[CellLine] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)

    def columns(self) -> list[str]:
        """Return the test sets as tables show them: the protocol's own together come first, where it has several."""
        return [*([OVERALL] if self.own > 1 else []), *self.tests]

    def value(self, segmenter: str, row: str, test: str, metric: str, stratum: str = "all") -> Value | None:
        """Return one number; None where there is none."""
        return self._by_place.get((segmenter, row, test, metric, stratum))

    def comparison(self, segmenter: str, row: str, test: str, budget: BudgetName) -> Test | None:
        """Return a row's test against the baseline of a budget; None where there is none."""
        return self._by_pair.get((segmenter, row, test, budget))

    @cached_property
    def _by_place(self) -> dict[tuple[str, ...], Value]:
        return {(one.segmenter, one.row, one.test, one.metric, one.stratum): one for one in self.values}

    @cached_property
    def _by_pair(self) -> dict[tuple[str, ...], Test]:
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
    values, interval = list(by_seed.values()), found.interval
    yield Value(
        segmenter=segmenter,
        row=row.name,
        test=test,
        metric=metric,
        stratum=stratum,
        mean=float(np.mean(values)),
        spread=float(np.std(values, ddof=1)) if len(values) > 1 else None,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        seeds=by_seed,
        n=len(first),
        no_interval=found.reason,
    )


def _pooled(table: pd.DataFrame) -> float:
    areas = float(table["areas"].sum())
    return 2 * float(table["shared"].sum()) / areas if areas else 1.0  # all masks and maps empty, as `map_scores`


def _compare(groups: _Groups, budgets: Sequence[BudgetName]) -> list[Test]:
    """Return the tests of every row against the baseline of its budgets, of the seeds that both have.

    None where they share no seed, and of sets of a single image.
    """
    found: list[Test] = []
    for (segmenter, row), cells in groups.items():
        several = [name for name, table in cells[0].tables.items() if len(table) > 1]
        for budget in (one for one in row.budgets if one in budgets and BASELINES[one] != row):
            base = groups.get((segmenter, BASELINES[budget]))
            if base is not None and _seeds(cells) & _seeds(base):
                found += [_test(segmenter, row, budget, cells, base, test) for test in several]
    if not found:
        return []
    corrected = holm([one.p for one in found])
    return [
        one.model_copy(update={"p_holm": float(p), "outcome": _outcome(one.difference, float(p))})
        for one, p in zip(found, corrected, strict=True)
    ]


def _seeds(cells: Sequence[Finished]) -> set[int]:
    return {one.record.plan.seed for one in cells}


def _test(
    segmenter: str, row: Row, budget: BudgetName, cells: Sequence[Finished], base: Sequence[Finished], test: str
) -> Test:
    sides = [{one.record.plan.seed: one.tables[test][PRIMARY] for one in part} for part in (cells, base)]
    seeds = sorted(sides[0].keys() & sides[1].keys())
    first, second = (np.stack([side[seed].to_numpy() for seed in seeds]) for side in sides)  # (S, n)
    clusters = cells[0].tables[test]["cluster"].tolist()
    difference = compare_means(first.mean(axis=0), second.mean(axis=0), derive_seed("segmentation", test), clusters)
    if len(seeds) > 1:
        difference = across_seeds(difference, (first - second).mean(axis=1).tolist())
    return Test(
        segmenter=segmenter,
        row=row.name,
        baseline=BASELINES[budget].name,
        budget=budget,
        test=test,
        metric=PRIMARY,
        **difference.fields(),
        p_holm=1.0,
        outcome="not told apart",
        seeds=tuple(seeds),
    )


def _outcome(difference: float, p_holm: float) -> Outcome:
    if p_holm > ALPHA:
        return "not told apart"
    return "better" if difference > 0 else "worse"
