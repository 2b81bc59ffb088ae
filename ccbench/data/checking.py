"""Looks at a data set as it lies on disk, and says what a benchmark must not swallow."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ccbench.data.examining import MaskFacts, PairFacts, examine_pair, map_threads
from ccbench.data.sets.base import DataSet, Listing
from ccbench.data.splits import read_split
from ccbench.images import LOSSY_FORMATS, MASK_THRESHOLD, read_mask
from ccbench.types import Progress, SilentProgress


class Kind(NamedTuple):
    """A sort of finding. `fatal`: on such data a benchmark would count what is not there, or count it twice."""

    fatal: bool
    text: str


KINDS = {
    "unreadable": Kind(True, "files that cannot be decoded"),
    "image_alone": Kind(True, "images without a mask"),
    "mask_alone": Kind(True, "masks without an image"),
    "twins": Kind(True, "files that claim the id of another"),
    "size_mismatch": Kind(True, "masks of another size than their image"),
    "faint_mask": Kind(True, f"masks that hold something but no pixel above {MASK_THRESHOLD}, such as class indices"),
    "lost_mask": Kind(True, "empty masks, in a data set in which every image shows a polyp"),
    "contradiction": Kind(True, "groups of equal images with different masks"),
    "leak": Kind(True, "groups of equal images in different splits"),
    "missing": Kind(True, "pairs that the package's split lists and that are not here"),
    "unlisted": Kind(True, "pairs that the package's split does not list"),
    "image_drift": Kind(True, "images that differ from the ones the package's split lists"),
    "mask_drift": Kind(True, "masks that differ from the ones the package's split lists"),
    "uncaptioned": Kind(True, "images without a caption, while others have one"),
    "empty_mask": Kind(False, "empty masks: images without a polyp"),
    "same_file": Kind(False, "groups of byte-identical images with one mask"),
    "same_pixels": Kind(False, "groups of images that differ as files and decode to the same pixels, with one mask"),
    "exif": Kind(False, "files that tell of a device, a date or a place; `ccbench data prepare` strips that"),
    "grey_mask": Kind(False, "masks with grey pixels; the threshold decides about them"),
    "coloured_mask": Kind(False, "colour-coded masks, read as the maximum over the channels"),
    "incomplete": Kind(False, "pairs fewer than the release has"),
}
"""Every sort of finding, the fatal ones first."""

_JPEG_NOISE = 16  # highest value that JPEG leaves beside a black background
_GREY = slice(_JPEG_NOISE + 1, 256 - _JPEG_NOISE - 1)


@dataclass(frozen=True)
class Finding:
    """Something to know about a data set. `where`: ids or paths below its folder, or reasons, all of them."""

    kind: str
    count: int
    where: tuple[str, ...]

    @property
    def fatal(self) -> bool:
        """Whether a benchmark must not swallow it."""
        return KINDS[self.kind].fatal

    @property
    def text(self) -> str:
        """What was found, in words that fit any number."""
        return KINDS[self.kind].text

    def __str__(self) -> str:
        return f"{self.text} ({self.count})"


@dataclass(frozen=True)
class CheckReport:
    """What lies in the folder of a data set.

    Attributes:
        parts, splits, sizes, image_formats, mask_formats: pairs of each; sizes as `WIDTHxHEIGHT`.
        mask_values: ranges of the values that occur, maximum over the channels.
        faulty: pair id -> the fatal kind for which `prepare` leaves it out.
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
    findings: tuple[Finding, ...]
    faulty: dict[str, str]

    @property
    def fatal(self) -> list[Finding]:
        """The findings that a benchmark must not swallow."""
        return [finding for finding in self.findings if finding.fatal]


def check_data_set(data_set: DataSet, root: Path, progress: Progress | None = None) -> CheckReport:
    """Decode every file of a data set and compare it with what it must be.

    Raises:
        DataError: no layout of the data set is at `root`.
    """
    return check_listing(data_set, data_set.scan(root), progress)


