"""Permutation tests of two samples by their kernel distance."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ccbench.metrics.sets.kernel import BLOCK, Kernel, prepare_both


class PermutationTest(NamedTuple):
    """A kernel distance and the share of relabelled sets at least as far apart: (1 + count) / (1 + permutations)."""

    value: float
    p: float
    permutations: int


def permutation_test(
    features_1: NDArray[np.floating],
    features_2: NDArray[np.floating],
    kernel: Kernel,
    seed: int,
    permutations: int = 1000,
    block: int = BLOCK,
) -> PermutationTest:
    """Test whether features (N1, D) and (N2, D) come from one distribution, by KID (`CUBIC`) or CMMD (`GAUSSIAN`).

    Gretton et al. 2012, section 5: the images' labels are permuted. Exact at any n for independent images; frames of
    one video are not, and make p too small. Every kernel value is computed once for all permutations, in blocks of
    rows, so the (N1 + N2)^2 matrix is never held.

    Raises:
        ValueError: fewer than two images in a set, other widths, features that are not finite, or of length zero
            where the kernel needs directions.
    """
    x, y = prepare_both(features_1, features_2, kernel)
    n1, n2 = len(x), len(y)
    pooled = np.vstack([x, y])
    rng = np.random.default_rng(seed)
    labels = np.zeros((n1 + n2, 1 + permutations))  # 1 = in the first set; column 0 holds the true labels
    labels[:n1, 0] = 1
    for column in range(1, 1 + permutations):
        labels[rng.permutation(n1 + n2)[:n1], column] = 1
    rows, first = np.empty(n1 + n2), np.zeros(1 + permutations)
    for start in range(0, n1 + n2, block):
        part = slice(start, start + block)
        values = kernel.across(pooled[part], pooled)
        values[np.arange(len(values)), start + np.arange(len(values))] = 0.0  # no image is paired with itself
        rows[part] = values.sum(axis=1)
        first += np.sum(labels[part] * (values @ labels), axis=0)
    across = rows @ labels - first
    second = rows.sum() - first - 2 * across
    distances = kernel.scale * (first / (n1 * (n1 - 1)) + second / (n2 * (n2 - 1)) - 2 * across / (n1 * n2))
    # A relabelling that gives the same sets must count as equal whatever the rounding of its sums.
    slack = 1e-9 * float(np.ptp(distances))
    count = int(np.sum(distances[1:] >= distances[0] - slack))
    return PermutationTest(float(distances[0]), (1 + count) / (1 + permutations), permutations)
