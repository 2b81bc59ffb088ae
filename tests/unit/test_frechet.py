"""Frechet distance: closed forms, metamorphic relations and the jackknife against leaving images out one by one."""

import numpy as np
import pytest

from ccbench.metrics.sets.frechet import frechet_distance, frechet_jackknife
from ccbench.metrics.statistics.intervals import jackknife_influence


def gaussian_with(mean: np.ndarray, deviations: np.ndarray, seed: int, n: int = 40) -> np.ndarray:
    """Return (n, D) features whose sample mean and covariance are exactly `mean` and diag(deviations^2)."""
    x = np.random.default_rng(seed).normal(size=(n, len(mean)))
    x -= x.mean(axis=0)
    q, _ = np.linalg.qr(x)
    return mean + q * np.sqrt(n - 1) * deviations


def error(x: np.ndarray, y: np.ndarray) -> float:
    """Return the jackknife standard error of the distance of sets of images that stand alone."""
    found = frechet_jackknife(x, y, np.arange(len(x)), np.arange(len(y)))
    return float(np.sqrt(sum(np.sum(jackknife_influence(without) ** 2) for without in found[1:])))


def test_identical_sets_have_distance_zero() -> None:
    x = np.random.default_rng(0).normal(size=(30, 50)) * 5
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-10 * np.sum(np.var(x, axis=0)))
    assert frechet_distance(x, x[::-1]) == pytest.approx(0, abs=1e-10 * np.sum(np.var(x, axis=0)))


def test_a_shift_adds_its_squared_length() -> None:
    x = np.random.default_rng(1).normal(size=(25, 60))
    shift = np.linspace(-1, 1, 60)
    assert frechet_distance(x, x + shift) == pytest.approx(float(shift @ shift), rel=1e-12)


def test_diagonal_covariances() -> None:
    # Closed form of Dowson and Landau 1982 for commuting covariances: |m1 - m2|^2 + sum (s1 - s2)^2.
    m1, m2 = np.array([0.0, 1, 2, 3]), np.array([1.0, 1, 0, 3.5])
    s1, s2 = np.array([1.0, 2, 0.5, 3]), np.array([1.5, 0, 4, 3])  # a singular covariance is no special case
    expected = np.sum((m1 - m2) ** 2) + np.sum((s1 - s2) ** 2)
    value = frechet_distance(gaussian_with(m1, s1, 2), gaussian_with(m2, s2, 3, n=57))
    assert value == pytest.approx(expected, rel=1e-12)


def test_factored_and_direct_forms_agree() -> None:
    # Zero columns change nothing but the width: with them n <= D, without them n > D.
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(45, 8)), rng.normal(size=(33, 8)) * 2 + 0.3
    wide = [np.hstack([z, np.zeros((len(z), 60))]) for z in (x, y)]
    assert frechet_distance(x, y) == pytest.approx(frechet_distance(*wide), rel=1e-12)
    assert error(x, y) == pytest.approx(error(*wide), rel=1e-9)


def test_order_symmetry_scale_and_rotation() -> None:
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(20, 30)), rng.normal(size=(28, 30)) + 0.2
    rotation, _ = np.linalg.qr(rng.normal(size=(30, 30)))
    for other, factor in (
        ((rng.permutation(x), rng.permutation(y)), 1),
        ((y, x), 1),
        ((3 * x, 3 * y), 9),
        ((x @ rotation, y @ rotation), 1),
    ):
        assert frechet_distance(*other) == pytest.approx(factor * frechet_distance(x, y), rel=1e-10)
        assert error(*other) == pytest.approx(factor * error(x, y), rel=1e-8)


def test_a_set_taken_twice_only_changes_the_degrees_of_freedom() -> None:
    # The scatter doubles and n - 1 becomes 2n - 1, so this is a covariance scaled by 2 (n - 1) / (2 n - 1).
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(12, 7)), rng.normal(size=(40, 7))
    scale = np.sqrt(2 * 11 / 23)
    squeezed = x.mean(axis=0) + scale * (x - x.mean(axis=0))
    assert frechet_distance(np.vstack([x, x]), y) == pytest.approx(frechet_distance(squeezed, y), rel=1e-12)


@pytest.mark.parametrize(
    ("n1", "n2", "width"), [(12, 9, 40), (9, 12, 40), (12, 30, 5), (30, 30, 100), (3, 3, 4), (20, 6, 10)]
)
def test_jackknife_equals_leaving_each_image_out(n1: int, n2: int, width: int) -> None:
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(n1, width)), rng.normal(size=(n2, width)) * 1.3 + 0.2
    if n1 > 10:
        x[1] = x[0]  # a duplicate: leaving it out does not lower the rank
    left_out = [
        np.array([frechet_distance(np.delete(x, i, axis=0), y) for i in range(n1)]),
        np.array([frechet_distance(x, np.delete(y, i, axis=0)) for i in range(n2)]),
    ]
    expected = np.sqrt(sum((len(t) - 1) / len(t) * np.sum((t - t.mean()) ** 2) for t in left_out))
    assert error(x, y) == pytest.approx(expected, rel=1e-9)


def test_jackknife_error_is_the_spread_over_fresh_samples() -> None:
    # Simulation, fixed seed: 80 draws of n = 60 in 150 dimensions, two distributions. EVALUATION section 1 prints
    # ratios of 0.9-1.25 on such sets; the standard deviation of 80 draws is itself known to 8 %.
    rng = np.random.default_rng(8)
    spectra = np.arange(1, 151) ** -0.7, np.arange(150, 0, -1) ** -0.5
    draws = [[rng.normal(size=(60, 150)) * s for s in spectra] for _ in range(80)]
    ratio = np.mean([error(*draw) for draw in draws]) / np.std([frechet_distance(*draw) for draw in draws], ddof=1)
    assert 0.8 < ratio < 1.35


def test_refusals_and_small_sets() -> None:
    x = np.random.default_rng(9).normal(size=(5, 3))
    with pytest.raises(ValueError, match="at least 2"):
        frechet_distance(x[:1], x)
    broken = x.copy()
    broken[2, 1] = np.nan
    with pytest.raises(ValueError, match="1 of 5 feature rows"):
        frechet_distance(x, broken)
    with pytest.raises(ValueError, match="one encoder"):
        frechet_distance(x, x[:, :2])
    with pytest.raises(ValueError, match="at least 3 images"):
        error(x[:2], x)
    assert frechet_distance(np.ones((4, 3)), np.zeros((4, 3))) == pytest.approx(3.0)  # no spread at all
