"""Kernel distance: the definition by hand, its expectation of zero, and its jackknife."""

from itertools import permutations

import numpy as np
import pytest

from ccbench.metrics.sets.kernel import CUBIC, kernel_jackknife, squared_mmd
from ccbench.metrics.statistics.intervals import jackknife_influence


def by_definition(x: np.ndarray, y: np.ndarray) -> float:
    """Return the U-statistic of Binkowski et al. 2018, equation 4, as three plain sums."""

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / len(a) + 1) ** 3)

    xx = np.mean([k(a, b) for a, b in permutations(x, 2)])
    yy = np.mean([k(a, b) for a, b in permutations(y, 2)])
    return float(xx + yy - 2 * np.mean([k(a, b) for a in x for b in y]))


def error(x: np.ndarray, y: np.ndarray) -> float:
    """Return the jackknife standard error of the distance of sets of images that stand alone."""
    found = kernel_jackknife(x, y, CUBIC, np.arange(len(x)), np.arange(len(y)))
    return float(np.sqrt(sum(np.sum(jackknife_influence(without) ** 2) for without in found[1:])))


def test_definition_on_unequal_sets() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(7, 5)), rng.normal(size=(11, 5)) + 0.5
    assert squared_mmd(x, y, CUBIC) == pytest.approx(by_definition(x, y), rel=1e-12)


def test_expectation_is_zero_between_equal_distributions() -> None:
    rng = np.random.default_rng(1)
    values = [squared_mmd(rng.normal(size=(12, 6)), rng.normal(size=(20, 6)), CUBIC) for _ in range(400)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(400)
    assert min(values) < 0  # unbiased, so not clipped at zero


def test_order_and_symmetry() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(9, 4)), rng.normal(size=(14, 4)) + 1
    for other in ((y, x), (rng.permutation(x), rng.permutation(y))):
        assert squared_mmd(*other, CUBIC) == pytest.approx(squared_mmd(x, y, CUBIC), rel=1e-12)
        assert error(*other) == pytest.approx(error(x, y), rel=1e-9)


def test_blocks_of_rows_change_nothing() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(1500, 3)), rng.normal(size=(40, 3))
    k = [(a @ b.T / 3 + 1) ** 3 for a, b in ((x, x), (y, y), (x, y))]
    expected = (
        (k[0].sum() - np.trace(k[0])) / (1500 * 1499) + (k[1].sum() - np.trace(k[1])) / (40 * 39) - 2 * k[2].mean()
    )
    assert squared_mmd(x, y, CUBIC) == pytest.approx(expected, rel=1e-10)


def test_jackknife_equals_leaving_each_image_out() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(8, 5)), rng.normal(size=(6, 5)) + 0.4
    left_out = [
        np.array([by_definition(np.delete(x, i, axis=0), y) for i in range(len(x))]),
        np.array([by_definition(x, np.delete(y, i, axis=0)) for i in range(len(y))]),
    ]
    expected = np.sqrt(sum((len(t) - 1) / len(t) * np.sum((t - t.mean()) ** 2) for t in left_out))
    assert error(x, y) == pytest.approx(expected, rel=1e-10)


def test_refusals() -> None:
    x = np.random.default_rng(5).normal(size=(4, 3))
    with pytest.raises(ValueError, match="at least 2"):
        squared_mmd(x, x[:1], CUBIC)
    with pytest.raises(ValueError, match="not finite"):
        squared_mmd(x, np.where(x > 0, np.inf, x), CUBIC)
    with pytest.raises(ValueError, match="fewer than 2"):
        error(x[:2], x)
