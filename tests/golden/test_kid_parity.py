"""Kernel distance against torch-fidelity's and clean-fid's on the same features.

Origin of the expected values: torch_fidelity.metric_kid and cleanfid.fid run here with one subset that holds the full
sets, which needs sets of equal size; the subsets' mean has the same expectation for unequal ones.
"""

import numpy as np
import pytest
import torch
from cleanfid import fid as cleanfid
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric

from ccbench.metrics.sets.kernel import CUBIC, squared_mmd


def features(n: int, shift: float, seed: int, width: int = 64) -> np.ndarray:
    return np.maximum(np.random.default_rng(seed).normal(shift, 1, size=(n, width)), 0)


@pytest.mark.parametrize("shift", [0.0, 0.4])
def test_full_sets_of_equal_size(shift: float) -> None:
    x, y = features(90, 0, 1), features(90, shift, 2)
    expected = kid_features_to_metric(
        torch.from_numpy(x), torch.from_numpy(y), kid_subsets=1, kid_subset_size=90, verbose=False
    )
    found = squared_mmd(x, y, CUBIC)
    assert found == pytest.approx(expected[KEY_METRIC_KID_MEAN], rel=1e-6, abs=1e-10)
    assert found == pytest.approx(cleanfid.kernel_distance(x, y, num_subsets=1), rel=1e-6, abs=1e-10)


def test_unequal_sets_against_the_mean_over_subsets() -> None:
    x, y = features(150, 0, 3), features(260, 0.3, 4)
    subsets = 400
    expected = kid_features_to_metric(
        torch.from_numpy(x), torch.from_numpy(y), kid_subsets=subsets, kid_subset_size=60, verbose=False
    )
    tolerance = 4 * expected[KEY_METRIC_KID_STD] / np.sqrt(subsets)
    assert squared_mmd(x, y, CUBIC) == pytest.approx(expected[KEY_METRIC_KID_MEAN], abs=tolerance)
