"""How far each image keeps to its condition, seen while the images pass: its mask, its seam, its prompt."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ccbench.data.attributes import measure_attributes
from ccbench.data.reading import FROM_TEXT, FROM_TEXT_POLYP, measurable, read_attributes
from ccbench.metrics.seam import SeamScores, seam
from ccbench.metrics.segmentation import MaskScores, compare_masks
from ccbench.metrics.text_fidelity import text_fidelity
from ccbench.scoring.pairs import StreamedPairs
from ccbench.types import Image, Mask

Values = NDArray[np.float64]

MASK_METRICS: Mapping[str, Callable[[MaskScores], float]] = {
    "mask_dice": lambda scores: scores.dice,
    "mask_iou": lambda scores: scores.iou,
    "mask_hd95": lambda scores: scores.hd95,
    "mask_area_error": lambda scores: abs(scores.area_error),
    "polyp_missing": lambda scores: scores.missing,
    "polyp_hallucinated": lambda scores: float(scores.hallucinated),
}
SEAM_METRICS = tuple(f"seam_{name}" for name in SeamScores._fields)
TEXT_METRICS: Mapping[str, tuple[str, ...]] = {"text_fidelity": FROM_TEXT, "text_fidelity_polyp": FROM_TEXT_POLYP}
_ITSELF = "a real image compared with itself: 0 by definition"


class Segmenter(Protocol):
    """The judge of mask fidelity; `signature` says which."""

    signature: str

    def segment(self, images: Sequence[Image]) -> list[Mask]:
        """Return the mask (H, W) of each image (H, W, 3)."""
        ...

    def notes(self) -> dict[str, str | float]:
        """Return facts about it for the scorecard."""
        ...


class Seen(NamedTuple):
    """What one image shows; None where it cannot be measured, as of an image of the wrong size.

    Attributes:
        mask: the judge's mask beside the wanted one, None without a judge. words: measured attributes by name.
    """

    mask: MaskScores | None = None
    seam: SeamScores | None = None
    words: Mapping[str, str] = {}


class Measured(NamedTuple):
    """One metric of each image of a set.

    Attributes:
        signature: what measured it. values: (N,), NaN where an image has none; empty with `reason` where none has.
    """

    metric: str
    signature: str
    values: Values
    reason: str | None = None


@dataclass(frozen=True, eq=False)
class Meter:
    """Looks at each image of a set: give it to the pipeline as `visit`; `seen` then holds what each shows.

    Attributes:
        pairs: the conditions, loaded before the images pass. judge: the segmenter, or the reason why there is none.
    """

    pairs: StreamedPairs
    judge: Segmenter | str
    seen: list[Seen]

    def __call__(self, start: int, images: Sequence[Image]) -> None:
        """Look at the images numbered from `start`."""
        masks = [None] * len(images) if isinstance(self.judge, str) else self.judge.segment(images)
        for number, (image, found) in enumerate(zip(images, masks, strict=True), start):
            self.seen.append(_look(image, self.pairs.mask(number), found))


def _look(image: Image, wanted: Mask, found: Mask | None) -> Seen:
    if image.shape[:2] != wanted.shape:
        return Seen()
    words = measure_attributes(image, wanted).words() if wanted.any() else {}
    return Seen(compare_masks(found, wanted) if found is not None else None, seam(image, wanted), words)


def measure_fidelity(
    seen: Sequence[Seen], real: Sequence[Seen], prompts: Sequence[str], judge: Segmenter | str
) -> list[Measured]:
    """Return the metrics of images against their conditions, all sequences in one order.

    Args:
        real: what the real image of each condition shows; if it is `seen` itself, no seam is told against it.
    """
    return [*_mask_fidelity(seen, judge), *_seam_excess(seen, real), *_text_fidelity(seen, prompts)]


def _mask_fidelity(seen: Sequence[Seen], judge: Segmenter | str) -> list[Measured]:
    if isinstance(judge, str):
        return [Measured(metric, "judge:none", np.empty(0), judge) for metric in MASK_METRICS]
    return [
        Measured(metric, judge.signature, _column(read(one.mask) if one.mask else None for one in seen))
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
            values[told.images] = told.gains / (1 - told.swapped)  # whose mean is the score
        reason = None if np.isfinite(values).any() else "no prompt states an attribute that can be measured"
        found.append(Measured(metric, "attributes:measured", values, reason))
    return found


def _column(values: Iterable[float | None]) -> Values:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
