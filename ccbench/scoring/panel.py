"""What the image sets of one synthesis are scored against: the method's, the real test images, the controls'."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ccbench.features import Encoder, TextImageEncoder
from ccbench.features.image_pass import EncodedSet
from ccbench.metrics import sign
from ccbench.metrics.sets.memorisation import Memorisation, memorisation
from ccbench.metrics.sets.set_scores import PairScores, no_pair_scores
from ccbench.scoring.conditions import StreamedPairs
from ccbench.scoring.encoder_scores import REAL_SPLIT, Partners, digest, mean_score, pair, set_distances
from ccbench.scoring.fidelity import Measured, Seen, Segmenter, measure_fidelity
from ccbench.types import Score

_ITSELF = "a real image compared with itself: 100 by definition"
_SAME = 1e-5  # cosine distance of features: a phantom rendered on another processor differs in last bits, by 1e-8


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images of the test conditions, in their order: features, and what each image shows of its condition.

    Attributes:
        diversity: of the images of each condition, None where each has one.
    """

    encoded: EncodedSet
    seen: Sequence[Seen]
    diversity: Measured | None = None

    def rows(self, numbers: Sequence[int]) -> "ImageSet":
        """Return the set of some of the images."""
        diversity = self.diversity and self.diversity._replace(values=self.diversity.values[list(numbers)])
        return ImageSet(self.encoded.rows(numbers), [self.seen[number] for number in numbers], diversity)


class PanelScores(NamedTuple):
    """What a panel says of one image set.

    Attributes:
        values: metric of single images -> its value for each; empty where it has none.
        memorised: how near the images lie to training images, or why that cannot be told.
    """

    scores: list[Score]
    values: dict[str, Sequence[float]]
    memorised: Memorisation | str


@dataclass(frozen=True, eq=False)
class Panel:
    """What every set of images of one synthesis is scored against; all in the order of the test pairs.

    Attributes:
        target: reference images of the set distances, called `reference_id`, and their clusters.
        training: all that a method has seen.
        real: the real test images.
        texts: (N, D) features of the prompts.
        polyp_texts: of what they say of the polyp.
    """

    network: Encoder
    clip: TextImageEncoder
    target: EncodedSet
    target_clusters: Sequence[str | None]
    training: EncodedSet
    reference_id: str
    real: ImageSet
    texts: NDArray[np.float32]
    polyp_texts: NDArray[np.float32]
    pairs: StreamedPairs
    segmenter: Segmenter | str

    def part(self, source: str, rows: Sequence[int], target_rows: Sequence[int]) -> "Panel":
        """Return the panel of one data set's test and reference images."""
        target, name = self.target.rows(target_rows), f"{self.reference_id}/{source}"
        texts, polyp_texts = self.texts[list(rows)], self.polyp_texts[list(rows)]
        return replace(
            self,
            target=target,
            target_clusters=[self.target_clusters[row] for row in target_rows],
            reference_id=name,
            real=self.real.rows(rows),
            texts=texts,
            polyp_texts=polyp_texts,
            pairs=self.pairs.rows(rows),
        )

    def score(self, images: ImageSet) -> PanelScores:
        """Return the set distances, CLIP-score and CLIP-image, memorisation, and the means of what was measured."""
        clusters, ref = self.pairs.clusters, f"conditions@{self._name()}"
        pairs, measured = self._pairs(images.encoded), self._measured(images)
        distances = set_distances(
            images.encoded,
            self.target,
            self.network,
            self.clip,
            self.reference_id,
            clusters=clusters,
            target_clusters=self.target_clusters,
        )
        memorised = self._memorisation(images.encoded)
        return PanelScores(
            scores=[
                *distances,
                *(one.score for one in pairs),
                *self._memorised(memorised, len(images.encoded)),
                *(mean_score(one, ref, clusters) for one in measured),
            ],
            values={
                **{one.score.metric: one.values for one in pairs},
                **{one.metric: one.values.tolist() for one in measured},
            },
            memorised=memorised,
        )

    def score_controls(self, others: Mapping[str, ImageSet]) -> dict[str, list[Score]]:
        """Return the scores of the real test images, and of each set of changed ones."""
        return {name: self.score(images).scores for name, images in {REAL_SPLIT: self.real, **others}.items()}

    def _pairs(self, encoded: EncodedSet) -> tuple[PairScores, PairScores]:
        """Return CLIP-score and CLIP-image; none of the real images themselves."""
        # Named by id: a phantom's pixels may differ in the last bit between processors, and the pairs are the same.
        clusters = self.pairs.clusters
        reals = Partners(self.real.encoded.features[self.clip.id], f"partners@{self._name()}")
        text = pair("clip_score", encoded, self.clip, self._prompts(), clusters)
        if self._is_real(encoded):
            return text, no_pair_scores("clip_image", self.clip.signature, _ITSELF, len(encoded))
        return text, pair("clip_image", encoded, self.clip, reals, clusters)

    def _measured(self, images: ImageSet) -> list[Measured]:
        real = images.seen if self._is_real(images.encoded) else self.real.seen
        found = measure_fidelity(images.seen, real, self.pairs.prompts, self.polyp_texts, self.clip, self.segmenter)
        return [*found, *([images.diversity] if images.diversity else [])]

    def _is_real(self, encoded: EncodedSet) -> bool:
        """Return whether these are the real test images, perhaps as another processor has rendered them."""
        real = self.real.encoded
        if encoded.digests == real.digests:
            return True
        if len(encoded) != len(real):
            return False
        cosines = (_cosines(encoded.features[name], found) for name, found in real.features.items())
        return all(bool((cosine > 1 - _SAME).all()) for cosine in cosines)

    def _memorisation(self, encoded: EncodedSet) -> Memorisation | str:
        """Return how near images lie to training images, beside the real test images, which no method has seen.

        By the text encoder, which tells altered copies best (docs/metrics.md). A reason where it cannot be told.
        """
        name = self.clip.id
        try:
            return memorisation(encoded.features[name], self.training.features[name], self.real.encoded.features[name])
        except ValueError as error:
            return str(error)

    def _memorised(self, found: Memorisation | str, n: int) -> list[Score]:
        known, ref = len(self.training), f"{self.reference_id}+{self._name()}"
        scores = []
        for metric in ("memorised_near", "memorised_alone"):
            signed = sign(metric, self.clip.signature, f"{n}x{known}", ref=ref)
            if isinstance(found, str):
                scores.append(Score(metric, signed, None, n, known, reason=found))
            else:
                value = getattr(found, metric.removeprefix("memorised_"))
                scores.append(
                    Score(metric, signed, value, n, known, no_interval="read it with the verdict in the notes")
                )
        return scores

    def _prompts(self) -> Partners:
        return Partners(self.texts, f"prompts@{digest(sorted(self.pairs.prompts))}")

    def _name(self) -> str:
        return digest([self.reference_id, *self.pairs.ids])


def _cosines(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the cosine of each pair of rows (N, D); 0 where one is all zeros."""
    a, b = (features.astype(np.float64) for features in (first, second))
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines: NDArray[np.float64] = np.divide((a * b).sum(axis=1), norms, out=np.zeros(len(a)), where=norms > 0)
    return cosines
