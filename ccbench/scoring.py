"""Scores of synthetic images: of one synthesis under a protocol, or of any two folders."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from ccbench.errors import DataError, MissingError
from ccbench.features import Encoder, TextImageEncoder, open_encoder, open_text_encoder
from ccbench.features.cache import FeatureCache
from ccbench.features.pipeline import EncodedSet, encode_files, encode_set
from ccbench.images import list_images
from ccbench.metrics.scores import PairScores, no_pair_scores, pair_scores, set_scores
from ccbench.prompts import match_prompts, read_prompts
from ccbench.scorecard import Scorecard, SourceScores, per_sample_table, score_from_json, score_to_json
from ccbench.seeding import derive_seed
from ccbench.types import Image, PairSequence, Progress, Score, SilentProgress

__all__ = [
    "REAL_SPLIT",
    "VAE_CEILING",
    "Scorecard",
    "score_folders",
    "score_from_json",
    "score_synthesis",
    "score_to_json",
]

REAL_SPLIT = "real-split"
VAE_CEILING = "vae-ceiling"
DEFAULT_TEXT_ENCODER = "mini-clip"
_ITSELF = "a real image compared with itself: 100 by definition"


def score_synthesis(
    images: Sequence[Path],
    test: PairSequence,
    reference: PairSequence,
    reference_id: str,
    *,
    set_encoder: str,
    text_encoder: str,
    controls: Mapping[str, Callable[[Image], Image]] = MappingProxyType({}),
    device: str = "cpu",
    cache: FeatureCache | None = None,
    progress: Progress = SilentProgress(),
) -> Scorecard:
    """Score the images of one synthesis; every file is decoded once, and the real test images once more per control.

    The control "real-split" scores the real images of `test` in the same way: the floor of the set distances at equal
    n, and the ceiling of CLIP-score.

    Args:
        images: files; images[i] was made from the condition of test[i].
        reference: the real images that the set distances are taken to. reference_id: their name in the signatures,
            such as `phantom-128-train@0123456789ab`.
        controls: name -> what is done to each real test image before it is scored as if it were synthetic, such as
            "vae-ceiling": the way through the backbone's VAE and back.
        cache: where features are looked up and kept; None = all are computed. It changes no score.

    Raises:
        DataError: counts differ, or images cannot be decoded. MissingError: an encoder's weights are not there.
    """
    if not images or len(images) != len(test):
        raise DataError(f"scoring: {len(images)} images for {len(test)} test conditions; wanted one for each")
    network = open_encoder(set_encoder, device=device)
    clip = open_text_encoder(text_encoder, device=device)
    pairs, known = _StreamedPairs(test), _StreamedPairs(reference)
    both: list[Encoder] = [network, clip]

    def changed(name: str, change: Callable[[Image], Image]) -> EncodedSet:
        return encode_set(lambda i: change(test[i].image), len(test), both, f"encoding {name}", progress, cache=cache)

    def streamed(part: _StreamedPairs, count: int, encoders: list[Encoder], name: str) -> EncodedSet:
        # One worker: the pairs' short parts are kept in the order of the calls.
        return encode_set(part.load, count, encoders, f"encoding {name} images", progress, cache=cache, workers=1)

    made = encode_files(images, both, "encoding synthetic images", progress, cache=cache)
    real = streamed(pairs, len(test), both, "real test")
    target = streamed(known, len(reference), [network], "reference")
    panel = _Panel(network, clip, target, reference_id, real, clip.encode_texts(pairs.prompts), pairs)
    others = {name: changed(name, change) for name, change in controls.items()}
    score, image = panel.score_pairs(made)
    return Scorecard(
        scores=panel.score(made),
        controls=panel.score_controls(others),
        per_sample=per_sample_table(pairs.ids, score.values, image.values),
        failures=_count_failures(made, real.sizes),
        notes={"prompts_truncated_share": clip.count_truncated(pairs.prompts) / len(pairs.prompts)},
        by_source={
            source: SourceScores(
                part.score(made.rows(rows)),
                part.score_controls({name: encoded.rows(rows) for name, encoded in others.items()}),
            )
            for source, rows in pairs.rows_by_source().items()
            for part in [panel.part(source, rows, known.rows_by_source().get(source, []))]
        },
    )


def score_folders(
    images: Path,
    reference: Path,
    *,
    prompts: Path | None,
    set_encoder: str,
    set_weights: Path | None,
    text_encoder: str | None,
    text_weights: Path | None,
    device: str = "cpu",
    cache: FeatureCache | None = None,
    progress: Progress = SilentProgress(),
) -> Scorecard:
    """Score a folder of images against a folder of reference images, whatever made them.

    CLIP-score needs `prompts`, a JSON Lines file; CLIP-image needs file stems that match one to one. What cannot be
    computed has value None and says why. The control "real-split" is the floor: a seeded part of the reference, as
    many as there are images but at most half of it, against the rest.

    Args:
        text_encoder: None = the shipped one, where it is needed and there.
        cache: as in `score_synthesis`.

    Raises:
        DataError: an empty folder, images that cannot be decoded, prompts that do not cover the images.
        MissingError: weights of an encoder that was asked for are not there.
    """
    files, real_files = list_images(images), list_images(reference)
    lines = None if prompts is None else match_prompts(read_prompts(prompts), files, prompts)
    order, unpaired = _match_stems(files, real_files)
    network = open_encoder(set_encoder, weights=set_weights, device=device)
    clip, missing = None, None
    if lines is not None or order is not None:
        clip, missing = _open_clip(text_encoder, text_weights, device)
    both = [network] if clip is None else [network, clip]
    made = encode_files(files, both, f"encoding {images}", progress, cache=cache)
    needed = both if order is not None else [network]
    real = encode_files(real_files, needed, f"encoding {reference}", progress, cache=cache)

    texts: _Partners | str = missing or "no prompts were given"
    partners: _Partners | str = missing or unpaired
    if clip is not None and lines is not None:
        texts = _encode_texts(clip, lines)
    if clip is not None and order is not None:
        partners = _Partners(real.features[clip.id][order], f"partners@{real.digest}")
    score, image = _pair("clip_score", made, clip, texts), _pair("clip_image", made, clip, partners)
    ref = f"folder@{real.digest}"
    features = made.features[network.id], real.features[network.id]
    truncated = clip.count_truncated(lines) / len(lines) if clip is not None and lines is not None else None
    return Scorecard(
        scores=[*set_scores(*features, network.id, network.signature, ref), score.score, image.score],
        controls={REAL_SPLIT: _score_real_split(real, network, ref, len(made))},
        per_sample=per_sample_table([path.stem for path in files], score.values, image.values),
        failures=_count_failures(made, None),
        notes={} if truncated is None else {"prompts_truncated_share": truncated},
    )


@dataclass(frozen=True, eq=False)
class _Partners:
    """Features (N, D) of what each image is paired with, and their name in the signatures."""

    features: NDArray[np.float32]
    id: str


class _StreamedPairs:
    """Keeps the short parts of the pairs while their images stream by, so that no pair is loaded twice."""

    def __init__(self, pairs: PairSequence) -> None:
        self._pairs = pairs
        self.ids: list[str] = []
        self.prompts: list[str] = []
        self.clusters: list[str | None] = []
        self._sources: list[str | None] = []

    def load(self, index: int) -> Image:
        pair = self._pairs[index]
        self.ids.append(pair.condition.id)
        self.prompts.append(pair.condition.prompt)
        self.clusters.append(pair.condition.cluster)
        self._sources.append(pair.source)
        return pair.image

    def rows(self, numbers: Sequence[int]) -> "_StreamedPairs":
        """Return some of what was kept."""
        part = _StreamedPairs(())
        for name in ("ids", "prompts", "clusters", "_sources"):
            setattr(part, name, [getattr(self, name)[number] for number in numbers])
        return part

    def rows_by_source(self) -> dict[str, list[int]]:
        """Return data set -> numbers of its pairs; empty when there are not two of them."""
        names = sorted({source for source in self._sources if source is not None})
        found = {name: [row for row, source in enumerate(self._sources) if source == name] for name in names}
        return found if len(found) > 1 else {}


@dataclass(frozen=True, eq=False)
class _Panel:
    """What every set of images of one synthesis is scored against; all in the order of the test pairs.

    Attributes:
        target: reference images of the set distances, called `reference_id`. real: the real test images.
        texts: (N, D) features of the prompts.
    """

    network: Encoder
    clip: TextImageEncoder
    target: EncodedSet
    reference_id: str
    real: EncodedSet
    texts: NDArray[np.float32]
    pairs: _StreamedPairs

    def part(self, source: str, rows: Sequence[int], target_rows: Sequence[int]) -> "_Panel":
        """Return the panel of one data set's test and reference images."""
        target, name = self.target.rows(target_rows), f"{self.reference_id}/{source}"
        real, texts, pairs = self.real.rows(rows), self.texts[list(rows)], self.pairs.rows(rows)
        return replace(self, target=target, reference_id=name, real=real, texts=texts, pairs=pairs)

    def score(self, encoded: EncodedSet) -> list[Score]:
        """Return the set distances, CLIP-score and CLIP-image."""
        return [*self._distances(encoded), *(pair.score for pair in self.score_pairs(encoded))]

    def score_pairs(self, encoded: EncodedSet) -> tuple[PairScores, PairScores]:
        """Return CLIP-score and CLIP-image; none of the real images themselves, which would say 100."""
        # Named by id: a phantom's pixels may differ in the last bit between processors, and the pairs are the same.
        name = f"partners@{_digest([self.reference_id, *self.pairs.ids])}"
        reals, clusters = _Partners(self.real.features[self.clip.id], name), self.pairs.clusters
        text = _pair("clip_score", encoded, self.clip, self._prompts(), clusters)
        if encoded.digests == self.real.digests:
            return text, no_pair_scores("clip_image", self.clip.signature, _ITSELF, len(encoded))
        return text, _pair("clip_image", encoded, self.clip, reals, clusters)

    def score_controls(self, others: Mapping[str, EncodedSet]) -> dict[str, list[Score]]:
        """Return the scores of the real test images, and of each set of changed ones."""
        return {name: self.score(encoded) for name, encoded in {REAL_SPLIT: self.real, **others}.items()}

    def _distances(self, encoded: EncodedSet) -> list[Score]:
        features, target = encoded.features[self.network.id], self.target.features[self.network.id]
        return set_scores(features, target, self.network.id, self.network.signature, self.reference_id)

    def _prompts(self) -> _Partners:
        return _Partners(self.texts, f"prompts@{_digest(sorted(self.pairs.prompts))}")


