"""What a leak audit found, as it is written to `audit.json`, and the thresholds that it found it with."""

import json
from typing import Literal

from ccbench.types import Record

Kind = Literal["same_file", "same_pixels", "same_frame", "near"]
KINDS: tuple[Kind, ...] = ("same_file", "same_pixels", "same_frame", "near")
"""Kinds of pairs, the worst first; a pair is of the first kind that fits."""

LEAKS: tuple[Kind, ...] = ("same_file", "same_pixels", "same_frame")
"""Kinds of which a benchmark must not have one pair across its splits."""

LISTED = 500  # pairs that an audit lists, the worst; it counts all


class Thresholds(Record):
    """What makes two images near-duplicates, or one frame.

    The distance is the share of the hash's bits that differ plus the cosine distance of the features of
    `open_audit_encoder`; the overlap is that of `ccbench.metrics.images.registration`. Measured on real frames
    (recipes/measure_audit.py): of 3.7 million pairs of different data sets or hospitals the nearest is at 0.42,
    and none within 0.5 overlaps by more than 0.11. Frames of other patients under one burnt-in user interface overlap
    by up to 0.48.

    Attributes:
        near: distance at or below which a pair is a near-duplicate.
        candidate: distance at or below which two images are registered.
        overlap: at or above it a candidate is one frame stored anew, or two frames of one moment.
    """

    near: float = 0.40
    candidate: float = 0.50
    overlap: float = 0.50


class AuditedSet(Record):
    """What was audited. `clusters`: video sequences or patients; `unclustered`: images of which neither is known."""

    name: str
    n: int
    manifest_sha256: str
    clusters: int
    unclustered: int


class ImageName(Record):
    """An image: its set, its place in that set's order, and its id."""

    set: str
    index: int
    id: str


class Pair(Record):
    """Two images that are too close.

    Attributes:
        hamming: bits that differ.
        cosine: distance of the features.
        distance, overlap: see `Thresholds`.
        cluster: the video sequence or patient that both are known to be of.
    """

    kind: Kind
    first: ImageName
    second: ImageName
    hamming: int
    cosine: float
    distance: float
    overlap: float
    cluster: str | None = None

    @property
    def is_across(self) -> bool:
        """Whether the two are of different sets."""
        return self.first.set != self.second.set


class SharedCluster(Record):
    """A video sequence or patient with images in two sets, and how many in each."""

    cluster: str
    first: str
    second: str
    images_first: int
    images_second: int

    @property
    def counts(self) -> tuple[tuple[str, int], tuple[str, int]]:
        """Each set and how many of its images show the cluster."""
        return (self.first, self.images_first), (self.second, self.images_second)


class Counts(Record):
    """Pairs of each kind between two sets, or within one.

    Attributes:
        pairs: kind -> pairs.
        images: kind -> images of `second` that are in such a pair.
        in_sequence: pairs within one set whose frames are known to be of one video sequence or patient, and are alike
            as such frames are; they are not in `pairs`.
    """

    first: str
    second: str
    pairs: dict[Kind, int]
    images: dict[Kind, int]
    in_sequence: int = 0

    @property
    def is_across(self) -> bool:
        """Whether the two sets are different ones."""
        return self.first != self.second


class Audit(Record):
    """The result of a leak audit.

    Attributes:
        protocol: None when folders were audited.
        pairs: the worst `LISTED`, those across sets first.
    """

    schema_version: Literal[1] = 1
    protocol: str | None
    encoder: str
    hash: str
    thresholds: Thresholds
    sets: tuple[AuditedSet, ...]
    counts: tuple[Counts, ...]
    clusters: tuple[SharedCluster, ...]
    pairs: tuple[Pair, ...]

    @property
    def leaks(self) -> list[str]:
        """The leaks, one line for each two sets; empty when they may stand side by side.

        One image on both sides of a split, re-encoded or not, and a video sequence or patient on both sides. Not
        near-duplicates: whether two frames are too much alike is for people to judge, from the pictures.
        """
        lines = []
        for counts in self.counts:
            found = {kind.replace("_", " "): counts.pairs[kind] for kind in LEAKS}
            shared = [item for item in self.clusters if (item.first, item.second) == (counts.first, counts.second)]
            found["video sequence or patient"] = len(shared)
            text = ", ".join(f"{count} x {words}" for words, count in found.items() if count)
            if counts.is_across and text:
                lines.append(f"{counts.first} and {counts.second} share {text}")
        return lines

    @property
    def total(self) -> int:
        """Pairs found, listed or not."""
        return sum(sum(counts.pairs.values()) for counts in self.counts)

    def to_text(self) -> str:
        """Return the JSON text of `audit.json`, numbers unrounded."""
        return json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def find_set(self, name: str) -> AuditedSet | None:
        """Return the audited set of that name, if there is one."""
        return next((part for part in self.sets if part.name == name), None)
