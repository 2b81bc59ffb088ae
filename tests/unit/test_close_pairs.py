"""The pair search against a double loop: XOR of the bits, and the cosine from its definition, in float64."""

import numpy as np
import pytest
from numpy.typing import NDArray

from ccbench.metrics.sets.close_pairs import find_close_pairs

BITS, DIM = 64, 24


def inputs(count: int, views: int = 2, seed: int = 0) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Random hashes and features, with some copies among them so that there are close pairs."""
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2, (count, views, BITS)).astype(np.bool_)
    features = rng.normal(size=(count, DIM)).astype(np.float32)
    for one, other in rng.integers(0, count, (count // 3, 2)):
        hashes[one, 0] = hashes[other, rng.integers(views)] ^ (rng.random(BITS) < 0.05)
        features[one] = features[other] * 3 + rng.normal(0, 0.1, DIM)
    return hashes, features


def brute(hashes: NDArray[np.bool_], features: NDArray[np.float32]) -> dict[tuple[int, int], tuple[int, float]]:
    distances = {}
    for i in range(len(hashes)):
        for j in range(i + 1, len(hashes)):
            hamming = min(int((view ^ hashes[j, 0]).sum()) for view in hashes[i])
            a, b = features[i].astype(float), features[j].astype(float)
            distances[i, j] = hamming, 1 - a @ b / np.sqrt((a @ a) * (b @ b))
    return distances


@pytest.mark.parametrize("block", [1, 7, 64, 512])
def test_finds_the_pairs_of_a_double_loop_whatever_the_block(block: int) -> None:
    hashes, features = inputs(60)
    found = find_close_pairs(hashes, features, 0.9, block)
    expected = {pair: d for pair, d in brute(hashes, features).items() if d[0] / BITS + d[1] <= 0.9}
    assert 20 < len(expected) < 500
    assert list(zip(found.first.tolist(), found.second.tolist(), strict=True)) == sorted(expected)
    hamming, cosine = zip(*(expected[pair] for pair in sorted(expected)), strict=True)
    assert found.hamming.tolist() == list(hamming)
    assert np.allclose(found.cosine, cosine, atol=1e-6)  # float32 products of unit vectors
    assert np.allclose(found.distance, np.array(hamming) / BITS + cosine, atol=1e-6)


def test_five_thousand_hashes_are_exact_to_the_bit() -> None:
    """Checked on 300 random pairs: a distance of 256 bits is a whole number in float32."""
    rng = np.random.default_rng(1)
    hashes = rng.integers(0, 2, (5000, 1, 256)).astype(np.bool_)
    found = find_close_pairs(hashes, np.ones((5000, 1), np.float32), 96 / 256)
    at = rng.integers(0, len(found.first), 300)
    exact = (hashes[found.first[at], 0] ^ hashes[found.second[at], 0]).sum(axis=1)
    assert len(found.first) > 300 and found.hamming.max() == 96 and np.array_equal(found.hamming[at], exact)


def test_a_mirrored_view_counts_and_equal_features_have_no_negative_distance() -> None:
    hashes = np.zeros((2, 2, BITS), np.bool_)
    hashes[0, 0], hashes[1, 0] = True, False  # the first image's second view is the second image's first
    found = find_close_pairs(hashes, np.full((2, 7), 0.3, np.float32), 0)
    assert found.hamming.tolist() == [0] and found.cosine.tolist() == [0.0]


def test_rows_of_zeros_are_far_from_all() -> None:
    found = find_close_pairs(np.zeros((2, 1, 8), np.bool_), np.zeros((2, 3), np.float32), 2)
    assert found.cosine.tolist() == [1.0]


def test_one_image_has_no_pairs_and_unequal_lengths_are_refused() -> None:
    one = find_close_pairs(*inputs(1), 3)
    none = find_close_pairs(*inputs(0), 3)
    assert [len(values) for values in (*one, *none)] == [0] * 10
    with pytest.raises(ValueError, match="2 hashes for 3 rows"):
        find_close_pairs(inputs(2)[0], inputs(3)[1], 3)
