"""Paired tests: against recomputing from features, clusters, seeds, and calibration on simulated data.

Everything under "calibration" is simulated Gaussian data at fixed seeds; benchmarks/calibration.py has more of it.
"""

import numpy as np
import pytest
from scipy import stats

from ccbench.metrics.sets.frechet import frechet_distance
from ccbench.metrics.sets.frechet_grams import FrechetGrams
from ccbench.metrics.sets.kernel import CUBIC, GAUSSIAN, Kernel, squared_mmd
from ccbench.metrics.statistics.influence import Shares, frechet_shares, kernel_shares
from ccbench.metrics.statistics.intervals import cluster_index
from ccbench.metrics.statistics.paired import Difference, across_seeds, compare_frechet, compare_kernel, compare_means

SPECTRUM = np.arange(1.0, 41) ** -0.7


def draw(rng: np.random.Generator, n: int, noise: float = 1.0) -> np.ndarray:
    return rng.normal(size=(n, 40)) * SPECTRUM * noise


def methods(rng: np.random.Generator, n: int, *noises: float) -> list[np.ndarray]:
    """Return features of methods that share each condition's part."""
    common = draw(rng, n)
    return [common + draw(rng, n, noise) for noise in noises]


def test_gram_distances_equal_recomputing_from_features() -> None:
    rng = np.random.default_rng(0)
    (a, b), ref = methods(rng, 17, 1, 2), draw(rng, 29) + 3
    pooled, choices = np.vstack([a, b]), np.array([rng.permutation(34)[:17] for _ in range(5)])
    found = FrechetGrams.of(pooled, ref).distances(choices)
    wanted = [frechet_distance(pooled[choice], ref) for choice in choices]  # without the reference's own trace
    np.testing.assert_allclose(found - found[0], np.array(wanted) - wanted[0], rtol=1e-6)


def exchange_p(distance: object, a: np.ndarray, b: np.ndarray, ref: np.ndarray) -> float:
    """Return the exact exchange p over all 2^n exchanges, each recomputed from features."""
    values = []
    for number in range(2 ** len(a)):
        stays = np.array([number >> i & 1 for i in range(len(a))], dtype=bool)[:, None]
        first, second = np.where(stays, b, a), np.where(stays, a, b)
        values.append(abs(distance(first, ref) - distance(second, ref)))  # type: ignore[operator]
    return float(np.mean(np.array(values) >= values[0] * (1 - 1e-9)))


@pytest.mark.parametrize("kernel", [CUBIC, GAUSSIAN])
def test_kernel_exchange_equals_every_exchange_recomputed(kernel: Kernel) -> None:
    rng = np.random.default_rng(8)
    (a, b), ref = methods(rng, 6, 0.5, 1.5), draw(rng, 9) + 0.3

    def distance(x: np.ndarray, y: np.ndarray) -> float:
        return squared_mmd(x, y, kernel)

    result = compare_kernel(a, b, ref, kernel, seed=0, permutations=20_000)
    assert result.value == pytest.approx(distance(a, ref) - distance(b, ref), rel=1e-9)
    exact = exchange_p(distance, a, b, ref)
    assert 0.02 < exact < 1 and result.p == pytest.approx(exact, abs=4 * np.sqrt(0.25 / 20_000))


def test_frechet_exchange_equals_every_exchange_recomputed() -> None:
    rng = np.random.default_rng(9)
    (a, b), ref = methods(rng, 6, 0.5, 1.5), draw(rng, 9) + 0.3
    exact = exchange_p(frechet_distance, a, b, ref)
    result = compare_frechet(a, b, ref, seed=0, permutations=2000)
    assert 0.02 < exact < 1 and result.p == pytest.approx(exact, abs=4 * np.sqrt(0.25 / 2000))


