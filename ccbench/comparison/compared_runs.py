"""The runs of one comparison: checked against each other, and put together into methods with their seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

from ccbench.errors import DataError, UsageError
from ccbench.protocols.row_names import row_name, variant_hash
from ccbench.runs import RunFolder
from ccbench.runs.scorecard import Scorecard
from ccbench.types import Score

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class ComparedRun:
    """A complete, scored run. `columns`: its pair metrics, one row an image, by condition id."""

    folder: RunFolder
    card: Scorecard
    columns: "pd.DataFrame"

    @cached_property
    def scores(self) -> dict[str, Score]:
        """Its scores by metric."""
        return {score.metric: score for score in self.card.scores}

    @property
    def seed(self) -> int:
        """Seed of training and noise."""
        return self.folder.record.seed


@dataclass(frozen=True, eq=False)
class Entry:
    """One method of a comparison: its runs, which differ in nothing but the seed, in rising order of it."""

    name: str
    runs: tuple[ComparedRun, ...]


def read_entries(folders: Sequence[RunFolder]) -> list[Entry]:
    """Return the methods that complete, scored runs of one protocol belong to, in the order given.

    Where all runs are of one method, each is an entry of its own: the question is then what a seed changes.

    Raises:
        UsageError: fewer than two runs, a run twice, or one that is not complete or not scored.
        DataError: another protocol or other test conditions.
    """
    if len({folder.path.resolve() for folder in folders}) < max(2, len(folders)):
        raise UsageError(f"compare: {len(folders)} runs given, wanted at least two different ones")
    for folder in folders:
        _check_fits(folders[0], folder)
    grouped: dict[str, list[RunFolder]] = {}
    for folder in folders:
        grouped.setdefault(variant_hash(folder.config), []).append(folder)
    if len(grouped) == 1:
        return [Entry(f"{row_name(one.config)} seed {one.record.seed}", (_read(one),)) for one in folders]
    names = rows = [row_name(runs[0].config) for runs in grouped.values()]
    revisions = [f"revision {runs[0].config.revision}" for runs in grouped.values()]
    for marks in (revisions, [key[:8] for key in grouped]):
        if len(set(names)) < len(names):  # they differ in something that no row says
            names = [f"{row} {mark}" for row, mark in zip(rows, marks, strict=True)]
    return [make_entry(name, runs) for name, runs in zip(names, grouped.values(), strict=True)]


def make_entry(name: str, runs: Sequence[RunFolder]) -> Entry:
    """Return a method of a comparison under a name; see `read_entries` for the errors."""
    ordered = sorted(runs, key=lambda run: run.record.seed)
    for run, other in pairwise(ordered):
        if run.record.seed == other.record.seed:
            raise UsageError(f"{other.path}: of the same method and seed as {run.path}; give one run a seed")
    return Entry(name, tuple(_read(run) for run in ordered))


def pair_runs(first: Entry, second: Entry) -> list[tuple[ComparedRun, ComparedRun]]:
    """Return the runs of equal seeds; where no seed is shared, those of equal rank among the seeds."""
    by_seed = {run.seed: run for run in second.runs}
    shared = [(run, by_seed[run.seed]) for run in first.runs if run.seed in by_seed]
    return shared or list(zip(first.runs, second.runs, strict=False))


def signature_difference(first: str, second: str) -> str | None:
    """Return which parts of two signatures differ, such as `resize: a, b`; None when they are equal."""
    one, other = (dict(_named(part) for part in signature.split("|")) for signature in (first, second))
    keys = [key for key in {**one, **other} if one.get(key) != other.get(key)]
    return "; ".join(f"{key}: {one.get(key, 'nothing')}, {other.get(key, 'nothing')}" for key in keys) or None


def _named(part: str) -> tuple[str, str]:
    key, colon, value = part.partition(":")
    return (key, value) if colon else ("metric", part)


def _check_fits(base: RunFolder, folder: RunFolder) -> None:
    record, wanted = folder.record, base.record
    if record.status != "complete":
        raise UsageError(f"{folder.path}: the run is {folder.state}, not complete; run the same command to finish it")
    if (record.protocol, record.protocol_hash) != (wanted.protocol, wanted.protocol_hash):
        raise DataError(
            f"{folder.path}: made under {record.protocol} {record.protocol_hash}, {base.path} under {wanted.protocol} "
            f"{wanted.protocol_hash}; only runs of one protocol compare"
        )
    if record.conditions != wanted.conditions:
        found, first = ((c.n, c.manifest_sha256[:12]) if c else None for c in (record.conditions, wanted.conditions))
        raise DataError(f"{folder.path}: test conditions {found}, {base.path} has {first}; only equal ones compare")


def _read(folder: RunFolder) -> ComparedRun:
    card = folder.scorecard()
    if card is None:
        raise UsageError(
            f"{folder.path}: the run has no scores of its present images; run: ccbench score {folder.path}"
        )
    columns = folder.per_sample().set_index("condition_id")
    samples, wanted = folder.samples(), folder.record.conditions.n if folder.record.conditions else 0
    if len(samples) != wanted or [sample.index for sample in samples] != list(range(len(samples))):
        raise DataError(f"{folder.path}: found {len(samples)} images, wanted one for each of {wanted} conditions")
    if sorted(columns.index) != sorted(sample.condition_id for sample in samples) or not columns.index.is_unique:
        raise DataError(
            f"{folder.path}: the scores of single images are of other conditions than the images; score the run again"
        )
    return ComparedRun(folder, card, columns.select_dtypes("float64"))
