"""Memorisation and diversity: distances by hand, then sets that copy, half copy, or are fresh."""

import numpy as np
import pytest
from numpy.typing import NDArray

from ccbench.metrics.sets.diversity import copy_diversity
from ccbench.metrics.sets.memorisation import QUANTILE, memorisation, nearest


def draw(n: int, seed: int, dim: int = 12) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=(n, dim))


TRAINING, HELD_OUT = draw(300, 0), draw(200, 1)


def test_neighbours_by_hand() -> None:
    training = np.array([[1.0, 0], [0, 2], [-3, 0]])
    found = nearest(np.array([[5.0, 0], [1, 1]]), training, 2)
    assert found.indices.tolist() == [[0, 1], [0, 1]]
    assert found.distances == pytest.approx(np.array([[0, 1], [1 - np.sqrt(0.5)] * 2]))
    assert nearest(training, training, 9).distances.shape == (3, 3)


@pytest.mark.parametrize("block", [1, 7, 512])
def test_neighbours_are_those_of_all_pairs_whatever_the_block(block: int) -> None:
    x = draw(20, 2)
    found = nearest(x, TRAINING, 4, block)
    cosines = (x @ TRAINING.T) / np.outer(np.linalg.norm(x, axis=1), np.linalg.norm(TRAINING, axis=1))
    assert np.array_equal(found.indices, np.argsort(-cosines, axis=1)[:, :4])
    assert found.distances == pytest.approx(np.sort(1 - cosines, axis=1)[:, :4])


def test_copies_are_flagged_and_fresh_images_are_not() -> None:
    copies = memorisation(TRAINING[:100] * 2, TRAINING, HELD_OUT)
    assert (copies.verdict, copies.near, copies.alone, copies.auc, copies.same) == ("look", 1, 1, 1, 100)
    assert copies.neighbours.indices.shape == (100, 5) and copies.relative == pytest.approx(np.zeros(100))
    assert copies.neighbours.indices[:, 0].tolist() == list(range(100))
    again = memorisation(HELD_OUT, TRAINING, HELD_OUT)
    assert again.verdict == "publish" and again.auc == 0.5 and again.near == pytest.approx(QUANTILE)
    one = memorisation(np.concatenate([draw(99, 3), TRAINING[:1]]), TRAINING, HELD_OUT)
    assert (one.verdict, one.same) == ("look", 1)


def test_the_gate_holds_its_rate_on_fresh_images_and_sees_one_in_six_altered_copies() -> None:
    """60 draws: 3 standard errors of a share leave a few in a thousand, so one at most."""
    rng = np.random.default_rng(4)
    sets = [(draw(100, seed), draw(100, 9000 + seed)) for seed in range(100, 160)]
    assert [memorisation(made, TRAINING[:150], real).verdict for made, real in sets].count("look") <= 1
    copies = TRAINING[:25] + 0.2 * rng.normal(size=(25, 12))
    found = memorisation(np.concatenate([draw(125, 5), copies]), TRAINING, HELD_OUT)
    assert found.verdict == "look" and found.same == 0 and found.near == pytest.approx(QUANTILE + 1 / 6, abs=0.05)


def test_copies_that_moved_away_from_all_real_images_are_alone_with_theirs() -> None:
    """A direction that no real image has, as blur adds one: few copies are near by the limit, most by the ratio."""
    unit = TRAINING[:60] / np.linalg.norm(TRAINING[:60], axis=1, keepdims=True)
    aside = np.concatenate([unit, np.full((60, 1), 0.75)], axis=1)  # cosine 0.8 with its own
    training, held_out = (np.pad(images, ((0, 0), (0, 1))) for images in (TRAINING, HELD_OUT))
    found = memorisation(aside, training, held_out, k=2)
    assert found.near == 0 and found.alone > 0.5 and found.verdict == "look"
    nearest_two = nearest(aside, training, 5).distances
    assert found.relative == pytest.approx(nearest_two[:, 0] / nearest_two[:, 1:].mean(axis=1))
    assert found.neighbours.distances.shape == (60, 2)


def test_features_without_a_direction_or_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match="1 of 2 feature rows are zero"):
        nearest(np.array([[1.0, 0], [0, 0]]), np.ones((2, 2)), 1)
    with pytest.raises(ValueError, match="one encoder"):
        nearest(np.ones((2, 3)), np.ones((2, 2)), 1)


def test_diversity_by_hand_and_of_all_pairs() -> None:
    found = copy_diversity(np.array([[1.0, 0], [0, 3], [5, 5], [2, 0], [7, 0]]), ["a", "a", "b", "c", "c"])
    assert found is not None and found.conditions == ["a", "c"] and found.values == pytest.approx([1, 0])
    x = draw(6, 6)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    pairs = [1 - unit[i] @ unit[j] for i in range(6) for j in range(i)]
    all_six = copy_diversity(x, ["a"] * 6)
    assert all_six is not None and all_six.values == pytest.approx([np.mean(pairs)])


def test_diversity_needs_two_copies_and_one_label_an_image() -> None:
    assert copy_diversity(draw(3, 7), ["a", "b", "c"]) is None
    with pytest.raises(ValueError, match="2 conditions for 3 images"):
        copy_diversity(draw(3, 7), ["a", "a"])
    with pytest.raises(ValueError, match="zero"):
        copy_diversity(np.zeros((2, 3)), ["a", "a"])
