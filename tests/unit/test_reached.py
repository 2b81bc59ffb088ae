"""Paired tests of recall and coverage: against recomputing from features, clusters, seeds, and calibration."""

import numpy as np
import pytest
from scipy import stats

from ccbench.metrics.sets.manifold import RealFamily, manifold_scores
from ccbench.metrics.sets.pooled_manifold import Reached
from ccbench.metrics.statistics.paired import Difference, compare_manifold

FAMILIES = ("recall", "coverage")


def draw(rng: np.random.Generator, n: int, noise: float = 1.0) -> np.ndarray:
    return rng.normal(size=(n, 6)) * noise


def methods(rng: np.random.Generator, n: int, *noises: float) -> list[np.ndarray]:
    """Return features of methods that share each condition's part."""
    common = draw(rng, n)
    return [common + draw(rng, n, noise) for noise in noises]


def score(features: np.ndarray, reference: np.ndarray, family: RealFamily) -> float:
    return float(getattr(manifold_scores(features, reference), family).mean())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_choice_scores_as_recomputed_from_features(family: RealFamily) -> None:
    rng = np.random.default_rng(0)
    pool, reference = np.vstack(methods(rng, 15, 0.3, 1)), draw(rng, 40)
    pool *= 0.4 if family == "recall" else 1.0
    reached = Reached(pool, reference, family)
    for _ in range(5):
        chosen = rng.permutation(30)[:12]
        wanted = getattr(manifold_scores(pool[chosen], reference), family)
        assert reached.parts(chosen).tolist() == wanted.tolist() and 0 < wanted.mean() < 1
    with pytest.raises(ValueError, match="5 images, more than k = 5"):
        reached.parts(np.arange(5))


@pytest.mark.parametrize("family", FAMILIES)
def test_exchange_equals_every_exchange_recomputed(family: RealFamily) -> None:
    rng = np.random.default_rng(2)
    (a, b), reference = [0.5 * one for one in methods(rng, 8, 0.1, 1)], draw(rng, 40)
    values = []
    for number in range(2**8):
        stays = np.array([number >> i & 1 for i in range(8)], dtype=bool)[:, None]
        first, second = np.where(stays, b, a), np.where(stays, a, b)
        values.append(score(first, reference, family) - score(second, reference, family))
    exact = float(np.mean(np.abs(values) >= abs(values[0]) - 1e-9))
    result = compare_manifold(a, b, reference, family, seed=0, permutations=3000)
    assert result.value == pytest.approx(values[0]) and 0.02 < exact < 1
    assert result.p == pytest.approx(exact, abs=4 * np.sqrt(0.25 / 3000))


@pytest.mark.parametrize("family", FAMILIES)
def test_seeds_are_averaged_and_clusters_count_as_one(family: RealFamily) -> None:
    rng = np.random.default_rng(3)
    (a, b, c, d), reference = methods(rng, 24, 1, 1, 2, 2), draw(rng, 40)
    apart = [compare_manifold(*pair, reference, family, 0, None, 50).value for pair in ((a, c), (b, d))]
    both = compare_manifold(np.stack([a, b]), np.stack([c, d]), reference, family, 0, None, 50)
    assert both.value == pytest.approx(np.mean(apart)) and (both.n, both.clusters) == (24, 24)
    same = compare_manifold(a, a, reference, family, 0, None, 50)
    assert (same.value, same.p, same.effect) == (0, 1, None)
    videos = compare_manifold(a, c, reference, family, 0, np.repeat(range(8), 3).tolist(), 50)
    assert (videos.value, videos.n, videos.clusters) == (pytest.approx(apart[0]), 24, 8)


def simulate(noises: tuple[float, float], family: RealFamily, count: int) -> list[Difference]:
    rng = np.random.default_rng(4)
    drawn = ((*methods(rng, 40, *noises), draw(rng, 60, 1.4)) for _ in range(count))
    return [compare_manifold(*sets, family, seed, None, 59) for seed, sets in enumerate(drawn)]


@pytest.mark.parametrize("family", FAMILIES)
def test_calibration(family: RealFamily) -> None:
    """Shares move in steps and tie, so p is on the large side: 30 simulations of equal methods, and of unequal ones.

    Of equal methods p <= 0.05 in more than 6 of 30 cases once in 1,500 if it is uniform. The truth of unequal ones is
    the mean difference of 400 other draws.
    """
    equal = simulate((1.0, 1.0), family, 30)
    assert sum(one.p <= 0.05 for one in equal) <= 6
    assert np.mean([one.interval.low <= 0 <= one.interval.high for one in equal if one.interval]) >= 0.9
    rng, noises, truths = np.random.default_rng(5), (0.7, 1.3), []
    for _ in range(400):
        (a, b), reference = methods(rng, 40, *noises), draw(rng, 60, 1.4)
        truths.append(score(a, reference, family) - score(b, reference, family))
    apart, truth = simulate(noises, family, 30), float(np.mean(truths))
    assert np.mean([one.interval.low <= truth <= one.interval.high for one in apart if one.interval]) >= 0.85
    found = np.mean([one.p for one in apart]) < np.mean([one.p for one in equal])
    assert found and stats.ttest_1samp([one.value for one in apart], truth).pvalue > 0.001
