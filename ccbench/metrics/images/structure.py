"""S-measure, E-measure, weighted F-measure and mean absolute error of a map, by PySODMetrics."""

from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ccbench.types import Mask

NOT_INSTALLED = "PySODMetrics is not installed; pip install 'ccbench[segmentation]'"


class StructureScores(NamedTuple):
    """What PySODMetrics says of one map.

    Attributes:
        s_measure: 0..1 (Fan et al., ICCV 2017, alpha 0.5).
        e_measure_256: mean of its curve over 256 thresholds (Fan et al., IJCAI 2018).
        weighted_f: 0..1 (Margolin et al., CVPR 2014, beta 1).
        mae: mean absolute error, 0..1.
    """

    s_measure: float
    e_measure_256: float
    weighted_f: float
    mae: float


def structure_scores(predicted: NDArray[np.floating] | NDArray[np.uint8], wanted: Mask) -> StructureScores | None:
    """Return the scores of a map (H, W), floats in 0..1 or 8 bits, against a mask (H, W); None where not installed.

    Its own treatment of both: the map divided by 255, then stretched to 0..1 (a constant one is left at its level), the
    mask above 128, the thresholds of the E-measure by its histogram.

    An empty mask has S = 1 - mean of the map, E = the mean share of pixels that are not marked, and weighted F = 0
    whatever the map. Differs from it in one thing: a part of S-measure's four-part cut that holds no pixel, as below
    a mask in the last row, counts nothing; there S would be NaN.
    """
    library = _library()
    if library is None:
        return None
    levels = predicted if predicted.dtype == np.uint8 else predicted.astype(np.float64) * 255
    grey = wanted.astype(np.uint8) * np.uint8(255)
    measures = _s_measure(library)(), library.Emeasure(), library.WeightedFmeasure(), library.MAE()
    for measure in measures:
        measure.step(levels, grey)
    s, e, f, mae = (measure.get_results() for measure in measures)
    return StructureScores(float(s["sm"]), float(e["em"]["curve"].mean()), float(f["wfm"]), float(mae["mae"]))


@cache
def _library() -> ModuleType | None:
    try:
        import py_sod_metrics
    except ImportError:
        return None
    found: ModuleType = py_sod_metrics
    return found


@cache
def _s_measure(library: ModuleType) -> type[Any]:
    class NonEmptyParts(library.Smeasure):  # type: ignore[misc, name-defined]
        def ssim(self, pred: NDArray[np.float64], gt: Mask) -> float:
            return float(super().ssim(pred, gt)) if pred.size else 0.0

    return NonEmptyParts