def check_listing(data_set: DataSet, listing: Listing, progress: Progress | None = None) -> CheckReport:
    """Check what `DataSet.scan` found; see `check_data_set`."""
    with (progress or SilentProgress()).step(f"check {data_set.name}", len(listing.pairs)) as step:
        facts = list(map_threads(examine_pair, listing.pairs, step))
    found = _Findings()
    _look_at_files(listing, found)
    for fact in facts:
        _look_at_pair(fact, data_set, found)
    _look_for_duplicates(facts, found)
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
        findings=found.all(),
        faulty=found.faulty,
    )


class _Findings:
    """Gathers findings, and which pairs are at fault."""

    def __init__(self) -> None:
        self._where: dict[str, list[str]] = defaultdict(list)
        self._more: Counter[str] = Counter()
        self.faulty: dict[str, str] = {}

    def add(self, kind: str, where: Iterable[str], more: int = 0) -> None:
        self._where[kind].extend(where)
        self._more[kind] += more

    def blame(self, kind: str, *pair_ids: str) -> None:
        for pair_id in pair_ids:
            self.faulty.setdefault(pair_id, kind)

    def all(self) -> tuple[Finding, ...]:
        counts = {kind: len(self._where[kind]) + self._more[kind] for kind in KINDS}
        return tuple(Finding(kind, count, tuple(self._where[kind])) for kind, count in counts.items() if count)


def _look_at_files(listing: Listing, found: _Findings) -> None:
    def below(path: Path) -> str:
        return path.relative_to(listing.root).as_posix()

    found.add("image_alone", map(below, listing.files.images_alone))
    found.add("mask_alone", map(below, listing.files.masks_alone))
    found.add("twins", (f"{below(other)} and {below(one)}" for one, other in listing.files.twins))


def _look_at_pair(fact: PairFacts, data_set: DataSet, found: _Findings) -> None:
    pair_id = fact.files.id
    kinds: list[str] = []
    if fact.errors:
        found.add("unreadable", fact.errors)
        found.blame("unreadable", pair_id)
    if fact.image and fact.mask and fact.image.size != fact.mask.size:
        kinds.append("size_mismatch")
    if fact.mask:
        kinds += _look_at_mask(fact.mask, data_set.has_negatives)
    if any(facts.has_exif for facts in (fact.image, fact.mask) if facts):
        kinds.append("exif")
    for kind in kinds:
        found.add(kind, [pair_id])
        if KINDS[kind].fatal:
            found.blame(kind, pair_id)


def _look_at_mask(mask: MaskFacts, has_negatives: bool) -> list[str]:
    kinds: list[str] = []
    if mask.highest <= MASK_THRESHOLD:
        is_black = mask.highest <= (_JPEG_NOISE if mask.format in LOSSY_FORMATS else 0)
        kinds.append("faint_mask" if not is_black else "empty_mask" if has_negatives else "lost_mask")
    if mask.levels[_GREY].any() and "faint_mask" not in kinds:
        kinds.append("grey_mask")
    if mask.coloured:
        kinds.append("coloured_mask")
    return kinds


def _look_for_duplicates(facts: Sequence[PairFacts], found: _Findings) -> None:
    groups: dict[str, list[PairFacts]] = defaultdict(list)
    for fact in facts:
        if fact.image and fact.mask:
            groups[fact.image.pixels_sha256].append(fact)
    for group in groups.values():
        if len(group) == 1:
            continue
        ids = [fact.files.id for fact in group]
        text = " = ".join(ids)
        if len({fact.mask.region_sha256 for fact in group if fact.mask}) > 1:
            found.add("contradiction", [f"{text} (mask IoU {_least_overlap(group):.2f})"])
            found.blame("contradiction", *ids)
        elif len({fact.files.split for fact in group if fact.files.split}) > 1:
            found.add("leak", [text])
            found.blame("leak", *(fact.files.id for fact in group if fact.files.split != "test"))
        else:
            bytes_differ = len({fact.image.file_sha256 for fact in group if fact.image}) > 1
            found.add("same_pixels" if bytes_differ else "same_file", [text])


def _least_overlap(group: Sequence[PairFacts]) -> float:
    """Return the lowest intersection over union of any two masks of equal images; 0 where they differ in size."""
    masks = [read_mask(fact.files.mask) for fact in group]
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
