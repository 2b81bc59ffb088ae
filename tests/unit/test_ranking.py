"""Holm's correction, tie groups and rank stability, each by hand."""

import numpy as np
import pytest

from ccbench.metrics.statistics.influence import Shares
from ccbench.metrics.statistics.ranking import holm, rank_stability, resample_values, tie_groups


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


def table(size: int, separated: set[tuple[int, int]]) -> np.ndarray:
    apart = np.zeros((size, size), dtype=bool)
    for pair in separated:
        apart[pair] = True
    return apart


def test_tie_groups_by_hand() -> None:
    assert tie_groups(table(3, {(0, 2)})) == [(0, 1), (1, 2)]  # not transitive: row 1 is in both
    assert tie_groups(table(3, set())) == [(0, 1, 2)]
    assert tie_groups(table(3, {(0, 1), (0, 2), (1, 2)})) == [(0,), (1,), (2,)]
    assert tie_groups(table(1, set())) == [(0,)]
    assert tie_groups(table(0, set())) == []


def test_two_rows_share_a_group_exactly_when_they_tie() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        apart = rng.random(size=(7, 7)) < 0.5
        groups = tie_groups(apart)
        for i in range(7):
            for j in range(i + 1, 7):
                assert any(i in group and j in group for group in groups) != apart[i, j]
    with pytest.raises(ValueError, match=r"\(K, K\)"):
        tie_groups(np.ones((2, 3), dtype=bool))


def test_resampled_values_have_the_error_of_their_shares() -> None:
    # Closed form: the variance over draws is the sum of the squared shares; equal trainings add nothing to it.
    rng = np.random.default_rng(2)
    one = Shares(5.0, *(z - z.mean() for z in (rng.normal(size=30), rng.normal(size=20))))
    other = Shares(7.0, one.conditions, one.reference)
    values = resample_values([[one], [other, other]], seed=0, resamples=20_000)
    np.testing.assert_allclose(values[:, 1] - values[:, 0], 2)  # drawn together
    np.testing.assert_allclose(values.mean(axis=0), [5, 7], atol=4 * one.error / np.sqrt(20_000))
    np.testing.assert_allclose(values.std(axis=0), one.error, rtol=0.03)
    still = Shares(0.0, np.zeros(3), np.empty(0))
    apart = resample_values([[still, still._replace(value=2.0)]], seed=0, resamples=2000)
    assert set(apart[:, 0]) == {0.0, 1.0, 2.0}  # which of two trainings were drawn


def test_rank_stability_by_hand() -> None:
    values = np.array([[1.0, 2, 3], [1, 3, 2], [2, 1, 3], [1, 2, 3]])
    down, up = rank_stability(values, "down"), rank_stability(-values, "up")
    assert (down.low.tolist(), down.high.tolist()) == ([0, 0, 1], [1, 2, 2])
    assert (up.low.tolist(), up.high.tolist()) == ([0, 0, 1], [1, 2, 2])
    with pytest.raises(ValueError, match="finite"):
        rank_stability(np.array([[1.0, np.nan]]), "down")
