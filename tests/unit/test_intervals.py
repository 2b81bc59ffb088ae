"""Intervals over whole videos: against leaving them out by hand, refusals with their reason, and simulated coverage."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from ccbench.metrics.sets.frechet import frechet_distance, frechet_jackknife
from ccbench.metrics.sets.kernel import CUBIC, GAUSSIAN, Kernel, kernel_jackknife, squared_mmd
from ccbench.metrics.sets.manifold import ManifoldScores, manifold_scores
from ccbench.metrics.sets.manifold_influence import ManifoldShares
from ccbench.metrics.sets.set_scores import set_scores
from ccbench.metrics.statistics.influence import Shares, frechet_shares, kernel_shares, mean_shares, ratio_shares
from ccbench.metrics.statistics.intervals import FEWEST_CLUSTERS, cluster_index, influence_interval, jackknife_influence
from ccbench.metrics.statistics.paired import across_seeds, compare_kernel, compare_manifold, compare_means
from ccbench.runs.scorecard import Scorecard
from ccbench.types import Interval, Score

SEVEN = FEWEST_CLUSTERS - 1
FAMILIES = ("fd", "kid", "cmmd", "precision", "recall", "density", "coverage")


def videos(rng: np.random.Generator, count: int, frames: int, width: int = 12, shared: float = 0.6) -> np.ndarray:
    """Return features of frames, a `shared` part of whose variance is their video's."""
    own, common = rng.normal(size=(count * frames, width)), rng.normal(size=(count, width)).repeat(frames, axis=0)
    return (np.sqrt(shared) * common + np.sqrt(1 - shared) * own) * np.arange(1.0, width + 1) ** -0.5


def labels(count: int, frames: int) -> list[str]:
    return [f"video {number}" for number in range(count) for _ in range(frames)]


def test_the_interval_of_a_mean_is_students() -> None:
    """Symmetric values of two sizes: no skewness, and degrees of freedom that are capped at n - 1."""
    values = np.tile([-1.0, 1.0], 10) + 4
    found = mean_shares(values).interval().interval
    reach = stats.t.ppf(0.975, 19) * values.std(ddof=1) / np.sqrt(20)
    assert found is not None and (found.low, found.high) == pytest.approx((4 - reach, 4 + reach))
    assert (found.level, found.kind) == (0.95, "cluster-jackknife-t")


def test_frames_of_a_video_count_as_one() -> None:
    """Ten videos of twenty equal frames hold the information of ten values, not of two hundred."""
    values = np.random.default_rng(2).normal(size=10)
    whole, alone = mean_shares(values.repeat(20), labels(10, 20)).interval(), mean_shares(values).interval()
    assert whole.interval is not None and alone.interval is not None
    assert (whole.interval.low, whole.interval.high) == pytest.approx((alone.interval.low, alone.interval.high))
    unknown = mean_shares(values, [None] * 10).interval()
    assert unknown == alone


def test_a_few_long_videos_are_worth_few_degrees_of_freedom() -> None:
    even, heavy = np.tile([0.1, -0.1], 50), np.concatenate([np.tile([0.01, -0.01], 48), [1, -1, 1, -1]])
    narrow, wide = influence_interval(0.0, even).interval, influence_interval(0.0, heavy).interval
    assert narrow is not None and wide is not None
    assert narrow.high / np.linalg.norm(even) == pytest.approx(stats.t.ppf(0.975, 99))
    assert wide.high / np.linalg.norm(heavy) == pytest.approx(stats.t.ppf(0.975, 10), rel=0.05)  # 3 x 4^2 / 4 - 2


def test_skewed_clusters_move_the_centre_towards_the_long_tail() -> None:
    rare = np.zeros(40)
    rare[:3] = 1.0
    found = mean_shares(rare).interval().interval
    assert found is not None and found.high - rare.mean() > 1.3 * (rare.mean() - found.low) > 0
    left = mean_shares(1 - rare).interval().interval
    assert left is not None and (left.low, left.high) == pytest.approx((1 - found.high, 1 - found.low))


