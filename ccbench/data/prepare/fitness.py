"""Looks at a data set as it lies on disk, and says what no benchmark may run on."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np

from ccbench.base.mask_files import MaskRule
from ccbench.data.pair_files import open_pair
from ccbench.data.prepare.examination import MaskFacts, PairFacts, examine_pair, map_threads
from ccbench.data.prepare.findings import KINDS, Finding
from ccbench.data.sets.data_set import DataSet, Listing
from ccbench.data.sets.splits import read_split
from ccbench.types import Progress, SilentProgress


@dataclass(frozen=True)
class CheckReport:
    """What lies in the folder of a data set.

    Attributes:
        parts, splits, sizes, image_formats, mask_formats: pairs of each; sizes as `WIDTHxHEIGHT`.
        mask_values: ranges of the values that occur, maximum over the channels.
        pairing: how the names of images and masks relate.
        good: pairs without a fatal finding of their own.
        faulty: pair id, or path of a file without a partner -> the fatal kind for which `prepare` leaves it out.
        reasons: the same keys -> what is wrong in detail, where it is known.
    """

    data_set: DataSet
    root: Path
    layout: str
    pairs: int
    captions: int
    parts: dict[str, int]
    splits: dict[str, int]
    sizes: dict[str, int]
    image_formats: dict[str, int]
    mask_formats: dict[str, int]
    mask_values: list[tuple[int, int]]
    pairing: str
    good: int
    findings: tuple[Finding, ...]
    faulty: dict[str, str]
    reasons: dict[str, str]

    @property
    def fatal(self) -> list[Finding]:
        """The findings on which no benchmark may run."""
        return [finding for finding in self.findings if finding.fatal]


def check_data_set(
    data_set: DataSet, root: Path, progress: Progress | None = None, rule: MaskRule | None = None
) -> CheckReport:
    """Decode every file of a data set and compare it with what it must be.

    Args:
        data_set: what it is.
        root: its folder.
        progress: told of each pair.
        rule: which pixels of a mask are polyp, where a user said so.

    Raises:
        DataError: no layout of the data set is at `root`, or no image.
    """
    return check_listing(data_set, data_set.scan(root), progress, rule)


def check_listing(
    data_set: DataSet, listing: Listing, progress: Progress | None = None, rule: MaskRule | None = None
) -> CheckReport:
    """Check what `DataSet.scan` found; see `check_data_set`."""
    with (progress or SilentProgress()).step(f"check {data_set.name}", len(listing.pairs)) as step:
        facts = list(map_threads(partial(examine_pair, rule=rule), listing.pairs, step))
    found = _Findings()
    _look_at_files(listing, found)
    if not listing.pairs:
        found.add("no_pair", [listing.root.name], 0)
    for fact in facts:
        _look_at_pair(fact, data_set, found)
    _look_for_duplicates(facts, found, rule)
    _compare_with_split(facts, data_set, found)
    captions = sum(pair.caption is not None for pair in listing.pairs)
    if 0 < captions < len(listing.pairs):
        found.add("uncaptioned", (pair.id for pair in listing.pairs if pair.caption is None))
    if data_set.release_pairs is not None and len(listing.pairs) < data_set.release_pairs and not data_set.has_split:
        found.add("incomplete", (), data_set.release_pairs - len(listing.pairs))
    images, masks = [f.image for f in facts if f.image], [f.mask for f in facts if f.mask]
    return CheckReport(
        data_set=data_set,
        root=listing.root,
        layout=listing.layout.title,
        pairs=len(listing.pairs),
        captions=captions,
        parts=dict(Counter(pair.part for pair in listing.pairs if pair.part)),
        splits=_count(pair.split for pair in listing.pairs if pair.split),
        sizes=_count(f"{image.size[0]}x{image.size[1]}" for image in images),
        image_formats=_count(f"{image.format} {image.mode}" for image in images),
        mask_formats=_count(f"{mask.format} {mask.mode}" for mask in masks),
        mask_values=_ranges(masks),
        pairing=listing.files.pairing(),
        good=sum(pair.id not in found.faulty for pair in listing.pairs),
        findings=found.all(),
        faulty=found.faulty,
        reasons=found.reasons,
    )


class _Findings:
    """Gathers findings, and which pairs are at fault."""

    def __init__(self) -> None:
        self._where: dict[str, list[str]] = defaultdict(list)
        self._more: Counter[str] = Counter()
        self.faulty: dict[str, str] = {}
        self.reasons: dict[str, str] = {}

    def add(self, kind: str, where: Iterable[str], more: int = 0) -> None:
        self._where[kind].extend(where)
        self._more[kind] += more

    def blame(self, kind: str, *pair_ids: str, reason: str | None = None) -> None:
        for pair_id in pair_ids:
            if self.faulty.setdefault(pair_id, kind) == kind and reason is not None:
                self.reasons.setdefault(pair_id, reason)

    def all(self) -> tuple[Finding, ...]:
        counts = {kind: len(self._where[kind]) + self._more[kind] for kind in KINDS}
        reasons = {self.faulty[pair_id]: reason for pair_id, reason in reversed(self.reasons.items())}
        return tuple(
            Finding(kind, count, tuple(self._where[kind]), reasons.get(kind)) for kind, count in counts.items() if count
        )


def _look_at_files(listing: Listing, found: _Findings) -> None:
    def below(path: Path) -> str:
        return path.relative_to(listing.root).as_posix()

    for kind, paths in (("image_alone", listing.files.images_alone), ("mask_alone", listing.files.masks_alone)):
        names = list(map(below, paths))
        found.add(kind, names)
        found.blame(kind, *names)
    for one, other in listing.files.twins:
        found.add("twins", [f"{below(other)} and {below(one)}"])
        claimed = [pair.id for pair in listing.pairs if one in (pair.image, pair.mask)]
        found.blame("twins", *claimed, below(other), reason=f"{below(one)} and {below(other)} have the same name")
    found.add("left_out", listing.files.notes)


def _look_at_pair(fact: PairFacts, data_set: DataSet, found: _Findings) -> None:
    pair_id = fact.files.id
    kinds: list[str] = []
    if fact.errors:
        found.add("unreadable", fact.errors)
        found.blame("unreadable", pair_id, reason="; ".join(fact.errors))
    for fault in fact.faults:
        found.add(fault.kind, [pair_id])
        found.blame(fault.kind, pair_id, reason=fault.text)
    if fact.mask and not fact.faults:
        kinds += _look_at_mask(fact.mask, data_set.has_negatives)
    if any(facts.has_exif for facts in (fact.image, fact.mask) if facts):
        kinds.append("exif")
    for kind in kinds:
        found.add(kind, [pair_id])
        if KINDS[kind].fatal:
            found.blame(kind, pair_id)


def _look_at_mask(mask: MaskFacts, has_negatives: bool) -> list[str]:
    kinds: list[str] = []
    if mask.empty:
        kinds.append("empty_mask" if has_negatives else "lost_mask")
    if mask.grey:
        kinds.append("grey_mask")
    if mask.coloured:
        kinds.append("coloured_mask")
    return kinds


def _look_for_duplicates(facts: Sequence[PairFacts], found: _Findings, rule: MaskRule | None) -> None:
    groups: dict[str, list[PairFacts]] = defaultdict(list)
    for fact in facts:
        if fact.image and fact.mask and not fact.faults:
            groups[fact.image.pixels_sha256].append(fact)
    for group in groups.values():
        if len(group) == 1:
            continue
        ids = [fact.files.id for fact in group]
        text = " = ".join(ids)
        if len({fact.mask.region_sha256 for fact in group if fact.mask}) > 1:
            found.add("contradiction", [f"{text} (mask IoU {_least_overlap(group, rule):.2f})"])
            found.blame("contradiction", *ids, reason=text)
        elif len({fact.files.split for fact in group if fact.files.split}) > 1:
            found.add("leak", [text])
            found.blame("leak", *(fact.files.id for fact in group if fact.files.split != "test"), reason=text)
        else:
            bytes_differ = len({fact.image.file_sha256 for fact in group if fact.image}) > 1
            found.add("same_pixels" if bytes_differ else "same_file", [text])


def _least_overlap(group: Sequence[PairFacts], rule: MaskRule | None) -> float:
    """Return the lowest intersection over union of any two masks of equal images; 0 where they differ in size."""
    masks = [open_pair(fact.files, rule).mask.region for fact in group]
    return min(
        float((one & other).sum() / max((one | other).sum(), 1)) if one.shape == other.shape else 0.0
        for one, other in combinations(masks, 2)
    )


def _compare_with_split(facts: Sequence[PairFacts], data_set: DataSet, found: _Findings) -> None:
    if not data_set.has_split:
        return
    rows = read_split(data_set.name)
    here = {fact.files.id for fact in facts}
    found.add("missing", (pair_id for pair_id in rows if pair_id not in here))
    for fact in facts:
        row = rows.get(pair_id := fact.files.id)
        kinds: list[str] = []
        if row is None:
            kinds.append("unlisted")
        else:
            if fact.image and fact.image.content_sha256 != row.image_sha256:
                kinds.append("image_drift")
            if fact.mask and fact.mask.content_sha256 != row.mask_sha256:
                kinds.append("mask_drift")
        for kind in kinds:
            found.add(kind, [pair_id])
            found.blame(kind, pair_id)


def _count(names: Iterable[str]) -> dict[str, int]:
    return dict(Counter(names).most_common())


def _ranges(masks: Sequence[MaskFacts]) -> list[tuple[int, int]]:
    """Return the runs of values that occur in any mask."""
    values = np.flatnonzero(np.sum([mask.levels for mask in masks], axis=0)) if masks else np.array([], dtype=int)
    runs = np.split(values, np.flatnonzero(np.diff(values) > 1) + 1) if len(values) else []
    return [(int(run[0]), int(run[-1])) for run in runs]
