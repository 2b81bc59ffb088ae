"""Scores of the images of one synthesis under a protocol."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from ccbench.data.reading import split_clauses
from ccbench.errors import DataError
from ccbench.features import Encoder, TextImageEncoder, open_encoder, open_text_encoder
from ccbench.features.cache import FeatureCache
from ccbench.features.pipeline import EncodedSet, encode_files, encode_set, encode_texts
from ccbench.metrics.diversity import copy_diversity
from ccbench.metrics.memorisation import Neighbours
from ccbench.scorecard import NearPair, Scorecard, SourceScores, per_sample_table
from ccbench.scoring.fidelity import Measured, Meter, Segmenter
from ccbench.scoring.pairs import StreamedPairs
from ccbench.scoring.panel import ImageSet, Panel
from ccbench.scoring.parts import count_failures
from ccbench.types import Image, PairSequence, Progress, SilentProgress

NEAR_PAIRS = 12  # shown to people


def score_synthesis(
    images: Sequence[Path],
    test: PairSequence,
    reference: PairSequence,
    reference_id: str,
    *,
    set_encoder: str,
    text_encoder: str,
    judge: Segmenter | str,
    copies: Mapping[int, Sequence[Path]] = MappingProxyType({}),
    controls: Mapping[str, Callable[[Image], Image]] = MappingProxyType({}),
    device: str = "cpu",
    cache: FeatureCache | None = None,
    progress: Progress = SilentProgress(),
) -> Scorecard:
    """Score the images of one synthesis; every file is decoded once, and the real test images once more per control.

    The control "real-split" scores the real images of `test` in the same way: the floor of the set distances at equal
    n, and the ceiling of what is measured against the conditions.

    Args:
        images: files; images[i] was made from the condition of test[i].
        reference: the real images that the set distances are taken to, of which a generator may know. reference_id:
            their name in the signatures, such as `phantom-128-train@0123456789ab`.
        judge: the segmenter that mask fidelity is told by, or why there is none.
        copies: index of a condition -> further images of it, on which diversity is measured.
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
    reader = _Reader(test, StreamedPairs(test), network, clip, judge, cache, progress)
    real, pairs = reader.real(), reader.pairs
    made = reader.made(images, copies)
    known = StreamedPairs(reference)
    target = reader.stream(known, "reference")
    of_polyps = [split_clauses(prompt).foreground for prompt in pairs.prompts]
    texts, polyp_texts = (encode_texts(clip, lines, cache=cache) for lines in (pairs.prompts, of_polyps))
    panel = Panel(network, clip, target, target, reference_id, real, texts, polyp_texts, pairs, judge)
    found = panel.score(made)
    near = found.memorised
    others = {name: reader.changed(name, change) for name, change in controls.items()}
    return Scorecard(
        scores=found.scores,
        controls=panel.score_controls(others),
        per_sample=per_sample_table(pairs.ids, found.values),
        failures=count_failures(made.encoded, real.encoded.sizes),
        notes={
            "prompts_truncated_share": clip.count_truncated(pairs.prompts) / len(pairs.prompts),
            "memorisation": f"not told: {near}" if isinstance(near, str) else near.verdict,
            **{f"path of {one.id}": f"{one.path}, feature error {one.path_error:.0e}" for one in (network, clip)},
            **({} if isinstance(judge, str) else judge.notes()),
        },
        near_pairs=[] if isinstance(near, str) else _near_pairs(near.neighbours, pairs, known),
        by_source={
            source: SourceScores(
                part.score(made.rows(rows)).scores,
                part.score_controls({name: control.rows(rows) for name, control in others.items()}),
            )
            for source, rows in pairs.rows_by_source().items()
            for part in [panel.part(source, rows, known.rows_by_source().get(source, []))]
        },
    )


@dataclass(frozen=True, eq=False)
class _Reader:
    """Reads sets of images, each once: features by both encoders, and what the images show of their conditions."""

    test: PairSequence
    pairs: StreamedPairs
    network: Encoder
    clip: TextImageEncoder
    judge: Segmenter | str
    cache: FeatureCache | None
    progress: Progress

    def real(self) -> ImageSet:
        """Read the real test images; first of all, for their conditions are kept on the way."""
        meter = self._meter()
        return ImageSet(self.stream(self.pairs, "real test", meter), meter.seen)

    def made(self, images: Sequence[Path], copies: Mapping[int, Sequence[Path]]) -> ImageSet:
        """Read the synthetic images, and the further ones of some conditions."""
        meter = self._meter()
        name = "encoding synthetic images"
        encoded = encode_files(images, self._encoders, name, self.progress, cache=self.cache, visit=meter)
        diversity = _measure_diversity(copies, encoded, self.network, self.progress, self.cache) if copies else None
        return ImageSet(encoded, meter.seen, diversity)

    def changed(self, name: str, change: Callable[[Image], Image]) -> ImageSet:
        """Read the real test images after a change."""

        def load(number: int) -> Image:
            return change(self.test[number].image)

        meter, count = self._meter(), len(self.test)
        text = f"encoding {name}"
        encoded = encode_set(load, count, self._encoders, text, self.progress, cache=self.cache, visit=meter)
        return ImageSet(encoded, meter.seen)

    def stream(self, pairs: StreamedPairs, name: str, visit: Meter | None = None) -> EncodedSet:
        """Read the images of pairs."""
        # One worker: the pairs' short parts are kept in the order of the calls.
        text, progress, cache = f"encoding {name} images", self.progress, self.cache
        return encode_set(pairs.load, len(pairs), self._encoders, text, progress, cache=cache, workers=1, visit=visit)

    @property
    def _encoders(self) -> list[Encoder]:
        return [self.network, self.clip]

    def _meter(self) -> Meter:
        return Meter(self.pairs, self.judge, self.clip, self.cache)


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
    return [NearPair(row, made.ids[row], index[row], known.ids[index[row]], distance[row]) for row in first]
