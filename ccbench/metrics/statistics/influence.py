"""How much each condition and each reference image moves a metric of one set: what errors and ranks are made from."""

import math
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ccbench.metrics.sets.frechet import frechet_jackknife
from ccbench.metrics.sets.kernel import Kernel, kernel_jackknife
from ccbench.metrics.statistics.intervals import (
    Estimate,
    check_features,
    cluster_index,
    influence_interval,
    jackknife_influence,
)

Array = NDArray[np.float64]
Features = NDArray[np.floating]
Groups = NDArray[np.int64]
Clusters = Sequence[Hashable | None]


class Shares(NamedTuple):
    """A metric's value, and by how much each independent part of the data moved it.

    Attributes:
        conditions: (C,), one a cluster of conditions.
        reference: (R,), one a cluster of real images; empty where there is no reference.
    """

    value: float
    conditions: Array
    reference: Array

    @property
    def error(self) -> float:
        """Jackknife standard error of the value: both samples' shares, squared and summed."""
        return math.sqrt(float(self.conditions @ self.conditions + self.reference @ self.reference))

    def interval(self, lowest: float = -math.inf, highest: float = math.inf) -> Estimate:
        """Return the interval of the value, cut off at `lowest` and `highest`; see `influence_interval`."""
        return influence_interval(self.value, self.conditions, self.reference, lowest=lowest, highest=highest)

    def less(self, other: "Shares") -> "Shares":
        """Return those of the difference to another set of the same conditions and reference."""
        return Shares(self.value - other.value, self.conditions - other.conditions, self.reference - other.reference)


ShareFunction = Callable[[Features, Features, Groups, Groups], Shares]


def average_shares(parts: Sequence[Shares]) -> Shares:
    """Return the shares of the mean of several sets of the same conditions and reference."""
    return Shares(
        float(np.mean([part.value for part in parts])),
        np.mean([part.conditions for part in parts], axis=0),
        np.mean([part.reference for part in parts], axis=0),
    )


def mean_shares(values: Features, clusters: Clusters | None = None) -> Shares:
    """Return the shares of the mean of `values` (n,), such as one for each frame of some videos.

    Args:
        clusters: one label a value, such as a video; None, as a whole or for one value: it stands alone.
    """
    return ratio_shares(values, np.ones(len(values)), clusters)


def ratio_shares(above: Features, below: Features, clusters: Clusters | None = None) -> Shares:
    """Return the shares of sum(above) / sum(below), both (n,).

    Those of a single cluster, or where nothing is below without one of them, are empty: they cannot be told.
    """
    group = cluster_index(len(above), clusters)
    tops, bottoms = (np.bincount(group, weights=np.asarray(part, dtype=np.float64)) for part in (above, below))
    value, left = float(np.sum(above) / np.sum(below)), bottoms.sum() - bottoms
    if len(tops) < 2 or not left.all():
        return Shares(value, np.zeros(min(1, len(tops))), np.empty(0))
    return Shares(value, jackknife_influence((tops.sum() - tops) / left), np.empty(0))


def frechet_shares(features: Features, reference: Features, group: Groups, reference_group: Groups) -> Shares:
    """Return the shares of the Frechet distance of features (n, D) to a reference (m, D), by leaving clusters out.

    Args:
        group, reference_group: (n,) and (m,) number of each image's cluster, of `cluster_index`.

    Raises:
        ValueError: fewer than three images or clusters, other widths, or features that are not finite.
    """
    _check_counts(group, reference_group, reference)
    found = frechet_jackknife(features, reference, group, reference_group)
    return Shares(found.value, jackknife_influence(found.without_1), jackknife_influence(found.without_2))


def kernel_shares(
    features: Features, reference: Features, group: Groups, reference_group: Groups, kernel: Kernel, own: bool = True
) -> Shares:
    """Return the shares of the unbiased kernel distance of two sets; as `frechet_shares`.

    Args:
        own: count the reference's pairs with itself, which cancel in differences.
    """
    _check_counts(group, reference_group, reference)
    found = kernel_jackknife(features, reference, kernel, group, reference_group, own=own)
    return Shares(found.value, jackknife_influence(found.without_1), jackknife_influence(found.without_2))


def _check_counts(group: Groups, reference_group: Groups, reference: Features) -> None:
    check_features(reference, "reference")
    count, references = (int(one.max(initial=-1)) + 1 for one in (group, reference_group))
    if min(count, references) < 3:
        raise ValueError(f"{count} independent conditions and {references} references, at least 3 are needed")
