"""FD-infinity: the known limit on simulated features, its seed and its refusals."""

import numpy as np

from ccbench.metrics.sets.frechet import frechet_distance
from ccbench.metrics.sets.infinity import frechet_infinity


def test_the_limit_of_equal_distributions_and_its_seed() -> None:
    # Simulation: a Gaussian in 40 dimensions against 20,000 images of itself: the distance is 0 in the limit.
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(400, 40)), rng.normal(size=(20_000, 40))
    result = frechet_infinity(x, y, seed=1)
    assert result.value is not None and result.r2 is not None and result.r2 > 0.95
    assert abs(result.value) < 0.2 * frechet_distance(x, y)
    assert result == frechet_infinity(x, y, seed=1)
    assert result != frechet_infinity(x, y, seed=2)


def test_fewer_images_than_five_times_the_features_are_refused() -> None:
    x = np.random.default_rng(1).normal(size=(99, 20))
    result = frechet_infinity(x, x, seed=0)
    assert result.value is None and result.r2 is None and result.reason is not None
    assert "99 images of 20 features, at least 100" in result.reason


def test_a_poor_fit_is_refused() -> None:
    # A tight and a far cluster: which of the few far images a subset holds outweighs its size.
    rng = np.random.default_rng(2)
    x = rng.normal(size=(40, 2)) * 0.01
    x[:3] += 100
    result = frechet_infinity(x, rng.normal(size=(50, 2)), seed=0)
    assert result.value is None and result.r2 is not None and result.reason is not None
    assert result.reason.startswith("poor fit: R2 = ")
