"""From an ablation's scored runs to the numbers of its table: differences from the base, with their tests."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import SerializerFunctionWrapHandler, ValidationInfo, field_validator, model_serializer

from ccbench.comparison import Comparison, Entry, PairedTest, ScoringData, compare_entries, make_entry
from ccbench.comparison.paired_test import Unit, flatten, unflatten
from ccbench.features.feature_cache import FeatureCache
from ccbench.runs import RunFolder
from ccbench.studies.ablation.variant_runs import AblationRun
from ccbench.studies.ablation.variants import Ablation, Claim
from ccbench.tables.seeds import summarise
from ccbench.types import ExtendedRecord, Progress, Record, SilentProgress


class VariantScore(Record):
    """A metric of a variant, and its difference from the base's; a file holds both as one line.

    Attributes:
        variant: its name.
        metric: its name.
        mean: over the seeds.
        spread: standard deviation over the seeds; None as in `SeedSummary`.
        by_seed: seed -> value.
        test: variant less base; None for the base, and for a metric that neither has.
    """

    variant: str
    metric: str
    mean: float | None
    spread: float | None
    by_seed: dict[int, float]
    test: PairedTest | None = None

    @model_serializer(mode="wrap")
    def _as_line(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        line = {**{name: value for name, value in handler(self).items() if name != "test"}, **flatten(self.test)}
        return {**line, "no_interval": self.test.no_interval} if self.test and self.test.no_interval else line


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
        n: test conditions.
        base: the variant that others are compared with.
        variants: name -> settings that differ.
        settings: of every variant, beside the protocol's.
        unit: what the tests take as drawn at random.
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
    unit: Unit
    tests: int
    zero_differences: Literal["signed", "absolute"] = "signed"
    scores: list[VariantScore]
    runs: list[RunLine]
    notes: list[str]
    added: ClassVar = ("zero_differences",)

    @field_validator("scores", mode="before")
    @classmethod
    def _from_lines(cls, lines: Any, info: ValidationInfo) -> Any:
        if not isinstance(lines, list):
            return lines
        return [_from_line(one, info.data.get("base")) if isinstance(one, dict) else one for one in lines]

    def metrics(self) -> list[str]:
        """Return the metrics that have a value, in the order of the scorecards."""
        return list(dict.fromkeys(one.metric for one in self.scores if one.mean is not None))

    def by_place(self) -> dict[tuple[str, str], VariantScore]:
        """Return the scores by variant and metric."""
        return {(one.variant, one.metric): one for one in self.scores}


def _from_line(line: dict[str, Any], base: str | None) -> dict[str, Any]:
    rest, test = unflatten(line, line.get("variant"), base)
    return {**rest, "test": test}


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
    tests = {(one.first, one.metric): one for one in comparison.compared}
    metrics = dict.fromkeys(metric for entry in entries for run in entry.runs for metric in run.scores)
    return [_score(entry, metric, tests.get((entry.name, metric))) for metric in metrics for entry in entries]


def _score(entry: Entry, metric: str, test: PairedTest | None) -> VariantScore:
    found = {run.seed: run.scores[metric].value for run in entry.runs if metric in run.scores}
    by_seed = {seed: value for seed, value in found.items() if value is not None}
    mean, spread = (summarise(list(by_seed.values())) or (None, None))[:2]
    return VariantScore(variant=entry.name, metric=metric, mean=mean, spread=spread, by_seed=by_seed, test=test)


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
            "significant, and one that is not may still be there."
        )
    reasons = dict.fromkeys(reason for run in runs[:1] for reason in run.config.not_comparable)
    frozen = [reason for reason in reasons if reason.startswith("training.")]
    if frozen:
        notes.append(f"Not the protocol's budget: {', '.join(frozen)}. Variants may rank otherwise after all steps.")
    return notes
