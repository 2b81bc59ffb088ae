"""Mask fidelity: figures drawn so that every score is a closed form, and HD95 against all pairs of pixels."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from ccbench.metrics.images.mask_overlap import MaskScores, compare_masks, surface_distance
from ccbench.types import Mask

NOTHING = np.zeros((60, 80), np.bool_)  # diagonal 100


def box(top: int, left: int, height: int, width: int) -> Mask:
    mask = NOTHING.copy()
    mask[top : top + height, left : left + width] = True
    return mask


def test_a_moved_square_by_hand() -> None:
    """20 x 20, moved by 5: 300 pixels shared of 500, and the outlines lie 5 pixels apart at most."""
    found = compare_masks(box(20, 25, 20, 20), box(20, 20, 20, 20))
    assert found == MaskScores(600 / 800, 300 / 500, 5.0, 0.0, 0.0, 0)


def test_equal_masks_and_both_empty() -> None:
    for mask in (box(3, 4, 10, 20), NOTHING):
        assert compare_masks(mask, mask) == MaskScores(1, 1, 0, 0, 0, 0)


def test_one_empty_mask_costs_the_most_of_everything() -> None:
    polyp = box(10, 10, 20, 20)
    assert compare_masks(NOTHING, polyp) == MaskScores(0, 0, 100, -1, 1, 0)
    assert compare_masks(polyp, NOTHING) == MaskScores(0, 0, 100, 1, 0, 1)


def test_area_error_is_signed_symmetric_and_one_third_at_twice_the_area() -> None:
    large, small = box(10, 10, 20, 20), box(10, 10, 20, 10)
    assert compare_masks(large, small).area_error == pytest.approx(1 / 3)
    assert compare_masks(small, large).area_error == pytest.approx(-1 / 3)


def test_missing_and_hallucinated_polyps() -> None:
    wanted = box(5, 5, 10, 10) | box(40, 5, 10, 10) | box(5, 60, 10, 10) | box(40, 60, 10, 10)
    predicted = box(5, 5, 10, 10) | box(40, 5, 1, 10) | box(5, 60, 2, 10) | box(25, 30, 5, 5)
    found = compare_masks(predicted, wanted)
    assert found.missing == 2 / 4  # one tenth of a polyp is not enough, two tenths are
    assert found.hallucinated == 1
    assert compare_masks(wanted | box(52, 60, 1, 4), wanted).hallucinated == 0  # 4 of 4,800 pixels are a speck
    assert compare_masks(wanted | box(52, 60, 1, 5), wanted).hallucinated == 1
    assert compare_masks(box(5, 5, 10, 10), box(5, 5, 10, 10) | box(30, 30, 1, 1)).missing == 0  # a speck in the mask
    assert compare_masks(NOTHING, box(30, 30, 1, 1)).missing == 1  # but for a mask that is nothing else


def test_components_touch_by_corners() -> None:
    wanted = box(10, 10, 5, 5) | box(15, 15, 5, 5)
    assert compare_masks(box(10, 10, 5, 5), wanted).missing == 0  # half of one polyp, and no second one


@pytest.mark.parametrize("seed", range(5))
def test_surface_distance_is_that_of_all_pairs(seed: int) -> None:
    """The outline is found by looking at four neighbours, the distances by all pairs; tolerance of float64."""
    rng = np.random.default_rng(seed)
    a, b = (rng.random((17, 23)) < share for share in (0.3, 0.7))

    def outline(mask: Mask) -> np.ndarray:
        wide = np.pad(mask, 1)
        inner = wide[:-2, 1:-1] & wide[2:, 1:-1] & wide[1:-1, :-2] & wide[1:-1, 2:]
        return np.argwhere(mask & ~inner)

    distances = cdist(outline(a), outline(b))
    pooled = np.concatenate([distances.min(axis=0), distances.min(axis=1)])
    assert surface_distance(a, b) == pytest.approx(np.percentile(pooled, 95), rel=1e-12)
    assert surface_distance(a, b, 100) == surface_distance(b, a, 100) == pytest.approx(pooled.max(), rel=1e-12)


def test_masks_that_do_not_fit_are_refused() -> None:
    for other in (np.zeros((60, 79), np.bool_), np.zeros((60, 80), np.uint8), np.zeros(60, np.bool_)):
        with pytest.raises(ValueError, match="wanted two boolean"):
            compare_masks(NOTHING, other)
    with pytest.raises(ValueError, match="no outline"):
        surface_distance(NOTHING, box(1, 1, 2, 2))
