"""How far each image keeps to its condition, seen while the images pass: its mask, its seam, its prompt."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ccbench.base.images import crop_polyp
from ccbench.data.attributes.measured_attributes import measure_attributes
from ccbench.data.captions.stated_attributes import (
    FROM_TEXT,
    FROM_TEXT_MUCOSA,
    FROM_TEXT_POLYP,
    measurable,
    read_attributes,
)
from ccbench.features import TextImageEncoder
from ccbench.features.feature_cache import FeatureCache
from ccbench.features.image_pass import encode_set
from ccbench.metrics.images.clip import clip_score
from ccbench.metrics.images.mask_overlap import MaskScores, compare_masks
from ccbench.metrics.images.seam import SeamScores, seam
from ccbench.metrics.images.text_fidelity import text_fidelity
from ccbench.scoring.conditions import StreamedPairs
from ccbench.types import Image, Mask, SilentProgress

Values = NDArray[np.float64]
Features = NDArray[np.float32]

MASK_METRICS: Mapping[str, Callable[[MaskScores], float]] = {
    "mask_dice": lambda scores: scores.dice,
    "mask_iou": lambda scores: scores.iou,
    "mask_hd95": lambda scores: scores.hd95,
    "mask_area_error": lambda scores: abs(scores.area_error),
    "polyp_missing": lambda scores: scores.missing,
    "polyp_hallucinated": lambda scores: float(scores.hallucinated),
}
SEAM_METRICS = tuple(f"seam_{name}" for name in SeamScores._fields)
TEXT_METRICS: Mapping[str, tuple[str, ...]] = {
    "text_fidelity": FROM_TEXT,
    "text_fidelity_polyp": FROM_TEXT_POLYP,
    "text_fidelity_mucosa": FROM_TEXT_MUCOSA,
}
WHOLE_FRAMES = {"mini-clip": "mini-clip has learnt whole frames: on crops it hardly tells the right prompt from others"}
"""Text encoders to which a crop says nothing, and why no score comes from it."""

_MARGIN = 0.5  # of the polyps' box, on either side of it: the best of those tried (docs/metrics.md)
_ITSELF = "a real image compared with itself: 0 by definition"


class Segmenter(Protocol):
    """The reference segmenter of mask fidelity.

    Attributes:
        signature: says which.
        weights: first hex digits of their sha256.
        dice: its mean on real validation images.
    """

    signature: str
    weights: str
    dice: float

    def segment(self, images: Sequence[Image]) -> list[Mask]:
        """Return the mask (H, W) of each image (H, W, 3)."""
        ...


class Seen(NamedTuple):
    """What one image shows; None where it cannot be measured, as of an image of the wrong size.

    Attributes:
        mask: the reference segmenter's mask beside the wanted one, None without a reference segmenter.
        words: measured attributes by name.
        crop: (D,) features of the square around the polyps.
    """

    mask: MaskScores | None = None
    seam: SeamScores | None = None
    words: Mapping[str, str] = {}
    crop: Features | None = None


class Measured(NamedTuple):
    """One metric of each image of a set.

    Attributes:
        signature: what measured it.
        values: (N,), NaN where an image has none; empty with `reason` where none has.
    """

    metric: str
    signature: str
    values: Values
    reason: str | None = None


class Meter:
    """Looks at each image of a set: give it to the pipeline as `visit`; `seen` then holds what each shows.

    Args:
        pairs: the conditions, loaded before the images pass.
        segmenter: the reference segmenter, or the reason why there is none.
        clip: encodes the squares around the polyps, through `cache`.
    """

    def __init__(
        self, pairs: StreamedPairs, segmenter: Segmenter | str, clip: TextImageEncoder, cache: FeatureCache | None
    ) -> None:
        self._pairs, self._segmenter, self._clip, self._cache = pairs, segmenter, clip, cache
        self.seen: list[Seen] = []

    def __call__(self, start: int, images: Sequence[Image]) -> None:
        """Look at the images numbered from `start`."""
        wanted = [self._pairs.mask(start + place) for place in range(len(images))]
        masks = [None] * len(images) if isinstance(self._segmenter, str) else self._segmenter.segment(images)
        for image, mask, found, crop in zip(images, wanted, masks, self._crops(images, wanted), strict=True):
            self.seen.append(_look(image, mask, found, crop))

    def _crops(self, images: Sequence[Image], masks: Sequence[Mask]) -> list[Features | None]:
        crops = {
            place: crop_polyp(image, mask, _MARGIN)
            for place, (image, mask) in enumerate(zip(images, masks, strict=True))
            if image.shape[:2] == mask.shape and mask.any() and self._clip.id not in WHOLE_FRAMES
        }
        if not crops:
            return [None] * len(images)
        shown, clip = list(crops.values()), self._clip
        encoded = encode_set(shown.__getitem__, len(shown), [clip], "crops", SilentProgress(), cache=self._cache)
        rows = dict(zip(crops, encoded.features[clip.id], strict=True))
        return [rows.get(place) for place in range(len(images))]


def _look(image: Image, wanted: Mask, found: Mask | None, crop: Features | None) -> Seen:
    if image.shape[:2] != wanted.shape:
        return Seen()
    words = measure_attributes(image, wanted).words() if wanted.any() else {}
    return Seen(compare_masks(found, wanted) if found is not None else None, seam(image, wanted), words, crop)


def measure_fidelity(
    seen: Sequence[Seen],
    real: Sequence[Seen],
    prompts: Sequence[str],
    texts: Features,
    clip: TextImageEncoder,
    segmenter: Segmenter | str,
) -> list[Measured]:
    """Return the metrics of images against their conditions, all sequences in one order.

    Args:
        real: what the real image of each condition shows; if it is `seen` itself, no seam is told against it.
        texts: (N, D) features by `clip` of what the prompts say of the polyp.
    """
    polyps = _polyp_clip_score(seen, texts, clip)
    return [*_mask_fidelity(seen, segmenter), *_seam_excess(seen, real), *_text_fidelity(seen, prompts), polyps]


def _mask_fidelity(seen: Sequence[Seen], segmenter: Segmenter | str) -> list[Measured]:
    if isinstance(segmenter, str):
        return [Measured(metric, "judge:none", np.empty(0), segmenter) for metric in MASK_METRICS]
    return [
        Measured(metric, segmenter.signature, _column(read(one.mask) if one.mask else None for one in seen))
        for metric, read in MASK_METRICS.items()
    ]


def _seam_excess(seen: Sequence[Seen], real: Sequence[Seen]) -> list[Measured]:
    if seen is real:
        return [Measured(metric, "seam:lab", np.empty(0), _ITSELF) for metric in SEAM_METRICS]
    both = [(one.seam, other.seam) for one, other in zip(seen, real, strict=True)]
    return [
        Measured(metric, "seam:lab", _column(a[place] - b[place] if a and b else None for a, b in both))
        for place, metric in enumerate(SEAM_METRICS)
    ]


def _text_fidelity(seen: Sequence[Seen], prompts: Sequence[str]) -> list[Measured]:
    stated, shown = [measurable(read_attributes(prompt)) for prompt in prompts], [one.words for one in seen]
    found = []
    for metric, names in TEXT_METRICS.items():
        told = text_fidelity(shown, stated, names)
        values = np.full(len(seen), np.nan)
        if told is not None and told.value is not None:
            values[told.images] = told.values
        reason = None if np.isfinite(values).any() else "no prompt states an attribute that can be measured"
        found.append(Measured(metric, "attributes:measured", values, reason))
    return found


def _polyp_clip_score(seen: Sequence[Seen], texts: Features, clip: TextImageEncoder) -> Measured:
    if clip.id in WHOLE_FRAMES:
        return Measured("clip_score_polyp", clip.signature, np.empty(0), WHOLE_FRAMES[clip.id])
    values = np.full(len(seen), np.nan)
    crops = {number: one.crop for number, one in enumerate(seen) if one.crop is not None}
    if crops:
        values[list(crops)] = clip_score(np.stack(list(crops.values())), texts[list(crops)])
    return Measured("clip_score_polyp", clip.signature, values)


def _column(values: Iterable[float | None]) -> Values:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
