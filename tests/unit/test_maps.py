"""Scores of maps: 4 x 4 cases by hand, what is empty or full, and the sums over a set."""

import numpy as np
import pytest

import ccbench.metrics.images.structure
from ccbench.metrics import METRICS, metric_info
from ccbench.metrics.images.map_scores import MAP_METRICS, map_columns, map_scores
from ccbench.metrics.images.maps import MapScores, PolypMap, as_saved, at_half, score_map, threshold_scores
from ccbench.metrics.images.structure import structure_scores
from ccbench.metrics.statistics.influence import mean_shares
from ccbench.tables.format import format_value
from ccbench.types import Mask

TOP = np.repeat([[True], [False], [False], [False]], 4, axis=1)  # (4, 4), the first row is polyp
NOTHING, ALL = np.zeros((4, 4), np.bool_), np.ones((4, 4), np.bool_)
TINY = 1e-12  # rounding of a mean of 256 numbers


def rows(*levels: float, dtype: type = np.uint8) -> PolypMap:
    """Return a (4, 4) map whose rows have one level each."""
    return np.repeat(np.array(levels, dtype=dtype)[:, None], 4, axis=1)


def test_a_perfect_two_valued_map_loses_what_the_lowest_threshold_marks() -> None:
    """255 thresholds mark the mask; t = 0 marks all 16 pixels: Dice 2 x 4 / (16 + 4), IoU 4 / 16."""
    for predicted in (rows(255, 0, 0, 0), rows(1, 0, 0, 0, dtype=np.float32), rows(9, 2, 2, 2)):
        found = threshold_scores(predicted, TOP)
        assert found.dice == pytest.approx((255 + 8 / 20) / 256, abs=TINY)
        assert found.iou == pytest.approx((255 + 4 / 16) / 256, abs=TINY)
    found = threshold_scores(TOP.repeat(125, 0).repeat(125, 1).astype(np.uint8), TOP.repeat(125, 0).repeat(125, 1))
    assert found.dice == pytest.approx((255 + 8 / 20) / 256, abs=TINY)  # shares count, pixels do not


def test_a_soft_map_by_hand() -> None:
    """Rows of 255, 102, 51, 0 and the first is polyp.

    t of 255..103: 1 row, Dice 1, IoU 1. 102..52: 2 rows, 8/12 and 4/8. 51..1: 3 rows, 8/16 and 4/12. 0: 8/20 and 4/16.
    At 0.5 the first row alone is marked.
    """
    found = score_map(rows(255, 102, 51, 0), TOP)
    assert found.dice_256 == pytest.approx((153 + 51 * 2 / 3 + 51 / 2 + 0.4) / 256, abs=TINY)
    assert found.iou_256 == pytest.approx((153 + 51 / 2 + 51 / 3 + 0.25) / 256, abs=TINY)
    assert (found.dice, found.iou, found.hd95, found.shared, found.areas) == (1, 1, 0, 4, 8)


def test_256_thresholds_stretch_a_map_and_half_does_not() -> None:
    """Rows of 200, 140, 110, 80 become 1, 0.5, 0.25, 0.

    t of 255..128: 1 row. 127..64: 2 rows, since 127/255 < 0.5. 63..1: 3 rows. At 0.5, which is 128, two rows are
    marked: Dice 8/12, IoU 4/8; of the 12 pixels of both outlines 8 lie at distance 0 and 4 at 1, so HD95 is 1.
    """
    found = score_map(rows(200, 140, 110, 80), TOP)
    assert found.dice_256 == pytest.approx((128 + 64 * 2 / 3 + 63 / 2 + 0.4) / 256, abs=TINY)
    assert (found.dice, found.iou, found.hd95, found.shared, found.areas) == (pytest.approx(2 / 3), 0.5, 1, 4, 12)
    same = threshold_scores(rows(0.9, 0.6, 0.45, 0.3, dtype=np.float64), TOP)
    assert same.dice == pytest.approx(found.dice_256, abs=TINY)


def test_half_is_marked_as_float_and_as_128() -> None:
    assert at_half(np.array([[0.5, np.nextafter(0.5, 0)]])).tolist() == [[True, False]]
    assert at_half(np.array([[128, 127]], dtype=np.uint8)).tolist() == [[True, False]]


