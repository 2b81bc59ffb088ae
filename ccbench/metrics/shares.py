"""How much each condition and each reference image moves a metric of one set: what errors and ranks are made from."""

import math
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ccbench.metrics.frechet import delete_one_distances, frechet_value
from ccbench.metrics.frechet_grams import FrechetGrams
from ccbench.metrics.intervals import check_features, cluster_index
from ccbench.metrics.kernel import Kernel, prepare_both
from ccbench.metrics.manifold import RealFamily
from ccbench.metrics.reached import Reached

Array = NDArray[np.float64]
Features = NDArray[np.floating]
Groups = NDArray[np.int64]
Clusters = Sequence[Hashable | None]


class Shares(NamedTuple):
    """A metric's value, and by how much each independent part of the data moved it.

    Attributes:
        conditions: (C,), one a cluster of conditions. reference: (M,); empty where there is none.
    """

    value: float
    conditions: Array
    reference: Array

    @property
    def error(self) -> float:
        """Jackknife standard error of the value: both samples' shares, squared and summed."""
        return math.sqrt(float(self.conditions @ self.conditions + self.reference @ self.reference))

    def less(self, other: "Shares") -> "Shares":
        """Return those of the difference to another set of the same conditions and reference."""
        return Shares(self.value - other.value, self.conditions - other.conditions, self.reference - other.reference)


ShareFunction = Callable[[Features, Features, Groups], Shares]


def average_shares(parts: Sequence[Shares]) -> Shares:
    """Return the shares of the mean of several sets of the same conditions and reference."""
    return Shares(
        float(np.mean([part.value for part in parts])),
        np.mean([part.conditions for part in parts], axis=0),
        np.mean([part.reference for part in parts], axis=0),
    )


def mean_shares(values: Features, clusters: Clusters | None = None) -> Shares:
    """Return the shares of the mean of `values` (n,)."""
    group = cluster_index(len(values), clusters)
    sums, mean = np.bincount(group, weights=values - np.mean(values)), float(np.mean(values))
    count = len(sums)
    return Shares(mean, sums / len(values) * math.sqrt(count / max(1, count - 1)), np.empty(0))


def frechet_shares(features: Features, reference: Features, group: Groups) -> Shares:
    """Return the shares of the Frechet distance of features (n, D) to a reference (m, D), by leaving out one by one.

    Args:
        group: (n,) number of each image's cluster, of `cluster_index`.

    Raises:
        ValueError: fewer than three images or clusters, other widths, or features that are not finite.
    """
    count = _check_counts(group, reference)
    without, of_reference = delete_one_distances(features, reference)
    if count < len(group):
        grams = FrechetGrams.of(features, reference)
        without = np.concatenate([grams.distances(np.flatnonzero(group != k)[None, :]) for k in range(count)])
    return Shares(frechet_value(features, reference), _influence(without), _influence(of_reference))


def kernel_shares(features: Features, reference: Features, group: Groups, kernel: Kernel) -> Shares:
    """Return the shares of the unbiased kernel distance of features (n, D) to a reference (m, D); as `frechet_shares`.

    The reference's part with itself is left out of all values: it cancels in differences.
    """
    count = _check_counts(group, reference)
    x, y = prepare_both(features, reference, kernel)
    n, m = len(x), len(y)
    within, across = kernel.across(x, x), kernel.across(x, y)
    np.fill_diagonal(within, 0.0)
    kept = (group[:, None] != np.arange(count)).astype(float)  # (n, C)
    left = kept.sum(axis=0)
    pairs = np.sum(kept * (within @ kept), axis=0) / (left * (left - 1))
    without = pairs - 2 * (across.sum(axis=1) @ kept) / (left * m)
    own, columns = within.sum() / (n * (n - 1)), across.sum(axis=0)
    of_reference = own - 2 * (columns.sum() - columns) / (n * (m - 1))
    value = kernel.scale * float(own - 2 * columns.sum() / (n * m))
    return Shares(value, kernel.scale * _influence(without), kernel.scale * _influence(of_reference))


def reached_shares(features: Features, reference: Features, group: Groups, family: RealFamily) -> Shares:
    """Return the shares of recall or coverage of features (n, D) and a reference (m, D); as `frechet_shares`."""
    _check_counts(group, reference)
    reached = Reached(features, reference, family)
    value = float(reached.parts(np.arange(len(features))).mean())
    return Shares(value, _influence(reached.without_groups(group)), _influence(reached.without_reals()))


def _check_counts(group: Groups, reference: Features) -> int:
    count = int(group.max(initial=-1)) + 1
    if min(count, len(check_features(reference, "reference"))) < 3:
        raise ValueError(f"{count} independent conditions and {len(reference)} references, at least 3 are needed")
    return count


def _influence(without: Array) -> Array:
    """Return the parts whose squares sum to the jackknife variance (Efron and Stein 1981)."""
    return np.asarray((without.mean() - without) * math.sqrt((len(without) - 1) / len(without)))
