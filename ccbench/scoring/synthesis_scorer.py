"""Scores of the images of one synthesis under a protocol."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from ccbench.data.captions.stated_attributes import split_clauses
from ccbench.errors import DataError
from ccbench.features import Encoder, TextImageEncoder, open_encoder, open_text_encoder
from ccbench.features.feature_cache import FeatureCache
from ccbench.features.image_pass import EncodedSet, encode_files, encode_set, encode_texts
from ccbench.metrics.sets.diversity import copy_diversity
from ccbench.metrics.sets.memorisation import Neighbours
from ccbench.runs.scorecard import NearPair, Notes, Scorecard, ScoredImages, SourceScores, per_sample_table
from ccbench.scoring.conditions import StreamedPairs
from ccbench.scoring.encoder_scores import count_failures
from ccbench.scoring.fidelity import Measured, Meter, Segmenter
from ccbench.scoring.panel import ImageSet, Panel
from ccbench.types import Image, PairSequence, Part, Progress, Score, SilentProgress

NEAR_PAIRS = 12  # shown to people

_REAL, _KNOWN, _MADE = (f"encoding {images} images" for images in ("real test", "reference", "synthetic"))


def _changed_title(control: str) -> str:
    return f"encoding {control}"


def scoring_parts(test: int, reference: int, controls: Sequence[str]) -> list[Part]:
    """Return the steps of scoring a first synthesis, of so many test and reference images.

    Shares: a reference image is 1, one that is also segmented and measured 4, one that is decoded by a VAE first 7, as
    measured on two cores with the embedded encoders.
    """
    changed = [Part(_changed_title(name), 7 * test) for name in controls]
    return [Part(_REAL, 4 * test), Part(_KNOWN, reference), *changed, Part(_MADE, 4 * test)]


class SynthesisScorer:
    """Scores syntheses of the same conditions; what these share is read and scored once.

    The control "real-split" scores the real images of `test` in the same way: the floor of the set distances at equal
    n, and the ceiling of what is measured against the conditions.
    """

    def __init__(
        self,
        test: PairSequence,
        reference: PairSequence,
        reference_id: str,
        *,
        set_encoder: str,
        text_encoder: str,
        segmenter: Segmenter | str,
        controls: Mapping[str, Callable[[Image], Image]] = MappingProxyType({}),
        device: str = "cpu",
        cache: FeatureCache | None = None,
        progress: Progress = SilentProgress(),
    ) -> None:
        """Read the real images, and the real test images once more per control.

        Args:
            reference: the real images that the set distances are taken to, of which a generator may know.
            reference_id: their name in the signatures, such as `phantom-128-train@0123456789ab`.
            segmenter: the one that mask fidelity is told by, or why there is none.
            controls: name -> what is done to each real test image before it is scored as if it were synthetic, such as
                "vae-ceiling": the way through the backbone's VAE and back.
            cache: where features are looked up and kept; None = all are computed. It changes no score.

        Raises:
            DataError: images cannot be decoded.
            MissingError: an encoder's weights are not there.
        """
        network = open_encoder(set_encoder, device=device)
        clip = open_text_encoder(text_encoder, device=device)
        self._reader = reader = _Reader(test, StreamedPairs(test), network, clip, segmenter, cache, progress)
        real, pairs, self._known = reader.real(), reader.pairs, StreamedPairs(reference)
        target = reader.stream(self._known, _KNOWN)
        of_polyps = [split_clauses(prompt).foreground for prompt in pairs.prompts]
        texts, polyp_texts = (encode_texts(clip, lines, cache=cache) for lines in (pairs.prompts, of_polyps))
        known = self._known.clusters
        self._panel = Panel(
            network, clip, target, known, target, reference_id, real, texts, polyp_texts, pairs, segmenter
        )
        others = {name: reader.changed(name, change) for name, change in controls.items()}
        self._controls = self._panel.score_controls(others)
        self._parts = {source: self._part(source, rows, others) for source, rows in pairs.rows_by_source().items()}

    def _part(self, source: str, rows: list[int], others: Mapping[str, ImageSet]) -> "_Part":
        panel = self._panel.part(source, rows, self._known.rows_by_source().get(source, []))
        return _Part(rows, panel, panel.score_controls({name: control.rows(rows) for name, control in others.items()}))

    def score(
        self, images: Sequence[Path], copies: Mapping[int, Sequence[Path]] = MappingProxyType({})
    ) -> ScoredImages:
        """Score the images of one synthesis; every file is decoded once.

        Args:
            images: files; images[i] was made from the condition of test[i].
            copies: index of a condition -> further images of it, on which diversity is measured.

        Raises:
            DataError: counts differ, or images cannot be decoded.
        """
        panel, pairs = self._panel, self._reader.pairs
        if not images or len(images) != len(pairs):
            raise DataError(f"scoring: {len(images)} images for {len(pairs)} test conditions; wanted one for each")
        made = self._reader.made(images, copies)
        found = panel.score(made)
        near, segmenter, clip = found.memorised, panel.segmenter, panel.clip
        card = Scorecard(
            scores=found.scores,
            controls=self._controls,
            failures=count_failures(made.encoded, panel.real.encoded.sizes),
            notes=Notes(
                prompts_truncated_share=clip.count_truncated(pairs.prompts) / len(pairs.prompts),
                memorisation=f"not told: {near}" if isinstance(near, str) else near.verdict,
                paths={e.id: f"{e.path}, feature error {e.path_error:.0e}" for e in (panel.network, clip)},
                judge_weights=None if isinstance(segmenter, str) else segmenter.weights,
                judge_dice_validation=None if isinstance(segmenter, str) else segmenter.dice,
            ),
            near_pairs=[] if isinstance(near, str) else _near_pairs(near.neighbours, pairs, self._known),
            by_source={
                source: SourceScores(scores=part.panel.score(made.rows(part.rows)).scores, controls=part.controls)
                for source, part in self._parts.items()
            },
        )
        return ScoredImages(card, per_sample_table(pairs.ids, found.values))


class _Part(NamedTuple):
    """The test conditions of one data set: their numbers, what they are scored against, their controls."""

    rows: list[int]
    panel: Panel
    controls: dict[str, list[Score]]


@dataclass(frozen=True, eq=False)
class _Reader:
    """Reads sets of images, each once: features by both encoders, and what the images show of their conditions."""

    test: PairSequence
    pairs: StreamedPairs
    network: Encoder
    clip: TextImageEncoder
    segmenter: Segmenter | str
    cache: FeatureCache | None
    progress: Progress

    def real(self) -> ImageSet:
        """Read the real test images; first of all, for their conditions are kept on the way."""
        meter = self._meter()
        return ImageSet(self.stream(self.pairs, _REAL, meter), meter.seen)

    def made(self, images: Sequence[Path], copies: Mapping[int, Sequence[Path]]) -> ImageSet:
        """Read the synthetic images, and the further ones of some conditions."""
        meter = self._meter()
        encoded = encode_files(images, self._encoders, _MADE, self.progress, cache=self.cache, visit=meter)
        diversity = _measure_diversity(copies, encoded, self.network, self.progress, self.cache) if copies else None
        return ImageSet(encoded, meter.seen, diversity)

    def changed(self, name: str, change: Callable[[Image], Image]) -> ImageSet:
        """Read the real test images after a change."""

        def load(number: int) -> Image:
            return change(self.test[number].image)

        meter, count = self._meter(), len(self.test)
        title = _changed_title(name)
        encoded = encode_set(load, count, self._encoders, title, self.progress, cache=self.cache, visit=meter)
        return ImageSet(encoded, meter.seen)

    def stream(self, pairs: StreamedPairs, title: str, visit: Meter | None = None) -> EncodedSet:
        """Read the images of pairs."""
        # One worker: the pairs' short parts are kept in the order of the calls.
        progress, cache = self.progress, self.cache
        return encode_set(pairs.load, len(pairs), self._encoders, title, progress, cache=cache, workers=1, visit=visit)

    @property
    def _encoders(self) -> list[Encoder]:
        return [self.network, self.clip]

    def _meter(self) -> Meter:
        return Meter(self.pairs, self.segmenter, self.clip, self.cache)


def _measure_diversity(
    copies: Mapping[int, Sequence[Path]],
    made: EncodedSet,
    network: Encoder,
    progress: Progress,
    cache: FeatureCache | None,
) -> Measured:
    """Return the mean distance between the images of each condition that has several, NaN for the others."""
    files = [(index, file) for index, group in copies.items() for file in group]
    more = encode_files([file for _, file in files], [network], "encoding copies", progress, cache=cache)
    features = np.concatenate([made.features[network.id], more.features[network.id]])
    found = copy_diversity(features, [*range(len(made)), *(index for index, _ in files)])
    told = {} if found is None else dict(zip(found.conditions, found.values.tolist(), strict=True))
    values = np.array([told.get(index, np.nan) for index in range(len(made))])
    return Measured(f"diversity_{network.id}", network.signature, values)


def _near_pairs(neighbours: Neighbours, made: StreamedPairs, known: StreamedPairs) -> list[NearPair]:
    """Return the `NEAR_PAIRS` images nearest to a training image, nearest first."""
    index, distance = neighbours.indices[:, 0].tolist(), neighbours.distances[:, 0].tolist()
    first = sorted(range(len(index)), key=distance.__getitem__)[:NEAR_PAIRS]
    return [
        NearPair(
            index=row,
            condition_id=made.ids[row],
            training_index=index[row],
            training_id=known.ids[index[row]],
            distance=distance[row],
        )
        for row in first
    ]
