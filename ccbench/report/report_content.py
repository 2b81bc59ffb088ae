"""What a report shows, collected from run folders: scores, images by rule, losses, failures, provenance."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ccbench.base.images import read_image
from ccbench.comparison import Entry, make_entry, read_entries
from ccbench.comparison.compared_runs import ComparedRun
from ccbench.data.split import open_split
from ccbench.errors import DataError
from ccbench.metrics import badness
from ccbench.protocols.protocol import Protocol
from ccbench.protocols.row_names import row_name
from ccbench.runs import RunFolder
from ccbench.types import Image, Mask, PairSequence, RealPair, Score

GALLERY = 12
"""The gallery shows the first this many test conditions: a rule, so that nobody picks."""

WORST = 6
"""Images of each method that are worst in a metric, and those nearest to a training image."""

WORST_BY = ("mask_dice", "text_fidelity", "clip_score")
"""Metrics of single images whose worst cases are shown, where they were measured."""


class Shown(NamedTuple):
    """A test condition of the gallery. `real`: None where it must not be shown."""

    id: str
    prompt: str
    mask: Mask
    real: Image | None
    synthetic: dict[str, Image]


class Case(NamedTuple):
    """An image that a rule picked. `value`: formatted by the page. `other`: real or training image to compare with."""

    method: str
    rule: str
    id: str
    prompt: str
    value: float
    mask: Mask | None
    image: Image
    other: Image | None


@dataclass(frozen=True, eq=False)
class Report:
    """Everything on the page.

    Attributes:
        entries: methods with their runs of several seeds.
        controls: name -> scores, of the first run's scorecard.
        public: nothing is shown that a licence may keep with those who have the data.
    """

    protocol: Protocol
    n: int
    entries: list[Entry]
    controls: dict[str, list[Score]]
    gallery: list[Shown]
    worst: list[Case]
    nearest: list[Case]
    public: bool

    def metrics(self) -> list[str]:
        """Return the metrics with a value, in the order of the scorecards."""
        held = (score for _, run in self.runs() for score in run.card.scores)
        return list(dict.fromkeys(score.metric for score in held if score.value is not None))

    def runs(self) -> Iterator[tuple[str, ComparedRun]]:
        """Yield every run with the name of its method."""
        for entry in self.entries:
            for run in entry.runs:
                yield entry.name, run


def collect_report(folders: Sequence[RunFolder], data_root: Path | None, public: bool = False) -> Report:
    """Collect the report of complete, scored runs of one protocol.

    Args:
        public: where users bring the data, leave out real images and masks' interiors, which a licence may keep on
            their disk.

    Raises:
        UsageError: a run is not complete or not scored, or is given twice.
        DataError: the runs are of two protocols, or the test data here are not theirs.
    """
    alone = len(folders) == 1
    entries = [make_entry(row_name(folders[0].config), folders)] if alone else read_entries(folders)
    config = entries[0].runs[0].folder.config
    protocol = config.protocol
    test = open_split(protocol, "test", data_root, config.limit_of("test"))
    conditions = folders[0].record.conditions
    if conditions is None or conditions.manifest_sha256 != test.manifest_sha256:
        raise DataError(
            f"{folders[0].path}: the test data here are not those of the run; give the folder of the same data with "
            "--data-root"
        )
    hidden = public and protocol.needs_data_root
    return Report(
        protocol=protocol,
        n=len(test.pairs),
        entries=entries,
        controls=entries[0].runs[0].card.controls,
        gallery=list(_gallery(entries, test.pairs, hidden)),
        worst=[case for entry in entries for case in _worst(entry, test.pairs, hidden)],
        nearest=[] if hidden else list(_nearest(entries, protocol, data_root)),
        public=hidden,
    )


def _gallery(entries: Sequence[Entry], pairs: PairSequence, hidden: bool) -> Iterator[Shown]:
    files = {entry.name: entry.runs[0].folder.image_files() for entry in entries}
    for number in range(min(GALLERY, len(pairs))):
        pair = pairs[number]
        images = {name: read_image(held[number]) for name, held in files.items()}
        condition = pair.condition
        yield Shown(condition.id, condition.prompt, condition.mask, None if hidden else pair.image, images)


def _worst(entry: Entry, pairs: PairSequence, hidden: bool) -> Iterator[Case]:
    """Yield the worst images of a method's first run in each metric of `WORST_BY`."""
    run = entry.runs[0]
    files = run.folder.image_files()
    numbers = {sample.condition_id: number for number, sample in enumerate(run.folder.samples())}
    for metric in WORST_BY:
        if metric not in run.columns:
            continue
        column = run.columns[metric].dropna()
        order = sorted(column.index, key=lambda name: -badness(metric, float(column[name])))
        for name in order[:WORST]:
            pair: RealPair = pairs[numbers[name]]
            yield Case(
                entry.name,
                metric,
                str(name),
                pair.condition.prompt,
                float(column[name]),
                pair.condition.mask,
                read_image(files[numbers[name]]),
                None if hidden else pair.image,
            )


def _nearest(entries: Sequence[Entry], protocol: Protocol, data_root: Path | None) -> Iterator[Case]:
    train = open_split(protocol, "train", data_root, entries[0].runs[0].folder.config.limit_of("train")).pairs
    for entry in entries:
        folder = entry.runs[0].folder
        files = folder.image_files()
        for pair in entry.runs[0].card.near_pairs[:WORST]:
            if pair.index >= len(files) or pair.training_index >= len(train):
                raise DataError(f"{folder.path}: its scores name a pair that is not there; score the run again")
            other = train[pair.training_index].image
            rule = "nearest training image"
            shown = read_image(files[pair.index])
            yield Case(entry.name, rule, pair.condition_id, pair.training_id, pair.distance, None, shown, other)
