"""From an ablation's scored runs to the numbers of its table: differences from the base, with their tests."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from ccbench.comparison import Compared, Comparison, Entry, ScoringData, compare_entries, make_entry
from ccbench.features.feature_cache import FeatureCache
from ccbench.metrics.statistics.ranking import seed_spread
from ccbench.runs import RunFolder
from ccbench.studies.ablation.variant_runs import AblationRun
from ccbench.studies.ablation.variants import Ablation, Claim
from ccbench.tables.format import Outcome
from ccbench.types import ExtendedRecord, Progress, Record, SilentProgress


class VariantScore(ExtendedRecord):
    """A metric of a variant, and its difference from the base's.

    Attributes:
        mean: over the seeds; spread: their standard deviation, None for one. by_seed: seed -> value.
        difference: variant less base, of the same conditions and seeds; None where `reason` says why there is none, and
            for the base. low, high: of 95 %; `no_interval` says why there are none. p_holm: corrected over all tests of
            the table.
        effect: in standard deviations of a condition's share. n, clusters: conditions and independent groups of them.
    """

    variant: str
    metric: str
    mean: float | None
    spread: float | None
    by_seed: dict[int, float]
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    effect: float | None = None
    n: int | None = None
    clusters: int | None = None
    outcome: Outcome | None = None
    reason: str | None = None
    no_interval: str | None = None
    added: ClassVar = ("no_interval",)


class RunLine(Record):
    """What a table keeps of each run: where its numbers come from."""

    variant: str
    seed: int
    run_id: str
    config_hash: str
    weights_sha256: str | None
    train_seconds: float | None
    seconds_per_image: float | None
    peak_memory_mb: float | None
    parameters_trained: int | None


class AblationTable(ExtendedRecord):
    """All numbers of one ablation, unrounded.

    Attributes:
        n: test conditions. base: the variant that others are compared with. variants: name -> settings that differ.
        settings: of every variant, beside the protocol's. unit: what the tests take as drawn at random.
        zero_differences: as in `BoardComparison`.
    """

    schema_version: Literal[1] = 1
    title: str
    method: str
    protocol: str
    protocol_hash: str
    n: int
    seeds: tuple[int, ...]
    base: str
    variants: dict[str, dict[str, Any]]
    settings: dict[str, Any]
    claims: tuple[Claim, ...]
    unit: Literal["condition", "condition and training"]
    tests: int
    zero_differences: Literal["signed", "absolute"] = "signed"
    scores: list[VariantScore]
    runs: list[RunLine]
    notes: list[str]
    added: ClassVar = ("zero_differences",)

    def metrics(self) -> list[str]:
        """Return the metrics that have a value, in the order of the scorecards."""
        return list(dict.fromkeys(one.metric for one in self.scores if one.mean is not None))

    def by_place(self) -> dict[tuple[str, str], VariantScore]:
        """Return the scores by variant and metric."""
        return {(one.variant, one.metric): one for one in self.scores}


def tabulate(
    plan: Ablation,
    runs: Sequence[AblationRun],
    data: ScoringData,
    cache: FeatureCache | None = None,
    progress: Progress = SilentProgress(),
) -> AblationTable:
    """Return the table of a plan whose runs are complete and scored.

    Raises:
        CcbenchError: see `compare_entries`.
    """
    folders: dict[str, list[RunFolder]] = {}
    for run in runs:
        folders.setdefault(run.variant, []).append(RunFolder.read(run.path))
    entries = [make_entry(variant, found) for variant, found in folders.items()]
    comparison = compare_entries(entries, data, plan.base, cache, progress)
    protocol = runs[0].config.protocol
    return AblationTable(
        title=plan.title,
        method=plan.method,
        protocol=protocol.name,
        protocol_hash=protocol.hash,
        n=len(data.ids),
        seeds=plan.seeds,
        base=plan.base,
        variants=plan.variants,
        settings=plan.settings,
        claims=plan.claims,
        unit="condition and training" if len(plan.seeds) > 1 else "condition",
        tests=comparison.tests,
        zero_differences="absolute",
        scores=_scores(entries, comparison),
        runs=[_line(variant, run) for variant, found in folders.items() for run in found],
        notes=_notes(plan, runs),
    )


def _scores(entries: Sequence[Entry], comparison: Comparison) -> list[VariantScore]:
    compared = {(one.first, one.metric): one for one in comparison.compared}
    metrics = dict.fromkeys(metric for entry in entries for run in entry.runs for metric in run.scores)
    return [_score(entry, metric, compared) for metric in metrics for entry in entries]


def _score(entry: Entry, metric: str, compared: Mapping[tuple[str, str], Compared]) -> VariantScore:
    found = {run.seed: run.scores[metric].value for run in entry.runs if metric in run.scores}
    by_seed = {seed: value for seed, value in found.items() if value is not None}
    spread = seed_spread(list(by_seed.values()), [None] * len(by_seed)) if by_seed else None
    start = VariantScore(
        variant=entry.name,
        metric=metric,
        mean=spread.mean if spread else None,
        spread=spread.between if spread else None,
        by_seed=by_seed,
    )
    one = compared.get((entry.name, metric))
    if one is None:
        return start
    if one.difference is None:
        return start.model_copy(update={"reason": one.reason})
    changes = {
        **one.difference.fields(),
        "p_holm": one.p_holm,
        "clusters": one.difference.clusters,
        "outcome": "not told apart" if one.verdict is None else "better" if one.verdict == entry.name else "worse",
    }
    return start.model_copy(update=changes)


def _line(variant: str, run: RunFolder) -> RunLine:
    record = run.record
    return RunLine(
        variant=variant,
        seed=record.seed,
        run_id=record.run_id,
        config_hash=record.config_hash,
        weights_sha256=record.method.weights_sha256 if record.method else None,
        train_seconds=record.cost.train_seconds,
        seconds_per_image=record.cost.seconds_per_image,
        peak_memory_mb=record.cost.peak_memory_mb,
        parameters_trained=record.cost.parameters_trained,
    )


def _notes(plan: Ablation, runs: Sequence[AblationRun]) -> list[str]:
    """Say what this table cannot show."""
    notes = []
    if len(plan.seeds) == 1:
        notes.append(
            "One training of each variant: its tests speak of these trained networks on other conditions, not of what "
            "another training of the same variant would give. A module's effect needs three seeds or more."
        )
    elif len(plan.seeds) < 5:
        notes.append(
            f"{len(plan.seeds)} trainings of each variant: only differences far above the spread between seeds are "
            "told apart, and a difference that is not may still be there."
        )
    reasons = dict.fromkeys(reason for run in runs[:1] for reason in run.config.not_comparable)
    frozen = [reason for reason in reasons if reason.startswith("training.")]
    if frozen:
        notes.append(f"Not the protocol's budget: {', '.join(frozen)}. Variants may rank otherwise after all steps.")
    return notes