@pytest.mark.parametrize("clusters", [None, [0, 0, 1, 1, 1, 2, 3, 4]])
@pytest.mark.parametrize("family", ["frechet", "kernel"])
def test_shares_are_the_jackknife_of_both_samples(family: str, clusters: list[int] | None) -> None:
    rng = np.random.default_rng(10)
    first, second, ref, group = draw(rng, 8), draw(rng, 8, 2), draw(rng, 6) + 0.3, cluster_index(8, clusters)

    def difference(rows: np.ndarray, columns: np.ndarray) -> float:
        a, b = (
            frechet_distance(z, y) if family == "frechet" else squared_mmd(z, y, CUBIC)
            for z, y in ((first[rows], ref[columns]), (second[rows], ref[columns]))
        )
        return a - b

    def share(z: np.ndarray) -> Shares:
        groups = group, np.arange(6)
        return frechet_shares(z, ref, *groups) if family == "frechet" else kernel_shares(z, ref, *groups, CUBIC)

    found, rows, columns = share(first).less(share(second)), np.arange(8), np.arange(6)
    left_out = [
        np.array([difference(np.flatnonzero(group != k), columns) for k in range(group.max() + 1)]),
        np.array([difference(rows, np.delete(columns, k)) for k in range(6)]),
    ]
    expected = [np.sqrt((len(t) - 1) * np.var(t)) for t in left_out]
    assert found.value == pytest.approx(difference(rows, columns), rel=1e-6)
    assert [np.linalg.norm(found.conditions), np.linalg.norm(found.reference)] == pytest.approx(expected, rel=1e-6)
    assert found.error == pytest.approx(np.hypot(*expected), rel=1e-6)


def test_several_seeds_are_averaged() -> None:
    rng = np.random.default_rng(11)
    (a, b, c, d), ref = methods(rng, 10, 1, 1, 2, 2), draw(rng, 15)
    for compare in (
        lambda x, y: compare_frechet(x, y, ref, seed=0, permutations=20),
        lambda x, y: compare_kernel(x, y, ref, CUBIC, seed=0, permutations=20),
    ):
        apart = [compare(a, c).value, compare(b, d).value]
        assert compare(np.stack([a, b]), np.stack([c, d])).value == pytest.approx(np.mean(apart))
        twice, once = compare(np.stack([a, a]), np.stack([c, c])), compare(a, c)
        assert (twice.p, twice.error) == (once.p, pytest.approx(once.error))


def test_trainings_by_hand() -> None:
    # Three trainings with differences 1, 2, 3: variance 1 / 3 with 2 degrees of freedom, conditions 1 / 6 with 9.
    given = Difference(2.0, np.sqrt(1 / 6), None, 0.001, 1.0, 10, 10)
    result = across_seeds(given, [1.0, 2.0, 3.0])
    assert result.error == pytest.approx(np.sqrt(0.5)) and result.interval is not None
    reach = np.sqrt(stats.t.ppf(0.975, 2) ** 2 / 3 + stats.t.ppf(0.975, 9) ** 2 / 6)
    assert (result.interval.low, result.interval.high) == pytest.approx((2 - reach, 2 + reach))
    half = result.p / 2  # where the interval of this level would end at zero
    assert stats.t.isf(half, 2) ** 2 / 3 + stats.t.isf(half, 9) ** 2 / 6 == pytest.approx(4)
    alone = across_seeds(Difference(2.0, 0.0, None, 0.001, None, 10, 10), [1.0, 2.0, 3.0])
    assert alone.p == pytest.approx(2 * stats.t.sf(2 / np.sqrt(1 / 3), 2))  # the paired t-test of the trainings
    same = Difference(0.0, 0.0, None, 1.0, None, 10, 10)
    assert across_seeds(same, [0.0, 0.0]) == same


def test_a_clear_difference_and_none_at_all() -> None:
    rng = np.random.default_rng(2)
    (a, b), ref = methods(rng, 40, 0.5, 3), draw(rng, 60)
    worse = compare_frechet(b, a, ref, seed=0, permutations=199)
    assert worse.value == pytest.approx(frechet_distance(b, ref) - frechet_distance(a, ref), rel=1e-7)
    assert worse.interval is not None and 0 < worse.interval.low < worse.value < worse.interval.high
    assert worse.p == 1 / 200 and worse.effect is not None and worse.effect > 0.5 and worse.n == worse.clusters == 40
    other = compare_frechet(a, b, ref, seed=0, permutations=199)
    assert (other.value, other.p) == (pytest.approx(-worse.value), worse.p)
    same = compare_frechet(a, a, ref, seed=0, permutations=19)
    assert (same.value, same.p, same.effect) == (0, 1, None)