def _encode_texts(clip: TextImageEncoder, texts: Sequence[str]) -> _Partners:
    return _Partners(clip.encode_texts(texts), f"prompts@{_digest(sorted(texts))}")


def _digest(texts: Sequence[str]) -> str:
    return hashlib.sha256("\x1f".join(texts).encode()).hexdigest()[:12]


def _open_clip(name: str | None, weights: Path | None, device: str) -> tuple[TextImageEncoder | None, str | None]:
    """Return the text encoder; if nobody asked for one and the default is not there, None and the reason."""
    try:
        return open_text_encoder(name or DEFAULT_TEXT_ENCODER, weights=weights, device=device), None
    except MissingError as error:
        if name is not None or weights is not None:
            raise
        return None, str(error)


def _pair(
    metric: str,
    images: EncodedSet,
    clip: TextImageEncoder | None,
    partners: _Partners | str,
    clusters: Sequence[str | None] | None = None,
) -> PairScores:
    """Return the pair metric; `partners` is a reason where there are none."""
    if clip is None or isinstance(partners, str):
        signature = "enc:none" if clip is None else clip.signature
        return no_pair_scores(metric, signature, str(partners), len(images))
    return pair_scores(metric, images.features[clip.id], partners.features, clip.signature, partners.id, clusters)


