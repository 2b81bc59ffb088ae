"""How far each image keeps to its condition, measured while the images pass: its mask, its seam, its prompt."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ccbench.metrics.seam import SeamScores, seam
from ccbench.metrics.segmentation import MaskScores, compare_masks
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
SEAM_SIGNATURE = "seam:lab-gradient"


class Segmenter(Protocol):
    """The judge of mask fidelity; `signature` says which."""

    signature: str

    def segment(self, images: Sequence[Image]) -> list[Mask]:
        """Return the mask (H, W) of each image (H, W, 3)."""
        ...

    def notes(self) -> dict[str, str | float]:
        """Return facts about it for the scorecard."""
        ...


@dataclass(frozen=True, eq=False)
class Measured:
    """One metric of each image of a set.

    Attributes:
        signature: what measured it. values: (N,), NaN where an image has none; empty with `reason` where none has.
    """

    metric: str
    signature: str
    values: Values
    reason: str | None = None

    def rows(self, numbers: Sequence[int]) -> "Measured":
        """Return it of some of the images."""
        return replace(self, values=self.values[list(numbers)] if len(self.values) else self.values)


class Meter:
    """Measures each image of a set against its condition: give it to the pipeline as `visit`.

    Args:
        pairs: the conditions, loaded before the images pass. judge: the segmenter, or the reason why there is none.
    """

    def __init__(self, pairs: StreamedPairs, judge: Segmenter | str) -> None:
        self._pairs, self._judge = pairs, judge
        self._masks: list[MaskScores | None] = []
        self._seams: list[SeamScores | None] = []

    def __call__(self, start: int, images: Sequence[Image]) -> None:
        """Measure the images numbered from `start`."""
        wanted = [self._pairs.mask(start + place) for place in range(len(images))]
        # An image of the wrong size has no values; it is counted as a failure.
        fits = [image.shape[:2] == mask.shape for image, mask in zip(images, wanted, strict=True)]
        self._seams += [seam(*pair[:2]) if pair[2] else None for pair in zip(images, wanted, fits, strict=True)]
        if not isinstance(self._judge, str):
            seen = self._judge.segment(images)
            self._masks += [
                compare_masks(*pair[:2]) if pair[2] else None for pair in zip(seen, wanted, fits, strict=True)
            ]

    def measured(self, real: "Meter") -> list[Measured]:
        """Return what was measured; the seams' excess over those of the real images."""
        return [*self._mask_fidelity(), *self._seam_excess(real)]

    def _mask_fidelity(self) -> list[Measured]:
        judge = self._judge
        if isinstance(judge, str):
            return [Measured(name, "judge:none", np.empty(0), judge) for name in MASK_METRICS]
        return [
            Measured(name, judge.signature, _column(read(scores) if scores else None for scores in self._masks))
            for name, read in MASK_METRICS.items()
        ]

    def _seam_excess(self, real: "Meter") -> list[Measured]:
        both = list(zip(self._seams, real._seams, strict=True))
        return [
            Measured(name, SEAM_SIGNATURE, _column(a[place] - b[place] if a and b else None for a, b in both))
            for place, name in enumerate(SEAM_METRICS)
        ]


def _column(values: Iterable[float | None]) -> Values:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
