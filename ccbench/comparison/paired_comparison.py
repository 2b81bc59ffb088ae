"""Which of several scored runs is better, metric by metric, and how much of the difference chance explains."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from ccbench.base.seeding import derive_seed
from ccbench.comparison.compared_features import Panel, ScoringData, encode_run
from ccbench.comparison.compared_runs import ComparedRun, Entry, pair_runs, signature_difference
from ccbench.comparison.paired_test import PairedTest, Rank
from ccbench.errors import UsageError, VerificationError
from ccbench.features.feature_cache import FeatureCache
from ccbench.metrics import badness, metric_info
from ccbench.metrics.sets.set_scores import KERNELS
from ccbench.metrics.statistics.paired import (
    Difference,
    across_seeds,
    compare_frechet,
    compare_kernel,
    compare_manifold,
    compare_means,
)
from ccbench.metrics.statistics.ranking import (
    ALPHA,
    holm,
    rank_stability,
    resample_values,
    tie_groups,
)
from ccbench.metrics.tolerance import allowed, one_image
from ccbench.tables.seeds import summarise_scores
from ccbench.types import Progress, SilentProgress

_LEAST_EXCHANGES, _EXCHANGES_A_TEST = 400, 40  # so that Holm's correction over all tests can still reach ALPHA
_FEW = 512  # images, below which more threads of BLAS gain nothing and on busy cores cost ten times as much


@dataclass(frozen=True)
class Comparison:
    """All pairs and metrics, those that were not tested too.

    Attributes:
        compared: one for each metric of each pair.
        ranks: of each metric, best first; empty below three methods, and where not all pairs were tested.
    """

    compared: list[PairedTest]
    ranks: list[Rank] = field(default_factory=list)

    @property
    def tests(self) -> int:
        """Tests that Holm's correction goes over."""
        return sum(one.difference is not None for one in self.compared)


def compare_entries(
    entries: Sequence[Entry],
    data: ScoringData,
    against: str | None = None,
    cache: FeatureCache | None = None,
    progress: Progress = SilentProgress(),
) -> Comparison:
    """Compare every two methods, or every other one with `against`, in every metric that both have.

    Raises:
        UsageError: no method is called `against`.
        VerificationError: images do not give the scores on record.
    """
    names = [entry.name for entry in entries]
    if against is not None and against not in names:
        raise UsageError(f"--against: found {against!r}, wanted one of {', '.join(names)}")
    pairs = [pair for pair in combinations(entries, 2) if against is None or against in (pair[0].name, pair[1].name)]
    pairs = [(b, a) if a.name == against else (a, b) for a, b in pairs]
    ranked = len(entries) > 2 and against is None
    used = {id(run): run for pair in pairs for runs in pair_runs(*pair) for run in runs}
    used |= {id(run): run for entry in entries for run in entry.runs if ranked}
    panel = Panel(data, {key: encode_run(run, data, cache, progress) for key, run in used.items()})
    planned = [one for pair in pairs for one in _plan(panel, *pair)]
    tests = sum(test is not None for _, test in planned)
    done = []
    threads = 1 if len(data.ids) < _FEW else None
    with progress.step("testing", len(planned)) as step, threadpool_limits(threads, "blas"):
        for named, test in planned:
            done.append((named, None) if test is None else _tested(named, test, tests))
            step.advance()
    compared = _conclude(done)
    return Comparison(compared, _rank(panel, entries, compared) if ranked else [])


_Test = Callable[[int], Difference]
"""Tests in all -> the difference of the paired runs' means; the more tests, the smaller p must be able to get."""

_Named = dict[str, Any]
"""Fields of a `PairedTest` that are known before it is tested."""


