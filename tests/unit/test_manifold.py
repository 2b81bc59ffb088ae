"""Precision, recall, density and coverage: a line of points by hand, limits and refusals."""

import numpy as np
import pytest

from ccbench.metrics.sets.manifold import manifold_scores


def test_points_on_a_line_by_hand() -> None:
    # k = 1. Real 0, 2, 3, 10 reach 2, 1, 1, 7. Synthetic 1, 4.5, 30 reach 3.5, 3.5, 25.5.
    real, synthetic = np.array([[0.0], [2], [3], [10]]), np.array([[1.0], [4.5], [30]])
    scores = manifold_scores(synthetic, real, k=1)
    assert scores.precision.tolist() == [1, 1, 0]  # 1 is within 2 of 0; 4.5 within 7 of 10; 30 is far from all
    assert scores.density.tolist() == [1, 1, 0]  # 1 is at 1 of real 2: on the edge, and a ball is open
    assert scores.coverage.tolist() == [1, 0, 0, 1]
    assert scores.recall.tolist() == [1, 1, 1, 1]  # 10 is within 25.5 of 30


def test_identical_and_far_sets() -> None:
    x = np.random.default_rng(0).normal(size=(40, 9))
    same = manifold_scores(x, x[::-1])
    assert [part.mean() for part in (same.precision, same.recall, same.coverage)] == [1, 1, 1]
    assert not any(part.any() for part in manifold_scores(x + 100, x))


def test_one_image_many_times_has_no_recall() -> None:
    x = np.random.default_rng(1).normal(size=(40, 9))
    collapsed = manifold_scores(np.repeat(x[:1], 20, axis=0), x)
    assert collapsed.precision.mean() == 1 and collapsed.recall.mean() == 0 and collapsed.coverage.mean() < 0.5


def test_refusals() -> None:
    x = np.random.default_rng(2).normal(size=(6, 3))
    with pytest.raises(ValueError, match="synthetic set: 5 images, more than k = 5"):
        manifold_scores(x[:5], x)
    with pytest.raises(ValueError, match="real set: 5 images, more than k = 5"):
        manifold_scores(x, x[:5])
    with pytest.raises(ValueError, match="one encoder"):
        manifold_scores(x, x[:, :2])
    with pytest.raises(ValueError, match="at least 1 neighbour"):
        manifold_scores(x, x, k=0)
