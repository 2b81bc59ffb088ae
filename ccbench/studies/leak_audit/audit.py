"""The leak audit: duplicates and near-duplicates within and across sets of images, and video sequences they share."""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, combinations_with_replacement
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ccbench.base.image_folders import list_images
from ccbench.base.images import read_image, sha256_file, sha256_pixels
from ccbench.data.pairs import DataSplit
from ccbench.errors import UsageError
from ccbench.features import Encoder
from ccbench.features.encoder_weights import find_lite0
from ccbench.features.image_pass import encode_set
from ccbench.features.perceptual_hash import HASH_NAME, VIEW_SIZE, grey_view, hash_view, view_of
from ccbench.metrics.images.registration import overlap, spectra, spectrum
from ccbench.metrics.sets.close_pairs import ClosePairs, find_close_pairs
from ccbench.studies.leak_audit.audit_record import (
    KINDS,
    LISTED,
    Audit,
    AuditedSet,
    Counts,
    ImageName,
    Pair,
    SharedCluster,
    Thresholds,
)
from ccbench.types import Image, Progress, SilentProgress

_SPECTRA = 1000  # held at a time: 66 kB each


class AuditItem(NamedTuple):
    """One image as it is audited. `cluster`: video sequence or patient; `file_sha256`: None where there is no file."""

    id: str
    image: Image
    cluster: str | None = None
    file_sha256: str | None = None


@dataclass(frozen=True)
class AuditSet:
    """Images under one name. `load(0)` to `load(count - 1)` return them."""

    name: str
    count: int
    load: Callable[[int], AuditItem]
    manifest_sha256: str


def open_audit_encoder(device: str = "cpu") -> Encoder:
    """Return EfficientNet-Lite0 at the size of a view: a fifth of the work at 224 px, and it tells frames apart better.

    Raises:
        MissingError: its weights are not there.
    """
    from ccbench.features import lite0

    return lite0.open(find_lite0(offline=True), device, size=VIEW_SIZE)


def audit_split(split: DataSplit) -> AuditSet:
    """Return a split of a protocol as a set to audit, at the size that the protocol trains on."""

    def load(index: int) -> AuditItem:
        pair = split.pairs[index]
        return AuditItem(pair.condition.id, pair.image, pair.condition.cluster)

    return AuditSet(split.name, len(split.pairs), load, split.manifest_sha256)


def audit_folder(name: str, folder: Path) -> AuditSet:
    """Return the images of a folder as a set to audit; their ids are the names of the files.

    Raises:
        DataError: the folder does not exist or holds no image.
    """
    files = list_images(folder)
    hashes = [sha256_file(file) for file in files]

    def load(index: int) -> AuditItem:
        return AuditItem(files[index].name, read_image(files[index]), file_sha256=hashes[index])

    lines = "".join(f"{file.name}\t{digest}\n" for file, digest in zip(files, hashes, strict=True))
    return AuditSet(name, len(files), load, hashlib.sha256(lines.encode()).hexdigest())


def audit_sets(
    sets: Sequence[AuditSet],
    encoder: Encoder,
    *,
    protocol: str | None = None,
    thresholds: Thresholds = Thresholds(),
    progress: Progress = SilentProgress(),
) -> Audit:
    """Compare every image with every other; each is decoded once.

    Args:
        sets: in the order in which they are reported.
        encoder: of `open_audit_encoder`, for which the thresholds were measured.
        protocol: name of the protocol whose splits the sets are.

    Raises:
        UsageError: two sets of one name.
        DataError: images that cannot be read.
    """
    names = [part.name for part in sets]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"leak audit: two sets are called {twice[0]!r}; give each its own name")
    seen = [_look(part, encoder, progress) for part in sets]
    hashes, features = (np.concatenate(parts) for parts in zip(*((s.hashes, s.features) for s in seen), strict=True))
    close = find_close_pairs(hashes, features, max(thresholds.near, thresholds.candidate))
    found = _Found(names, seen, close, thresholds, progress)
    return Audit(
        protocol=protocol,
        encoder=encoder.signature,
        hash=HASH_NAME,
        thresholds=thresholds,
        sets=tuple(_describe(part, looked.frames) for part, looked in zip(sets, seen, strict=True)),
        counts=tuple(found.count(a, b) for a, b in combinations_with_replacement(range(len(sets)), 2)),
        clusters=tuple(shared for a, b in combinations(seen, 2) for shared in _share(a.frames, b.frames)),
        pairs=found.worst(),
    )


class _Frame(NamedTuple):
    """An image as the audit sees it. `grey`: its view, for registration."""

    name: ImageName
    grey: NDArray[np.uint8]
    cluster: str | None
    file_sha256: str | None
    pixels_sha256: str


class _Seen(NamedTuple):
    """One set after it was looked at: `hashes` (N, V, B), `features` (N, D)."""

    frames: list[_Frame]
    hashes: NDArray[np.bool_]
    features: NDArray[np.float32]


