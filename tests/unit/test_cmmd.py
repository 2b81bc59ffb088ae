"""CMMD: two angles by hand, brute force, and the permutation test of kernel distances."""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from ccbench.metrics.sets.kernel import CUBIC, GAUSSIAN, Kernel, kernel_jackknife, squared_mmd
from ccbench.metrics.sets.kernel_permutation import permutation_test
from ccbench.metrics.statistics.intervals import jackknife_influence


def brute_force(x: np.ndarray, y: np.ndarray) -> float:
    """Return 1000 MMD^2 without the pairs of an image with itself, from exp(-|a - b|^2 / 200) of unit vectors."""
    x, y = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x, y))

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.exp(-np.sum((a - b) ** 2) / (2 * 10**2)))

    within = [np.mean([k(a, b) for a, b in combinations(z, 2)]) for z in (x, y)]
    return 1000 * float(within[0] + within[1] - 2 * np.mean([k(a, b) for a in x for b in y]))


def test_right_angles_by_hand() -> None:
    # Each set is one direction: within-set kernels are 1, across |a - b|^2 = 2, so 2000 (1 - exp(-1 / 100)).
    x, y = np.array([[1.0, 0], [5, 0]]), np.array([[0, 2.0], [0, 3], [0, 4]])
    assert squared_mmd(x, y, GAUSSIAN) == pytest.approx(2000 * (1 - np.exp(-0.01)), rel=1e-12)


@pytest.mark.parametrize("block", [1, 5, 1024])
def test_brute_force_on_unequal_sets(block: int) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(9, 5)), rng.normal(size=(14, 5)) + 0.5
    assert squared_mmd(x, y, GAUSSIAN, block) == pytest.approx(brute_force(x, y), rel=1e-9)
    without = [brute_force(np.delete(x, i, axis=0), y) for i in range(9)]
    without_y = [brute_force(x, np.delete(y, i, axis=0)) for i in range(14)]
    error = np.sqrt(8 / 9 * np.var(without) * 9 + 13 / 14 * np.var(without_y) * 14)
    found = kernel_jackknife(x, y, GAUSSIAN, np.arange(9), np.arange(14), block)
    moved = [np.sum(jackknife_influence(part) ** 2) for part in found[1:]]
    assert np.sqrt(sum(moved)) == pytest.approx(error, rel=1e-8)


def test_length_of_features_does_not_count_and_zero_has_no_direction() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(9, 5)), rng.normal(size=(14, 5)) + 0.5
    longer = x * rng.uniform(1, 9, (9, 1))
    assert squared_mmd(longer, y, GAUSSIAN) == pytest.approx(squared_mmd(x, y, GAUSSIAN), rel=1e-9)
    with pytest.raises(ValueError, match="no direction"):
        squared_mmd(np.zeros((3, 5)), y, GAUSSIAN)


@pytest.mark.parametrize("kernel", [CUBIC, GAUSSIAN])
def test_every_relabelling_by_hand(kernel: Kernel) -> None:
    # 3 + 3 images have 20 relabellings, of which the true one and its mirror image are the furthest apart.
    x, y = np.random.default_rng(2).normal(size=(2, 3, 4)) * 0.01 + np.array([0, 1.0]).reshape(2, 1, 1) + np.eye(4)[0]
    result = permutation_test(x, y, kernel, seed=0, permutations=4000, block=4)
    assert result.value == pytest.approx(squared_mmd(x, y, kernel), rel=1e-9)
    assert result.p == pytest.approx(2 / 20, abs=4 * np.sqrt(0.1 * 0.9 / 4000))
    assert result == permutation_test(x, y, kernel, seed=0, permutations=4000)


@pytest.mark.parametrize("kernel", [CUBIC, GAUSSIAN])
def test_null_p_values_are_uniform(kernel: Kernel) -> None:
    # Simulation: 200 pairs of unequal sets of one distribution; Kolmogorov-Smirnov at the 1 % level, seed 0.
    rng = np.random.default_rng(0)
    draws = ((rng.normal(size=(9, 6)) + 1, rng.normal(size=(14, 6)) + 1, seed) for seed in range(200))
    p = np.array([permutation_test(x, y, kernel, seed, permutations=99).p for x, y, seed in draws])
    assert p.min() >= 1 / 100
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert 0.01 < np.mean(p <= 0.05) < 0.10