def test_ratio_without_each_cluster() -> None:
    rng = np.random.default_rng(3)
    above, below, names = rng.random(12), rng.random(12) + 0.5, ["a", "a", "b", *"cdefghi", None, None]
    group = cluster_index(12, names)
    without = np.array([above[group != k].sum() / below[group != k].sum() for k in range(group.max() + 1)])
    found = ratio_shares(above, below, names)
    assert found.value == pytest.approx(above.sum() / below.sum())
    np.testing.assert_allclose(found.conditions, jackknife_influence(without), atol=1e-12)
    nothing = ratio_shares(np.eye(9)[0], np.eye(9)[0])  # all there is lies in one cluster
    assert nothing.interval().interval is None and nothing.interval().reason is not None


@pytest.mark.parametrize(("n", "m", "width"), [(20, 30, 8), (20, 30, 64), (40, 12, 20)])
def test_distances_without_each_cluster_of_either_set(n: int, m: int, width: int) -> None:
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(n, width)), rng.normal(size=(m, width)) + 0.2
    of_x = cluster_index(n, rng.integers(0, 6, n).tolist())
    of_y = cluster_index(m, [None if i % 3 else i // 6 for i in range(m)])
    sets_x = [np.flatnonzero(of_x != k) for k in range(of_x.max() + 1)]
    sets_y = [np.flatnonzero(of_y != k) for k in range(of_y.max() + 1)]
    found = frechet_jackknife(x, y, of_x, of_y)
    np.testing.assert_allclose(found.without_1, [frechet_distance(x[rows], y) for rows in sets_x], rtol=1e-6)
    np.testing.assert_allclose(found.without_2, [frechet_distance(x, y[rows]) for rows in sets_y], rtol=1e-6)

    def distance(first: np.ndarray, second: np.ndarray, kernel: Kernel) -> float:
        return squared_mmd(first, second, kernel)

    for kernel in (CUBIC, GAUSSIAN):
        moved = kernel_jackknife(x, y, kernel, of_x, of_y)
        np.testing.assert_allclose(moved.without_1, [distance(x[rows], y, kernel) for rows in sets_x], rtol=1e-9)
        np.testing.assert_allclose(moved.without_2, [distance(x, y[rows], kernel) for rows in sets_y], rtol=1e-9)


@pytest.mark.parametrize("frames", [1, 4])
def test_manifold_shares_are_the_mean_s_own_part_and_that_of_the_balls(frames: int) -> None:
    """Balls that lose a whole video grow; divided by 2.5, of density by 1.5, as the class says."""
    rng = np.random.default_rng(5)
    x, y = 0.8 * videos(rng, 36 // frames, frames, 6), videos(rng, 60 // frames, frames, 6)
    of_x, of_y = cluster_index(36, labels(36 // frames, frames)), cluster_index(60, labels(60 // frames, frames))
    found = ManifoldShares(x, y, of_x, of_y)
    parts = manifold_scores(x, y)

    def without_images(family: str) -> np.ndarray:
        return np.array([getattr(manifold_scores(x[of_x != k], y), family).mean() for k in range(of_x.max() + 1)])

    def without_reals(family: str) -> np.ndarray:
        return np.array([getattr(manifold_scores(x, y[of_y != k]), family).mean() for k in range(of_y.max() + 1)])

    for family, counted in zip(ManifoldScores._fields, (2.5, 2.5, 1.5, 2.5), strict=True):
        shares, values = found.of(family), getattr(parts, family)  # type: ignore[arg-type]
        assert shares.value == values.mean()
        of_images = family in ("precision", "density")
        own = mean_shares(values, (of_x if of_images else of_y).tolist()).conditions
        balls = jackknife_influence(without_reals(family) if of_images else without_images(family)) / np.sqrt(counted)
        np.testing.assert_allclose(shares.reference if of_images else shares.conditions, balls, atol=1e-12)
        if family == "coverage":
            own = own + (jackknife_influence(without_reals(family)) - own) / np.sqrt(counted)
        np.testing.assert_allclose(shares.conditions if of_images else shares.reference, own, atol=1e-12)


def card_of(score: Score) -> Scorecard:
    return Scorecard(scores=[score], controls={}, failures={})


@pytest.mark.parametrize("few", ["images", "reference"])
def test_too_few_videos_have_a_reason_in_place_of_an_interval(few: str) -> None:
    rng = np.random.default_rng(6)
    counts = (SEVEN, 20) if few == "images" else (20, SEVEN)
    x, y = (videos(rng, count, 6, 6) for count in counts)
    names = [labels(count, 6) for count in counts]
    for score in set_scores(x, y, "lite0", "enc:lite0", "ref", FAMILIES, *names):
        assert score.value is not None and score.interval is None
        assert score.no_interval == "7 clusters: too few for an interval, 8 are needed"
        assert Scorecard.model_validate(card_of(score).model_dump(mode="json")).scores == [score]
    alone = set_scores(x, y, "lite0", "enc:lite0", "ref", FAMILIES)
    clustered = [score.value for score in set_scores(x, y, "lite0", "e", "r", FAMILIES, *names)]
    assert [one.value for one in alone] == pytest.approx(clustered, rel=1e-12)
    assert all(isinstance(one.interval, Interval) for one in alone)
    a, b = x + rng.normal(size=x.shape), x + rng.normal(size=x.shape)
    for found in (
        compare_kernel(a, b, y, CUBIC, 0, names[0], 99, names[1]),
        compare_manifold(a, b, y, "precision", 0, names[0], 99, names[1]),
    ):
        assert (found.interval, found.no_interval) == (None, "7 clusters: too few for an interval, 8 are needed")
        assert 0 < found.p <= 1 and found.fields()["no_interval"] == found.no_interval
    means = compare_means(a[:20, 0], b[:20, 0], 0, labels(5, 4))
    assert means.no_interval is not None and across_seeds(means, [0.1, 0.3]).no_interval == means.no_interval


def test_values_that_are_all_alike_have_no_interval_of_no_width() -> None:
    found = mean_shares(np.full(30, 0.4)).interval()
    assert found.interval is None and found.reason == "no spread between clusters to take an interval from"


def test_records_without_the_reason_still_load() -> None:
    (score,) = set_scores(*(np.random.default_rng(s).normal(size=(20, 4)) for s in (1, 2)), "lite0", "e", "r", ["kid"])
    record = card_of(score).model_dump(mode="json")
    del record["scores"][0]["no_interval"]
    loaded = Scorecard.model_validate(record)
    assert not loaded.scores[0].no_interval and replace(loaded.scores[0], no_interval=None) == score
    assert loaded.model_dump(mode="json") == record  # as it was, so that its hash is the one that boards keep


@pytest.mark.parametrize("unequal", [False, True])
def test_intervals_cover_where_frames_of_videos_are_alike(unequal: bool) -> None:
    """Simulated, 60 times: 20 test and 30 reference videos of 4 frames. Truth: the mean of the simulated values.

    A true 95 % gives less than 50 of 60 once in 5,000. Frames taken for independent images cover far
    less often.
    """
    rng = np.random.default_rng(7)
    groups, alone = (np.repeat(range(20), 4), np.repeat(range(30), 4)), (np.arange(80), np.arange(120))
    held, naive = [], []
    for _ in range(60):
        x, y = videos(rng, 20, 4) * (0.8 if unequal else 1.0) + 0.4 * unequal, videos(rng, 30, 4)
        held.append(all_shares(x, y, *groups))
        naive.append(kernel_shares(x, y, *alone, CUBIC))
    truths = np.mean([[one.value for one in row] for row in held], axis=0)

    def covered(found: list[Shares], truth: float) -> int:
        intervals = [one.interval().interval for one in found]
        return sum(one is not None and one.low <= truth <= one.high for one in intervals)

    counts = [covered([row[k] for row in held], truth) for k, truth in enumerate(truths)]
    assert min(counts) >= 50, dict(zip(FAMILIES, counts, strict=True))
    if unequal:
        kid = FAMILIES.index("kid")
        assert covered(naive, truths[kid]) <= counts[kid] - 5


def all_shares(x: np.ndarray, y: np.ndarray, of_x: np.ndarray, of_y: np.ndarray) -> list[Shares]:
    manifold = ManifoldShares(x, y, of_x, of_y)
    distances = [kernel_shares(x, y, of_x, of_y, kernel) for kernel in (CUBIC, GAUSSIAN)]
    return [frechet_shares(x, y, of_x, of_y), *distances, *(manifold.of(name) for name in ManifoldScores._fields)]  # type: ignore[arg-type]