@pytest.mark.parametrize("level", [0, 1, 128, 255])
def test_a_constant_map_is_marked_by_the_lowest_threshold_alone(level: int) -> None:
    """One threshold of 256 marks all 16 pixels; nothing is shared at the others, or both are empty, which agrees."""
    predicted = rows(*[level] * 4)
    assert threshold_scores(predicted, TOP) == pytest.approx((8 / 20 / 256, 4 / 16 / 256), abs=TINY)
    assert threshold_scores(predicted, NOTHING) == pytest.approx((255 / 256, 255 / 256), abs=TINY)
    assert threshold_scores(predicted, ALL) == pytest.approx((1 / 256, 1 / 256), abs=TINY)


def test_empty_and_full_predictions_and_masks_at_half() -> None:
    """As `compare_masks`: two empty masks agree; one empty mask has the image's diagonal, sqrt(32), as HD95."""
    empty, full, diagonal = rows(0, 0, 0, 0), rows(255, 255, 255, 255), pytest.approx(32**0.5)
    assert score_map(empty, TOP)[2:7] == (0, 0, diagonal, 0, 4)
    assert score_map(full, TOP)[2:7] == (8 / 20, 4 / 16, 3, 4, 20)
    assert score_map(full, ALL)[2:7] == (1, 1, 0, 16, 32)
    assert score_map(empty, NOTHING)[2:7] == (1, 1, 0, 0, 0)
    assert score_map(full, NOTHING)[2:7] == (0, 0, diagonal, 0, 16)
    soft = threshold_scores(rows(3, 2, 1, 0), NOTHING)
    assert soft == (0, 0)  # every threshold marks at least the highest pixel