def _plan(panel: Panel, first: Entry, second: Entry) -> list[tuple[_Named, _Test | None]]:
    """Return an entry for each metric of two methods, with its test where there is one."""
    planned: list[tuple[_Named, _Test | None]] = []
    pairs = pair_runs(first, second)
    for metric in dict.fromkeys(metric for run in (*first.runs, *second.runs) for metric in run.scores):
        named: _Named = {"metric": metric, "first": first.name, "second": second.name}
        named["seeds"] = tuple((a.seed, b.seed) for a, b in pairs)
        reason = _missing(metric, (*first.runs, *second.runs))
        if reason is None:
            for side, entry in (("first_values", first), ("second_values", second)):
                named[side] = summarise_scores([run.scores[metric] for run in entry.runs])
            reason = panel.refusal(metric, [run for pair in pairs for run in pair])
        if reason is None:
            sign_a, sign_b = _signs(metric, pairs)
            named["by_seed"] = tuple(sign_a * _value(a, metric) - sign_b * _value(b, metric) for a, b in pairs)
            planned.append((named, _make_test(panel, metric, pairs)))
        else:
            planned.append(({**named, "reason": reason}, None))
    return planned


def _missing(metric: str, runs: Sequence[ComparedRun]) -> str | None:
    """Return why a metric of some runs does not compare: one lacks it, or signatures differ."""
    for run in runs:
        score, name = run.scores.get(metric), run.folder.record.run_id
        if score is None:
            return f"{name} has no such score"
        if score.value is None:
            return f"{name}: {score.reason}"
        differs = signature_difference(runs[0].scores[metric].signature, score.signature)
        if differs:
            return f"signatures of {runs[0].folder.record.run_id} and {name} differ: {differs}"
    return None


def _signs(metric: str, pairs: Sequence[tuple[ComparedRun, ComparedRun]]) -> tuple[float, float]:
    """Return what each side's values are multiplied by before they are tested: 1, or the sign of the side's mean.

    Of a metric whose best is 0 the better side is the one whose mean lies nearer to 0. Multiplied by the signs, the
    difference of the means is that of these distances.
    """
    if metric_info(metric).direction != "zero":
        return 1.0, 1.0
    first, second = (float(np.mean([_value(run, metric) for run in side])) for side in zip(*pairs, strict=True))
    return -1.0 if first < 0 else 1.0, -1.0 if second < 0 else 1.0


def _make_test(panel: Panel, metric: str, pairs: Sequence[tuple[ComparedRun, ComparedRun]]) -> _Test:
    seed, clusters = derive_seed("compare", metric), panel.data.clusters
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    signs = _signs(metric, pairs)

    def means(tests: int) -> Difference:
        a, b = (
            sign * np.mean([panel.column(run, metric) for run in runs], axis=0)
            for sign, runs in zip(signs, (first, second), strict=True)
        )
        both = np.isfinite(a) & np.isfinite(b)
        labels = [label for label, keep in zip(clusters, both, strict=True) if keep]
        return compare_means(a[both], b[both], seed, labels, permutations=max(10_000, _EXCHANGES_A_TEST * tests))

    def sets(tests: int) -> Difference:
        family, encoder = panel.set_metric(metric)
        a, b = (np.stack([panel.of(run, encoder) for run in runs]) for runs in (first, second))
        reference, exchanges = panel.data.reference[encoder.id], _EXCHANGES_A_TEST * tests
        known = panel.data.reference_clusters
        # Of several trainings p is Student's: the exchanges then only give the interval.
        count = _LEAST_EXCHANGES if len(pairs) > 1 else max(_LEAST_EXCHANGES, exchanges)
        if family == "fd":
            return compare_frechet(a, b, reference, seed, clusters, count, known)
        if family == "recall" or family == "coverage":
            return compare_manifold(a, b, reference, family, seed, clusters, count, known)
        many = max(10_000, exchanges)
        if family == "precision" or family == "density":
            return compare_manifold(a, b, reference, family, seed, clusters, many, known)
        return compare_kernel(a, b, reference, KERNELS[family], seed, clusters, many, known)

    test = means if panel.has_column(first[0], metric) else sets
    return _checked(test, metric, pairs) if metric_info(metric).scope == "set" else test


