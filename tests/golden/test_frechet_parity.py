"""Frechet distance against scipy's matrix root and torch-fidelity's and clean-fid's functions on the same features.

Origin of the expected values: scipy.linalg.sqrtm (the reference code of Heusel et al.), torch_fidelity.metric_fid and
cleanfid.fid, all run here. Tolerance 1e-6 relative: they lose digits in the matrix root.
"""

import numpy as np
import pytest
import scipy.linalg
import torch
from cleanfid import fid as cleanfid
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

from ccbench.metrics.sets.frechet import frechet_distance


def draw(n1: int, n2: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return non-negative, correlated features with a power-law spectrum, as pooled activations have."""
    rng = np.random.default_rng(n1 * n2 + width)
    mix = rng.normal(size=(width, width)) * np.arange(1, width + 1)[:, None] ** -0.8
    return tuple(np.maximum(rng.normal(size=(n, width)) @ mix + shift, 0) for n, shift in ((n1, 0.0), (n2, 0.3)))


@pytest.mark.parametrize(("n1", "n2", "width"), [(300, 200, 48), (90, 61, 96), (64, 400, 128)])
def test_torch_fidelity(n1: int, n2: int, width: int) -> None:
    x, y = draw(n1, n2, width)
    statistics = [fid_features_to_statistics(torch.from_numpy(z)) for z in (x, y)]
    expected = fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID]
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("n1", "n2", "width"), [(300, 200, 48), (150, 500, 64)])
def test_scipy_matrix_root(n1: int, n2: int, width: int) -> None:
    x, y = draw(n1, n2, width)
    s1, s2 = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(s1 @ s2).real
    expected = np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(s1 + s2 - 2 * root)
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-6)


@pytest.mark.filterwarnings("ignore:The `disp` argument is deprecated:DeprecationWarning")
@pytest.mark.parametrize(("n1", "n2", "width"), [(300, 200, 48), (150, 500, 64)])
def test_clean_fid(n1: int, n2: int, width: int) -> None:
    x, y = draw(n1, n2, width)
    assert frechet_distance(x, y) == pytest.approx(cleanfid.fid_from_feats(x, y), rel=1e-6)


def test_float32_features_are_computed_in_float64() -> None:
    x, y = (z.astype(np.float32) for z in draw(120, 80, 32))
    assert frechet_distance(x, y) == pytest.approx(
        frechet_distance(x.astype(np.float64), y.astype(np.float64)), rel=1e-14
    )