def test_saved_maps_are_stretched_and_rounded() -> None:
    """255 (r - 0.2) / (0.6 - 0.2) of 0.6, 0.3, 0.201, 0.2 = 255, 63.75, 0.6375, 0."""
    saved = as_saved(rows(0.6, 0.3, 0.201, 0.2, dtype=np.float32))
    assert saved[:, 0].tolist() == [255, 64, 1, 0] and saved.dtype == np.uint8
    assert as_saved(rows(0.7, 0.7, 0.7, 0.7, dtype=np.float64)).max() == 0
    every = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(as_saved(every), every) and np.array_equal(as_saved(every // 2 + 10), as_saved(every // 2))
    # Without: t up to 63. With: 64/255 too, and 0.201 is marked at 1/255 where 0.0025 < 1/255 was not.
    plain, png = (threshold_scores(rows(0.6, 0.3, 0.201, 0.2, dtype=np.float64), TOP, png=png) for png in (False, True))
    assert plain.dice == pytest.approx((192 + 63 * 2 / 3 + 0.4) / 256, abs=TINY)
    assert png.dice == pytest.approx((191 + 63 * 2 / 3 + 1 / 2 + 0.4) / 256, abs=TINY)
    assert score_map(rows(0.4, 0.1, 0, 0, dtype=np.float64), TOP, png=True).dice == 0  # never stretched at 0.5


@pytest.mark.parametrize(
    ("predicted", "wanted", "message"),
    [
        (np.zeros((4, 5)), TOP, r"map is \(4, 5\), its mask \(4, 4\)"),
        (np.zeros((4, 4, 1)), TOP, r"wanted two \(H, W\)"),
        (np.zeros((0, 4)), np.zeros((0, 4), np.bool_), r"\(0, 4\)"),
        (np.zeros((4, 4), np.int64), TOP, "map is int64"),
        (np.zeros((4, 4)), TOP.astype(np.uint8), "its mask uint8"),
        (rows(1, 0, np.nan, 0, dtype=np.float64), TOP, "nan"),
        (rows(1.001, 0, 0, 0, dtype=np.float32), TOP, "to 1.00"),
        (rows(1, -0.5, 0, 0, dtype=np.float32), TOP, "from -0.5"),
    ],
)
def test_what_is_no_map_is_refused(predicted: PolypMap, wanted: Mask, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score_map(predicted, wanted)


def test_structure_scores_of_what_is_known() -> None:
    """A perfect map: S 1, weighted F 1, MAE 0; E is 16/15 at 255 thresholds, which is its own (pixels - 1).

    An empty mask: S 1 - mean, weighted F 0. Tolerance: its eps of 2e-16 in denominators.
    """
    perfect = structure_scores(rows(0, 255, 0, 0), np.roll(TOP, 1, axis=0))
    assert perfect is not None
    assert (perfect.s_measure, perfect.weighted_f, perfect.mae) == pytest.approx((1, 1, 0), abs=1e-9)
    assert 255 / 256 * 16 / 15 < perfect.e_measure_256 < 16 / 15
    empty = structure_scores(rows(1, 0.5, 0, 0, dtype=np.float32), NOTHING)
    assert empty is not None and (empty.s_measure, empty.weighted_f, empty.mae) == pytest.approx((0.625, 0, 0.375))
    constant = structure_scores(rows(0.5, 0.5, 0.5, 0.5, dtype=np.float64), NOTHING)  # stays at its level
    assert constant is not None and (constant.s_measure, constant.mae) == pytest.approx((0.5, 0.5))


def test_s_measure_of_a_mask_in_the_last_row_is_finite() -> None:
    found = structure_scores(rows(0, 0, 0, 255), TOP[::-1])
    assert found is not None and found.s_measure == pytest.approx(1, abs=1e-9)


def scored() -> list[MapScores]:
    return [
        score_map(rows(255, 140, 0, 0), TOP),  # 4 shared, areas 8 + 4
        score_map(rows(0, 0, 0, 200), TOP),  # 0 shared, 4 + 4
        score_map(rows(255, 0, 0, 0), TOP),  # 4 shared, 4 + 4
    ]


def test_scores_of_a_set_are_means_but_the_pooled_one() -> None:
    found = {score.metric: score for score in map_scores(scored(), "masks@0")}
    assert list(found) == list(MAP_METRICS) == [n for n, info in METRICS.items() if info.group == "segmentation"]
    assert found["mDice_0.5"].value == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert found["dice_pooled"].value == pytest.approx(2 * 8 / 28)
    assert all(score.n == 3 and score.value is not None for score in found.values())
    assert all(str(score.no_interval).startswith("3 clusters: too few") for score in found.values())
    columns = map_columns(scored())
    assert set(columns) == set(MAP_METRICS) - {"dice_pooled"}
    for metric, values in columns.items():
        assert found[metric].value == values.mean()
    many = {score.metric: score for score in map_scores(scored() * 4, "masks@0")}
    for metric, values in map_columns(scored() * 4).items():
        assert many[metric].interval == mean_shares(values).interval().interval


def test_the_pooled_interval_is_the_means_where_all_areas_are_equal() -> None:
    """sum(2 shared) / sum(areas) of equal areas is the mean of Dice, and so are both without a cluster."""
    same = [row._replace(areas=8) for row in scored() * 4]
    pooled = next(score for score in map_scores(same, "masks@0") if score.metric == "dice_pooled")
    wanted = mean_shares(np.array([2 * row.shared / 8 for row in same])).interval().interval
    assert wanted is not None and pooled.interval is not None
    assert (pooled.interval.low, pooled.interval.high) == pytest.approx((wanted.low, wanted.high), abs=1e-12)


def test_sets_without_polyps_images_or_independent_images() -> None:
    nothing = [score_map(rows(0, 0, 0, 0), NOTHING)] * 2
    pooled = {score.metric: score for score in map_scores(nothing, "masks@0")}["dice_pooled"]
    assert (pooled.value, pooled.interval) == (1, None)
    assert all((score.value, score.reason) == (None, "there is no map") for score in map_scores([], "masks@0"))
    assert all(score.interval is None for score in map_scores(scored(), "masks@0", ["video"] * 3))


def test_signatures_say_the_convention() -> None:
    plain, png = (map_scores(scored(), "masks@0", png=png) for png in (False, True))
    assert plain[0].signature == "mDice_256|map:stretched|thresholds:256|png:no|n:3|ref:masks@0|v:1"
    assert png[0].signature == "mDice_256|map:stretched|thresholds:256|png:yes|n:3|ref:masks@0|v:1"
    differ = {one.metric for one, other in zip(plain, png, strict=True) if one.signature != other.signature}
    assert differ == {"mDice_256", "mIoU_256", "s_measure", "e_measure_256", "weighted_f", "mae"}


def test_without_pysodmetrics_its_scores_are_null_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ccbench.metrics.images.structure, "_library", lambda: None)
    found = {score.metric: score for score in map_scores(scored(), "masks@0")}
    reasons = {metric: score.reason for metric, score in found.items() if score.value is None}
    assert set(reasons) == {"s_measure", "e_measure_256", "weighted_f", "mae"}
    assert all(reason and "pip install 'ccbench[segmentation]'" in reason for reason in reasons.values())
    assert np.isnan(map_columns(scored())["mae"]).all()


def test_shares_of_segmenters_are_printed_as_in_papers() -> None:
    assert format_value("mDice_256", 0.8976) == "0.898" and format_value("hd95", 12.344) == "12.34"
    assert metric_info("hd95").direction == metric_info("mae").direction == "down"
