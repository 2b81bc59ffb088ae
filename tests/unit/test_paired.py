"""Paired tests: against recomputing from features, clusters, and calibration on simulated data.

Everything under "calibration" is simulated Gaussian data at fixed seeds.
"""

import numpy as np
import pytest
from scipy import stats

from ccbench.metrics.frechet import frechet_value
from ccbench.metrics.frechet_grams import FrechetGrams
from ccbench.metrics.paired import Difference, compare_frechet, compare_means, resample_frechet

SPECTRUM = np.arange(1.0, 41) ** -0.7


def draw(rng: np.random.Generator, n: int, noise: float = 1.0) -> np.ndarray:
    return rng.normal(size=(n, 40)) * SPECTRUM * noise


def methods(rng: np.random.Generator, n: int, *noises: float) -> list[np.ndarray]:
    """Return features of methods that share each condition's part."""
    common = draw(rng, n)
    return [common + draw(rng, n, noise) for noise in noises]


def test_gram_distances_equal_recomputing_from_repeated_features() -> None:
    rng = np.random.default_rng(0)
    (a, b), ref = methods(rng, 17, 1, 2), draw(rng, 29) + 3
    grams = FrechetGrams.of(np.vstack([a, b]), ref)
    for _ in range(5):
        i, j = rng.integers(17, size=17), rng.integers(29, size=29)
        rows, columns = np.bincount(i, minlength=17), np.bincount(j, minlength=29)
        nothing = np.zeros(17)
        found = grams.distance(np.r_[rows, nothing], columns) - grams.distance(np.r_[nothing, rows], columns)
        assert found == pytest.approx(frechet_value(a[i], ref[j]) - frechet_value(b[i], ref[j]), rel=1e-7)


def test_resamples_are_paired_and_seeded() -> None:
    rng = np.random.default_rng(1)
    (a, b), ref = methods(rng, 12, 1, 1.5), draw(rng, 20)
    values = resample_frechet([a, b, a], ref, seed=3, resamples=40)
    assert values.shape == (40, 3)
    np.testing.assert_array_equal(values[:, 0], values[:, 2])  # one draw for every method
    np.testing.assert_array_equal(values, resample_frechet([a, b, a], ref, seed=3, resamples=40))
    assert np.mean(values[:, 0] < values[:, 1]) > 0.5
    with pytest.raises(ValueError, match="equal conditions"):
        resample_frechet([a, b[:5]], ref, seed=0)


def test_a_clear_difference_and_none_at_all() -> None:
    rng = np.random.default_rng(2)
    (a, b), ref = methods(rng, 40, 0.5, 3), draw(rng, 60)
    worse = compare_frechet(b, a, ref, seed=0, resamples=100, permutations=199)
    assert worse.value == pytest.approx(frechet_value(b, ref) - frechet_value(a, ref), rel=1e-7)
    assert worse.interval is not None and 0 < worse.interval.low < worse.value < worse.interval.high
    assert worse.p == 1 / 200 and worse.effect is not None and worse.effect > 0.5 and worse.n == worse.clusters == 40
    other = compare_frechet(a, b, ref, seed=0, resamples=100, permutations=199)
    assert (other.value, other.p) == (pytest.approx(-worse.value), worse.p)
    same = compare_frechet(a, a, ref, seed=0, resamples=20, permutations=19)
    assert (same.value, same.p, same.effect) == (0, 1, None)


def test_frames_of_one_video_count_as_one() -> None:
    # Every image four times over: as independent images they seem to say four times as much.
    rng = np.random.default_rng(3)
    (a, b), ref = (np.repeat(z, 4, axis=0) for z in methods(rng, 12, 1, 1.2)), draw(rng, 30)
    alone = compare_frechet(a, b, ref, seed=0, resamples=100, permutations=99)
    labels = np.repeat(range(12), 4).tolist()
    videos = compare_frechet(a, b, ref, seed=0, clusters=labels, resamples=100, permutations=99)
    assert alone.clusters == 48 and videos.clusters == 12 and videos.n == 48
    assert width(videos) > 1.25 * width(alone)
    values = rng.normal(size=12).repeat(4), np.zeros(48)
    assert width(compare_means(*values, 0, labels)) > 1.6 * width(compare_means(*values, 0))


def width(difference: Difference) -> float:
    assert difference.interval is not None
    return difference.interval.high - difference.interval.low


def test_means_by_hand() -> None:
    # Differences 1, 2, 3: of the 8 sign patterns only + + + and - - - reach |6|. Mean 2, standard deviation 1.
    result = compare_means(np.array([2.0, 4, 6]), np.array([1.0, 2, 3]), seed=0, permutations=10_000)
    assert (result.value, result.effect, result.n) == (2, 2, 3)
    assert result.p == pytest.approx(0.25, abs=4 * np.sqrt(0.25 * 0.75 / 10_000))
    none = compare_means(np.ones(5), np.ones(5), seed=0, permutations=99)
    assert (none.value, none.p, none.effect) == (0, 1, None)


def test_refusals() -> None:
    x = draw(np.random.default_rng(4), 6)
    with pytest.raises(ValueError, match="paired sets"):
        compare_frechet(x, x[:5], x, seed=0)
    with pytest.raises(ValueError, match="2 independent conditions"):
        compare_frechet(x, x, x, seed=0, clusters=[0, 0, 0, 1, 1, 1])
    with pytest.raises(ValueError, match="5 cluster labels for 6"):
        compare_frechet(x, x, x, seed=0, clusters=[0] * 5)
    with pytest.raises(ValueError, match="two equal"):
        compare_means(np.zeros(3), np.zeros(4), seed=0)
    with pytest.raises(ValueError, match="1 pairs are not finite"):
        compare_means(np.array([1, np.nan, 2]), np.zeros(3), seed=0)


@pytest.mark.parametrize("clustered", [False, True])
def test_calibration_of_means(clustered: bool) -> None:
    # 500 simulations of 60 clusters; frames of one video share a part. Kolmogorov-Smirnov at the 1 % level, seed 5.
    rng = np.random.default_rng(5)
    clusters = np.repeat(range(60), 3).tolist() if clustered else None
    p, covered = [], []
    for seed in range(500):
        noise = rng.normal(size=60).repeat(3) + rng.normal(size=180) if clustered else rng.normal(size=60)
        result = compare_means(noise, np.zeros(len(noise)), seed, clusters, resamples=500, permutations=299)
        assert result.interval is not None
        p.append(result.p)
        covered.append(result.interval.low <= 0 <= result.interval.high)
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert 0.93 <= np.mean(covered) <= 0.97


def frechet_simulations(noises: tuple[float, float], permutations: int) -> list[Difference]:
    rng = np.random.default_rng(6)
    return [
        compare_frechet(
            *(z[:, :16] for z in (*methods(rng, 40, *noises), draw(rng, 60, 1.4))), seed, None, 200, permutations
        )
        for seed in range(150)
    ]


def covers(results: list[Difference], truth: float) -> float:
    return float(np.mean([r.interval.low <= truth <= r.interval.high for r in results if r.interval]))


def test_calibration_of_frechet_between_equal_methods() -> None:
    results = frechet_simulations((1.0, 1.0), permutations=59)
    assert stats.kstest([result.p for result in results], "uniform").pvalue > 0.01
    assert 0.93 <= covers(results, 0.0) <= 0.99


def test_calibration_of_frechet_between_unequal_methods() -> None:
    # The true difference at these n and m is taken as the mean of the simulated ones.
    results = frechet_simulations((0.8, 1.2), permutations=0)
    assert 0.93 <= covers(results, float(np.mean([result.value for result in results]))) <= 0.97
