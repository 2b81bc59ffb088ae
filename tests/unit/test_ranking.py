"""Holm's correction, tie groups, rank stability and seed spread, each by hand."""

import numpy as np
import pytest

from ccbench.metrics.ranking import holm, rank_stability, seed_spread, tie_groups


def test_holm_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1 are 0.04, 0.06, 0.06, 0.04; made monotone: 0.04, 0.06, 0.06, 0.06.
    np.testing.assert_allclose(holm([0.04, 0.01, 0.03, 0.02]), [0.06, 0.04, 0.06, 0.06])
    np.testing.assert_allclose(holm([0.9, 0.8]), [1, 1])
    assert len(holm([])) == 0
    with pytest.raises(ValueError, match=r"in 0\.\.1"):
        holm([0.5, np.nan])


def test_family_wise_error_under_the_null() -> None:
    # Simulation, seed 0: 2000 families of 6 independent uniform p-values; any rejection in at most 5 %.
    p = np.random.default_rng(0).uniform(size=(2000, 6))
    rate = np.mean([holm(family).min() <= 0.05 for family in p])
    assert 0.035 < rate < 0.065


def table(size: int, separated: dict[tuple[int, int], float]) -> np.ndarray:
    p = np.full((size, size), 0.9)
    for pair, value in separated.items():
        p[pair] = value
    return p


def test_tie_groups_by_hand() -> None:
    assert tie_groups(table(3, {(0, 2): 0.001})) == [(0, 1), (1, 2)]  # not transitive: row 1 is in both
    assert tie_groups(table(3, {})) == [(0, 1, 2)]
    assert tie_groups(table(3, {(0, 1): 0.001, (0, 2): 0.001, (1, 2): 0.001})) == [(0,), (1,), (2,)]
    assert tie_groups(table(3, {(0, 2): 0.04})) == [(0, 1, 2)]  # 0.04 of three tests is 0.12 after Holm
    assert tie_groups(np.ones((1, 1))) == [(0,)]
    assert tie_groups(np.ones((0, 0))) == []


def test_two_rows_share_a_group_exactly_when_they_tie() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        p = rng.choice([1e-6, 0.9], size=(7, 7))
        groups = tie_groups(p)
        for i in range(7):
            for j in range(i + 1, 7):
                assert any(i in group and j in group for group in groups) == (p[i, j] > 0.5)
    with pytest.raises(ValueError, match=r"\(K, K\)"):
        tie_groups(np.ones((2, 3)))


def test_rank_stability_by_hand() -> None:
    values = np.array([[1.0, 2, 3], [1, 3, 2], [2, 1, 3], [1, 2, 3]])
    down, up = rank_stability(values, "down"), rank_stability(-values, "up")
    np.testing.assert_allclose(down.shares, [[0.75, 0.25, 0], [0.25, 0.5, 0.25], [0, 0.25, 0.75]])
    assert (down.low.tolist(), down.high.tolist()) == ([0, 0, 1], [1, 2, 2])
    np.testing.assert_array_equal(up.shares, down.shares)
    with pytest.raises(ValueError, match="finite"):
        rank_stability(np.array([[1.0, np.nan]]), "down")


def test_seed_spread_by_hand() -> None:
    spread = seed_spread([1.0, 2, 3], [3.0, 4, 5])
    assert (spread.mean, spread.between, spread.seeds) == (2, 1, 3)
    assert spread.within == pytest.approx(np.sqrt(50 / 3))
    assert seed_spread([1.0], [0.5]).between is None
    with pytest.raises(ValueError, match="one of each"):
        seed_spread([], [])
