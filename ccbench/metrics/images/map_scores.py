"""From the scores of single maps to `Score` entries of a set: means with intervals, signatures and reasons."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ccbench.metrics import sign
from ccbench.metrics.images.maps import MapScores
from ccbench.metrics.images.structure import NOT_INSTALLED, StructureScores
from ccbench.metrics.sets.set_scores import mean_entry
from ccbench.metrics.statistics.influence import Clusters, ratio_shares
from ccbench.types import Score

_STRETCHED = "map:stretched|thresholds:256|png:{png}"
_AT_HALF = "map:as-given|thresholds:0.5"
_WHOLE = "map:stretched|by:pysodmetrics|png:{png}"
_POOLED = "dice_pooled"

MAP_METRICS: Mapping[str, str] = {
    "mDice_256": _STRETCHED,
    "mIoU_256": _STRETCHED,
    "mDice_0.5": _AT_HALF,
    "mIoU_0.5": _AT_HALF,
    _POOLED: _AT_HALF,
    "hd95": _AT_HALF,
    "s_measure": _WHOLE,
    "e_measure_256": f"{_WHOLE}|thresholds:256",
    "weighted_f": _WHOLE,
    "mae": _WHOLE,
}
"""The metrics of a segmenter in their order, and the convention that stands in each one's signature."""

_OF_MAP: Mapping[str, Callable[[MapScores], float]] = {
    "mDice_256": lambda row: row.dice_256,
    "mIoU_256": lambda row: row.iou_256,
    "mDice_0.5": lambda row: row.dice,
    "mIoU_0.5": lambda row: row.iou,
    "hd95": lambda row: row.hd95,
}
_OF_STRUCTURE = StructureScores._fields  # which are named as their metrics


def map_columns(rows: Sequence[MapScores]) -> dict[str, NDArray[np.float64]]:
    """Return the table of the single images, metric -> (N,) values in the rows' order: what paired tests are made on.

    NaN where PySODMetrics is not installed; `dice_pooled` is of whole sets only and not in it.
    """
    columns = {metric: np.array([read(row) for row in rows], dtype=np.float64) for metric, read in _OF_MAP.items()}
    for metric in _OF_STRUCTURE:
        values = [getattr(row.structure, metric) if row.structure else np.nan for row in rows]
        columns[metric] = np.array(values, dtype=np.float64)
    return columns


def map_scores(
    rows: Sequence[MapScores],
    ref: str,
    clusters: Clusters | None = None,
    *,
    png: bool = False,
) -> list[Score]:
    """Return one entry for each of `MAP_METRICS`, in their order, of the scores of N maps.

    All but one are means over the images. `dice_pooled` is 2 sum(shared) / sum(areas) over
    the set, 1 where all masks and maps are empty: large polyps count more.

    Args:
        ref: what the masks are, for the signature, such as `masks@0123456789`.
        clusters: labels of the images, such as videos, for the intervals.
        png: as the rows were made by `score_map`.
    """
    columns = map_columns(rows)
    scores = []
    for metric, convention in MAP_METRICS.items():
        signed = sign(metric, convention.format(png="yes" if png else "no"), str(len(rows)), ref=ref)
        if not rows:
            scores.append(Score(metric, signed, None, 0, reason="there is no map"))
        elif metric == _POOLED:
            scores.append(_pooled(metric, signed, rows, clusters))
        elif np.isnan(columns[metric]).any():
            scores.append(Score(metric, signed, None, len(rows), reason=NOT_INSTALLED))
        else:
            scores.append(mean_entry(metric, signed, columns[metric], None, clusters))
    return scores


def _pooled(metric: str, signature: str, rows: Sequence[MapScores], clusters: Clusters | None) -> Score:
    shared, areas = (
        np.array(part, dtype=np.float64) for part in zip(*((2 * r.shared, r.areas) for r in rows), strict=True)
    )
    if not areas.any():
        return Score(metric, signature, 1.0, len(rows), no_interval="all masks and maps are empty")
    found = ratio_shares(shared, areas, clusters).interval(0.0, 1.0)
    value = float(shared.sum() / areas.sum())
    return Score(metric, signature, value, len(rows), interval=found.interval, no_interval=found.reason)