def _match_stems(files: Sequence[Path], real_files: Sequence[Path]) -> tuple[list[int] | None, str]:
    """Return for each image the position of the real image of the same stem, or None and why they do not pair up."""
    for side in (files, real_files):
        stem, count = Counter(path.stem for path in side).most_common(1)[0]
        if count > 1:
            return None, f"{side[0].parent} holds {count} images called {stem!r}, so images cannot be paired by name"
    position = {path.stem: number for number, path in enumerate(real_files)}
    found = [position.get(path.stem) for path in files]
    shared = sum(number is not None for number in found)
    if shared < max(len(files), len(real_files)):
        return None, (
            f"file stems do not match one to one: {shared} are shared by {len(files)} images and "
            f"{len(real_files)} reference images"
        )
    return [number for number in found if number is not None], ""


def _score_real_split(real: EncodedSet, network: Encoder, ref: str, n: int) -> list[Score]:
    # Sorted by content before the seeded draw: file names and formats do not change the split.
    by_content = np.argsort(np.array(real.digests), kind="stable")
    drawn = by_content[np.random.default_rng(derive_seed("real-split", real.digest)).permutation(len(real))]
    held_out, rest = np.split(real.features[network.id][drawn], [min(n, len(real) // 2)])
    return set_scores(held_out, rest, network.id, network.signature, ref)


def _count_failures(images: EncodedSet, wanted_sizes: Sequence[tuple[int, int]] | None) -> dict[str, int]:
    failures = {"unreadable": 0, "constant": images.constant, "duplicate": images.duplicates}
    if wanted_sizes is not None:
        failures["wrong_size"] = sum(a != b for a, b in zip(images.sizes, wanted_sizes, strict=True))
    return failures