def _look(part: AuditSet, encoder: Encoder, progress: Progress) -> _Seen:
    frames: list[_Frame] = []
    hashes: list[NDArray[np.bool_]] = []

    def load(index: int) -> Image:
        item = part.load(index)
        view, name = view_of(item.image), ImageName(set=part.name, index=index, id=item.id)
        frame = _Frame(name, grey_view(view), item.cluster, item.file_sha256, sha256_pixels(item.image))
        frames.append(frame)
        hashes.append(hash_view(frame.grey))
        return view

    encoded = encode_set(load, part.count, [encoder], f"looking at {part.name}", progress)
    return _Seen(frames, np.stack(hashes), encoded.features[encoder.id])


def _describe(part: AuditSet, frames: Sequence[_Frame]) -> AuditedSet:
    clusters = [frame.cluster for frame in frames if frame.cluster is not None]
    return AuditedSet(
        name=part.name,
        n=len(frames),
        manifest_sha256=part.manifest_sha256,
        clusters=len(set(clusters)),
        unclustered=len(frames) - len(clusters),
    )


def _share(first: Sequence[_Frame], second: Sequence[_Frame]) -> list[SharedCluster]:
    one, other = (Counter(frame.cluster for frame in frames if frame.cluster) for frames in (first, second))
    return [
        SharedCluster(
            cluster=cluster,
            first=first[0].name.set,
            second=second[0].name.set,
            images_first=one[cluster],
            images_second=other[cluster],
        )
        for cluster in sorted(one.keys() & other.keys())
    ]


class _Found:
    """The close pairs with what is known of each: arrays (P,), which a video of thousands of frames fits into."""

    def __init__(
        self,
        names: Sequence[str],
        seen: Sequence[_Seen],
        close: ClosePairs,
        thresholds: Thresholds,
        progress: Progress,
    ) -> None:
        self._names, self._close = names, close
        self._frames = [frame for part in seen for frame in part.frames]
        part_of = np.repeat(np.arange(len(seen)), [len(part.frames) for part in seen])
        self._part_1, self._part_2 = part_of[close.first], part_of[close.second]
        same_file, same_pixels = self._equal("file_sha256"), self._equal("pixels_sha256")
        # Frames of one video in one set are alike by nature; equal pixels are not.
        one_video = (self._part_1 == self._part_2) & self._equal("cluster") & ~same_file & ~same_pixels
        self._overlap = self._lay_on_each_other(~one_video, progress)
        one_frame = (close.distance <= thresholds.candidate) & (self._overlap >= thresholds.overlap)
        near = close.distance <= thresholds.near
        codes = range(len(KINDS))
        self._kind = np.select([same_file, same_pixels, one_frame, near], codes, default=len(KINDS))
        self._expected, self._found = one_video & near, ~one_video & (self._kind < len(KINDS))

    def count(self, first: int, second: int) -> Counts:
        """Return the counts between two sets, given by their numbers."""
        between = (self._part_1 == first) & (self._part_2 == second)
        pairs, images = {}, {}
        for code, kind in enumerate(KINDS):
            chosen = between & self._found & (self._kind == code)
            ends = (
                [self._close.second[chosen]]
                if first != second
                else [self._close.first[chosen], self._close.second[chosen]]
            )
            pairs[kind], images[kind] = int(chosen.sum()), len(np.unique(np.concatenate(ends)))
        return Counts(
            first=self._names[first],
            second=self._names[second],
            pairs=pairs,
            images=images,
            in_sequence=int((between & self._expected).sum()),
        )

    def worst(self) -> tuple[Pair, ...]:
        """Return the worst pairs: across sets before within one, then by kind, then by distance."""
        order = np.lexsort((self._close.distance, self._kind, self._part_1 == self._part_2))
        return tuple(self._pair(int(at)) for at in order[self._found[order]][:LISTED])

    def _pair(self, at: int) -> Pair:
        first, second = self._frames[self._close.first[at]], self._frames[self._close.second[at]]
        return Pair(
            kind=KINDS[self._kind[at]],
            first=first.name,
            second=second.name,
            hamming=int(self._close.hamming[at]),
            cosine=float(self._close.cosine[at]),
            distance=float(self._close.distance[at]),
            overlap=float(self._overlap[at]),
            cluster=first.cluster if first.cluster == second.cluster else None,
        )

    def _lay_on_each_other(self, chosen: NDArray[np.bool_], progress: Progress) -> NDArray[np.float64]:
        """Return the overlap of each chosen pair, 0 for the others."""
        overlaps = np.zeros(len(chosen))
        views = lru_cache(maxsize=1)(
            lambda index: spectra(self._frames[index].grey)
        )  # pairs come in order of the first
        own = lru_cache(maxsize=_SPECTRA)(lambda index: spectrum(self._frames[index].grey))
        with progress.step("laying close pairs on each other", int(chosen.sum())) as step:
            for at in np.flatnonzero(chosen):
                overlaps[at] = overlap(views(int(self._close.first[at])), own(int(self._close.second[at])))
                step.advance()
        return overlaps

    def _equal(self, field: str) -> NDArray[np.bool_]:
        """Return for each pair whether both images have the same value of a field, and have one."""
        values = [getattr(frame, field) for frame in self._frames]
        codes = {value: code for code, value in enumerate(dict.fromkeys(values))}
        code_of = np.array([-1 if value is None else codes[value] for value in values], dtype=np.int64)
        one, other = code_of[self._close.first], code_of[self._close.second]
        equal: NDArray[np.bool_] = (one == other) & (one >= 0)
        return equal