def _checked(test: _Test, metric: str, pairs: Sequence[tuple[ComparedRun, ComparedRun]]) -> _Test:
    """Return a test that refuses images which do not give the difference of the scores on record."""

    def checked(tests: int) -> Difference:
        found, score = test(tests), pairs[0][0].scores[metric]
        first, second = (float(np.mean([_value(pair[side], metric) for pair in pairs])) for side in (0, 1))
        limit = allowed(metric, max(abs(first), abs(second)), found.error, score.n, score.n_real)
        limit += one_image(metric, score.n, score.n_real)  # each of the two may have moved by one
        if abs(found.value - (first - second)) > limit:
            names = " and ".join(run.folder.record.run_id for run in pairs[0])
            raise VerificationError(
                f"{metric} of {names}: their images give a difference of {found.value:.6g}, their scores one of "
                f"{first - second:.6g} (tolerance {limit:.3g}); score the runs again"
            )
        return found

    return checked


def _tested(named: _Named, test: _Test, tests: int) -> tuple[_Named, Difference | None]:
    try:
        difference = test(tests)
    except ValueError as error:
        return {**named, "reason": str(error)}, None
    return named, across_seeds(difference, named["by_seed"]) if len(named["by_seed"]) > 1 else difference


def _conclude(done: Sequence[tuple[_Named, Difference | None]]) -> list[PairedTest]:
    """Correct the p-values over all tests, and name the better method of a significant one."""
    corrected = iter(holm([found.p for _, found in done if found]).tolist())
    return [PairedTest.of(found, next(corrected), **named) if found else PairedTest(**named) for named, found in done]


def _rank(panel: Panel, entries: Sequence[Entry], compared: Sequence[PairedTest]) -> list[Rank]:
    """Return the places of the methods in each metric that all of them have, best first."""
    ranks = []
    for metric in dict.fromkeys(one.metric for one in compared if one.difference is not None):
        pairs = {frozenset((one.first, one.second)): one for one in compared if one.metric == metric}
        held = [e for e in entries if all(pairs[frozenset((e.name, o.name))].outcome for o in entries if o is not e)]
        if len(held) > 2:
            ranks += _rank_metric(panel, metric, held, pairs)
    return ranks


def _rank_metric(
    panel: Panel, metric: str, entries: Sequence[Entry], pairs: dict[frozenset[str], PairedTest]
) -> list[Rank]:
    kept = np.ones(len(panel.data.ids), dtype=bool)
    for run in (run for entry in entries for run in entry.runs if panel.has_column(run, metric)):
        kept &= np.isfinite(panel.column(run, metric))
    shares = [[panel.shares(metric, run, kept) for run in entry.runs] for entry in entries]
    means = [float(np.mean([_value(run, metric) for run in entry.runs])) for entry in entries]
    best_first = np.argsort([badness(metric, mean) for mean in means], kind="stable")
    stability = rank_stability(
        resample_values(shares, derive_seed("ranks", metric)), direction=metric_info(metric).direction
    )
    ordered = [entries[k] for k in best_first]
    apart = np.array([[pairs[frozenset((a.name, b.name))].verdict is not None if a is not b else False
                       for b in ordered] for a in ordered])  # fmt: skip
    groups = tie_groups(apart)
    return [
        Rank(
            metric=metric,
            name=entries[k].name,
            low=int(stability.low[k]) + 1,
            high=int(stability.high[k]) + 1,
            groups="".join(_letter(number) for number, group in enumerate(groups) if place in group),
            value=means[k],
        )
        for place, k in enumerate(best_first)
    ]


def _letter(number: int) -> str:
    return chr(ord("a") + number) if number < 26 else f"({number + 1})"


def _value(run: ComparedRun, metric: str) -> float:
    return float(run.scores[metric].value or 0.0)


def to_json(comparison: Comparison) -> dict[str, Any]:
    """Return the comparison as plain JSON values, numbers unrounded; null where there is none."""
    return {
        "alpha": ALPHA,
        "tests": comparison.tests,
        "comparisons": [_test_json(one) for one in comparison.compared],
        "ranks": [{**one.model_dump(), "value": one.value} for one in comparison.ranks],
    }


def _test_json(one: PairedTest) -> dict[str, Any]:
    values = {
        name: summary and summary._asdict()
        for name, summary in (("first_values", one.first_values), ("second_values", one.second_values))
    }
    return {**dict(one), **values, "unit": one.unit}