def test_frames_of_one_video_count_as_one() -> None:
    # Every image four times over: as independent images they seem to say four times as much.
    rng = np.random.default_rng(3)
    labels, ratios = np.repeat(range(12), 4).tolist(), []
    for _ in range(4):
        (a, b), ref = (np.repeat(z, 4, axis=0) for z in methods(rng, 12, 1, 1.2)), draw(rng, 30)
        alone = compare_frechet(a, b, ref, seed=0, permutations=99)
        videos = compare_frechet(a, b, ref, seed=0, clusters=labels, permutations=99)
        assert alone.clusters == 48 and videos.clusters == 12 and videos.n == 48
        ratios.append(width(videos) / width(alone))
    assert np.mean(ratios) > 1.3
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
    # 100 simulations of 60 clusters; frames of one video share a part. Kolmogorov-Smirnov at the 1 % level, seed 5; a
    # true 95 % covers less than 0.90 once in 40. benchmarks/calibration.py has the many.
    rng = np.random.default_rng(5)
    clusters = np.repeat(range(60), 3).tolist() if clustered else None
    p, covered = [], []
    for seed in range(100):
        noise = rng.normal(size=60).repeat(3) + rng.normal(size=180) if clustered else rng.normal(size=60)
        result = compare_means(noise, np.zeros(len(noise)), seed, clusters, permutations=299)
        assert result.interval is not None
        p.append(result.p)
        covered.append(result.interval.low <= 0 <= result.interval.high)
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert 0.90 <= np.mean(covered) <= 0.992


def covers(results: list[Difference], truth: float) -> float:
    return float(np.mean([r.interval.low <= truth <= r.interval.high for r in results if r.interval]))


def frechet_simulations(noises: tuple[float, float]) -> list[Difference]:
    rng = np.random.default_rng(6)
    return [
        compare_frechet(*(z[:, :10] for z in (*methods(rng, 30, *noises), draw(rng, 40, 1.4))), seed, None, 79)
        for seed in range(100)
    ]


def test_calibration_of_frechet_between_equal_methods() -> None:
    # 100 simulations: a true 95 % gives less than 0.90 once in 40, a true 99.5 % more than 0.99 in 60 % of cases.
    results = frechet_simulations((1.0, 1.0))
    assert stats.kstest([result.p for result in results], "uniform").pvalue > 0.01
    assert 0.90 <= covers(results, 0.0) <= 0.992


def test_calibration_of_frechet_between_unequal_methods() -> None:
    # The true difference at these n and m is taken as the mean of the simulated ones.
    results = frechet_simulations((0.8, 1.2))
    assert 0.90 <= covers(results, float(np.mean([result.value for result in results]))) <= 0.992


@pytest.mark.parametrize("kernel", [CUBIC, GAUSSIAN])
def test_calibration_of_kernel_distances(kernel: Kernel) -> None:
    # 100 simulations of equal methods, which the reference differs from; their true difference is 0.
    rng = np.random.default_rng(7)
    results = [
        compare_kernel(*methods(rng, 25, 1, 1), draw(rng, 40, 1.4) + 0.3, kernel, seed, None, 199)
        for seed in range(100)
    ]
    assert stats.kstest([result.p for result in results], "uniform").pvalue > 0.01
    assert 0.90 <= covers(results, 0.0) <= 0.992


@pytest.mark.parametrize(("between", "least", "most"), [(0.1, 0.97, 0.999), (1.0, 0.93, 0.97)])
def test_calibration_of_trainings(between: float, least: float, most: float) -> None:
    # 600 simulations of three trainings on 50 conditions without a difference: wide where trainings add little.
    rng = np.random.default_rng(12)
    p, covered = [], []
    for seed in range(600):
        values = between * rng.normal(size=(3, 1)) + rng.normal(size=50) + rng.normal(size=(3, 50))
        given = compare_means(values.mean(axis=0), np.zeros(50), seed, None, 1)
        result = across_seeds(given, values.mean(axis=1).tolist())
        assert result.interval is not None
        p.append(result.p)
        covered.append(result.interval.low <= 0 <= result.interval.high)
    assert least <= np.mean(covered) <= most
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(1 - np.mean(covered))  # p and interval say the same


def test_one_cluster_says_nothing_of_others() -> None:
    """No degree of freedom: neither an interval nor a small p, also when trainings agree."""
    first, second = np.array([0.1, 0.5, 0.7]), np.array([0.2, 0.6, 0.8])
    found = across_seeds(compare_means(first, second, 0, ["x"] * 3), [-0.1, -0.1001])
    assert (found.p, found.interval) == (1.0, None)
