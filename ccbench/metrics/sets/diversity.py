"""Diversity over copies: how much the images of one condition differ from one another."""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ccbench.metrics.statistics.intervals import check_features


class Diversity(NamedTuple):
    """Mean cosine distance between two copies of each condition that has two, (C,), and those conditions' labels."""

    values: NDArray[np.float64]
    conditions: list[Hashable]


def copy_diversity(features: NDArray[np.floating], conditions: Sequence[Hashable]) -> Diversity | None:
    """Return the mean pairwise distance of the copies of each condition; the score is the mean of `values`.

    1 - cosine of any encoder's features, 0..2; 0 = all copies are one image.

    Differs from the diversity by LPIPS (Zhang et al. 2018) of the literature, whose distance compares unpooled feature
    maps with learnt weights and so sees where things are: an encoder's pooled features do not see a shift.

    Args:
        features: (N, D).
        conditions: (N,) the condition of each image.

    Returns:
        None where no condition has two copies.

    Raises:
        ValueError: not one condition an image, or rows that are zero or not finite.
    """
    if len(conditions) != len(features):
        raise ValueError(f"{len(conditions)} conditions for {len(features)} images; wanted one for each")
    groups: dict[Hashable, list[int]] = {}
    for row, condition in enumerate(conditions):
        groups.setdefault(condition, []).append(row)
    copied = {condition: rows for condition, rows in groups.items() if len(rows) > 1}
    if not copied:
        return None
    x = check_features(features, "copies")
    lengths = np.linalg.norm(x, axis=1)
    if not lengths.all():
        raise ValueError("copies: a feature row is zero, so it has no direction")
    x = x / lengths[:, None]
    values = []
    for rows in copied.values():
        # Over all ordered pairs of n unit rows: sum of cosines = |sum of rows|^2 - n.
        n, total = len(rows), x[rows].sum(axis=0)
        values.append(max(1 - (float(total @ total) - n) / (n * (n - 1)), 0.0))
    return Diversity(np.array(values), list(copied))
