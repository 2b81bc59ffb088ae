"""Streamed statistics: by hand, any cut into batches, and the three forms of the Frechet distance on odd sizes."""

import numpy as np
import pytest

from ccbench.metrics.sets.feature_statistics import FeatureStatistics
from ccbench.metrics.sets.frechet import frechet_distance, frechet_from_statistics


def stream(features: np.ndarray, batch: int) -> FeatureStatistics:
    statistics = FeatureStatistics.empty(features.shape[1])
    for start in range(0, len(features), batch):
        statistics = statistics.update(features[start : start + batch])
    return statistics


def test_three_points_by_hand() -> None:
    # Points (0, 0), (2, 0), (1, 3): mean (1, 1), deviations (-1, -1), (1, -1), (0, 2).
    for batch in (1, 2, 3):
        statistics = stream(np.array([[0, 0], [2, 0], [1, 3]], dtype=np.float32), batch)
        assert statistics.n == 3
        np.testing.assert_allclose(statistics.mean, [1, 1], rtol=1e-15)
        np.testing.assert_allclose(statistics.scatter, [[2, 0], [0, 6]], atol=1e-15)


def test_batches_and_merging_change_nothing_far_from_the_origin() -> None:
    x = np.random.default_rng(0).normal(size=(101, 13)) + 1e6  # one-pass sums of squares would lose every digit
    whole = np.cov(x, rowvar=False) * 100
    halves = stream(x[:40], 9).merge(stream(x[40:], 100)), stream(x[60:], 3).merge(stream(x[:60], 60))
    for statistics in (stream(x, 7), *halves):
        np.testing.assert_allclose(statistics.mean, x.mean(axis=0), rtol=1e-14)
        np.testing.assert_allclose(statistics.scatter, whole, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("decay", [0.5, 1.0, 3.0])  # 3: features over eight orders, where scatters lose digits
@pytest.mark.parametrize(("n1", "n2", "width"), [(31, 47, 61), (31, 301, 61), (301, 257, 61), (2, 3, 17), (61, 62, 61)])
def test_all_forms_agree(n1: int, n2: int, width: int, decay: float) -> None:
    rng = np.random.default_rng(n1 * n2)
    mix, _ = np.linalg.qr(rng.normal(size=(width, width)))
    x, y = (
        (np.maximum(rng.normal(size=(n, width)), 0) * np.arange(1.0, width + 1) ** -decay + 0.01) @ mix * scale
        for n, scale in ((n1, 1.0), (n2, 1.1))
    )
    y[: n2 // 2] = y[n2 - n2 // 2 :]  # duplicates: fewer dimensions than images
    expected = frechet_distance(x, y)
    for first, second in ((x, y), (y, x)):
        assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-7)
        assert frechet_from_statistics(stream(first, 10), stream(second, 33)) == pytest.approx(expected, rel=1e-6)


def test_constant_sets_and_refusals() -> None:
    ones, zeros = np.ones((4, 3)), np.zeros((5, 3))
    assert frechet_distance(ones, zeros) == pytest.approx(3)
    assert frechet_from_statistics(stream(ones, 2), stream(zeros, 2)) == pytest.approx(3)
    with pytest.raises(ValueError, match=r"second set: 1 image\(s\)"):
        frechet_from_statistics(stream(ones, 2), stream(zeros[:1], 1))
    with pytest.raises(ValueError, match="one encoder"):
        stream(ones, 2).merge(stream(ones[:, :2], 2))
    with pytest.raises(ValueError, match="1 of 4 feature rows"):
        stream(np.where(np.eye(4, 3) * [0, 1, 0] > 0, np.nan, ones), 4)
    with pytest.raises(ValueError, match="at least one row"):
        FeatureStatistics.of(np.zeros((0, 3)))
