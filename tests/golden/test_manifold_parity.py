"""Precision, recall, density and coverage against the formulae of the package `prdc` 0.2 (Naeem et al. 2020).

Origin of the expected values: prdc.compute_prdc written out naively below on full distance matrices, k-th neighbour
as the (k + 1)-th smallest of a row that holds the image itself, strict inequalities. Tolerance: none, they are counts.
"""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from ccbench.metrics.sets.manifold import manifold_scores


def prdc(real: np.ndarray, fake: np.ndarray, k: int) -> tuple[float, float, float, float]:
    real_reach = np.sort(cdist(real, real), axis=1)[:, k]
    fake_reach = np.sort(cdist(fake, fake), axis=1)[:, k]
    distances = cdist(real, fake)
    precision = (distances < real_reach[:, None]).any(axis=0).mean()
    recall = (distances < fake_reach[None, :]).any(axis=1).mean()
    density = (distances < real_reach[:, None]).sum(axis=0).mean() / k
    coverage = (distances.min(axis=1) < real_reach).mean()
    return precision, recall, density, coverage


@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize(("n", "m", "block"), [(37, 61, 10), (61, 37, 512), (6, 101, 1)])
def test_prdc(n: int, m: int, block: int, k: int) -> None:
    rng = np.random.default_rng(n * m)
    fake, real = rng.normal(0.4, 1.2, size=(n, 7)) + 50, rng.normal(size=(m, 7)) + 50
    scores = manifold_scores(fake, real, k, block)
    found = tuple(float(part.mean()) for part in (scores.precision, scores.recall, scores.density, scores.coverage))
    assert found == pytest.approx(prdc(real, fake, k), rel=1e-12)
    assert [len(part) for part in scores] == [n, m, n, m]
