"""Numbers of a segmentation table from hand-made cells: means, spreads, strata, tests and their correction."""

import numpy as np
import pandas as pd
import pytest

from ccbench.base.seeding import derive_seed
from ccbench.metrics.images.map_scores import MAP_METRICS
from ccbench.metrics.statistics.paired import across_seeds, compare_means
from ccbench.metrics.statistics.ranking import holm
from ccbench.segmenters.table_rows import BUDGETS, COPY_PASTE, BudgetName, Row
from ccbench.studies.segmentation.segmentation_results import (
    OVERALL,
    PRIMARY,
    STRATA,
    Finished,
    SegmentationTable,
    Value,
    tabulate,
)
from segmentation_cells import COLUMNS, finish, scores

REAL, TWICE, MIXED = Row("real"), Row("real-x2"), Row("mixed", "a")
A, B, FAR = [0.2, 0.4, 0.6], [1.0], [0.3, 0.5]


def table(
    cells: list[Finished], budgets: tuple[BudgetName, ...] = ("epochs",), own: tuple[str, ...] = ("a", "b")
) -> SegmentationTable:
    return tabulate(cells, "phantom-128", "hash", budgets, own)


def one_cell(seed: int = 0, less: float = 0.0, row: Row = REAL, segmenter: str = "S") -> Finished:
    """Test sets of 3, 1 and 2 images; the last is not the protocol's own."""
    sets = {"a": A, "b": B, "far": FAR}
    return finish(segmenter, row, seed, {name: scores([v - less for v in values]) for name, values in sets.items()})


def find(made: SegmentationTable, test: str, metric: str = PRIMARY, stratum: str = "all", row: str = "real") -> Value:
    (value,) = (v for v in made.values if (v.test, v.metric, v.stratum, v.row) == (test, metric, stratum, row))
    return value


def test_a_value_is_the_mean_over_seeds_of_the_mean_over_images() -> None:
    made = table([one_cell(0), one_cell(1, 0.1), one_cell(5, 0.2)])
    for metric in COLUMNS:
        value = find(made, "a", metric)
        assert value.seeds == pytest.approx({0: 0.4, 1: 0.3, 5: 0.2}) and value.n == 3
        assert (value.mean, value.spread) == pytest.approx((0.3, 0.1))
    few = find(made, "a")
    assert (few.low, few.high) == (None, None) and str(few.no_interval).startswith("3 clusters: too few")
    assert find(table([one_cell()]), "a").spread is None
    lone = find(made, "b")
    assert (lone.mean, lone.low, lone.high) == pytest.approx((0.9, None, None))


def test_overall_counts_each_image_of_the_own_sets_once() -> None:
    made = table([one_cell()])
    assert find(made, OVERALL).mean == pytest.approx((sum(A) + sum(B)) / 4) and find(made, OVERALL).n == 4
    assert find(made, "far").mean == pytest.approx(0.4) and made.tests == {"a": 3, "b": 1, "far": 2} and made.own == 2
    alone = table([one_cell()], own=("a",))
    assert OVERALL not in {value.test for value in alone.values}


def test_pooled_dice_adds_pixels_up_first() -> None:
    """Shared pixels 0, 1 and 2 of 10 each: 2 x 3 / 30; overall 0 more of 10 more. Without any pixel it is 1."""
    made = table([one_cell()])
    assert find(made, "a", "dice_pooled").mean == pytest.approx(6 / 30)
    assert find(made, OVERALL, "dice_pooled").mean == pytest.approx(6 / 40)
    empty = scores(A).assign(shared=0, areas=0)
    nothing = find(table([finish("S", REAL, 0, {"a": empty})], own=("a",)), "a", "dice_pooled")
    assert (nothing.mean, nothing.low) == (1.0, None)


def test_sizes_of_polyps_have_their_borders_and_an_empty_mask_has_none() -> None:
    shares = [0.0, 1e-6, 0.0499, 0.05, 0.1499, 0.15, 1.0]
    made = table([finish("S", REAL, 0, {"a": scores([0, 1, 2, 3, 4, 5, 6], shares)})], own=("a",))
    found = {name: (find(made, "a", PRIMARY, name).n, find(made, "a", PRIMARY, name).mean) for name in STRATA}
    assert found == {"small": (2, 1.5), "medium": (2, 3.5), "large": (2, 5.5)}
    assert {value.metric for value in made.values if value.stratum != "all"} == {PRIMARY}
    small = table([finish("S", REAL, 0, {"a": scores(A, [0.01] * 3)})], own=("a",))
    assert {value.stratum for value in small.values} == {"all", "small"}


def test_a_missing_package_leaves_its_metrics_out() -> None:
    lacking = ("s_measure", "e_measure_256", "weighted_f", "mae")
    cell = finish("S", REAL, 0, {"a": scores(A).assign(**dict.fromkeys(lacking, np.nan))})
    found = {value.metric for value in table([cell], own=("a",)).values}
    assert found == set(MAP_METRICS) - set(lacking)


def test_a_set_that_a_cell_was_tried_on_before_is_not_shown() -> None:
    cell = finish("S", REAL, 0, {"a": scores(A)}, known=("gone",))
    assert table([cell], own=("a",)).tests == {"a": 3}


def grid(row_gain: float = 0.1) -> list[Finished]:
    """Two seeds of each row; rows beside the baselines are better by about `row_gain`."""
    rng, found = np.random.default_rng(0), []
    base = rng.uniform(0.3, 0.8, 12)
    rows = (REAL, TWICE, Row("classic"), Row(COPY_PASTE, COPY_PASTE), MIXED, Row("synthetic-x2", "a"))
    for number, row in enumerate(rows):
        for seed in (0, 1):
            gain = row_gain * (number > 1) + 0.05 * (row == TWICE) + 0.002 * rng.normal(size=12) + 0.001 * seed
            found.append(finish("S", row, seed, {"a": scores(base + gain), "far": scores(base[:5] - gain[:5])}))
    return found


def test_rows_are_tested_against_the_baseline_of_each_of_their_budgets() -> None:
    cells = grid()
    made = table(cells, BUDGETS, own=("a",))
    pairs = {(one.row, one.budget, one.baseline) for one in made.comparisons}
    assert pairs == {
        ("classic", "epochs", "real"),
        ("real+copy-paste", "epochs", "real"),
        ("real+copy-paste", "steps", "real-x2"),
        ("real+a", "epochs", "real"),
        ("real+a", "steps", "real-x2"),
        ("a-x2", "steps", "real-x2"),
    }
    assert len(made.comparisons) == 6 * 2 and {one.paired.metric for one in made.comparisons} == {PRIMARY}
    by_name = {(cell.row.name, cell.record.plan.seed): cell.tables["a"][PRIMARY].to_numpy() for cell in cells}
    first, second = (np.stack([by_name[row, seed] for seed in (0, 1)]) for row in ("real+a", "real-x2"))
    (found,) = (one.paired for one in made.comparisons if (one.row, one.budget, one.test) == ("real+a", "steps", "a"))
    wanted = compare_means(first.mean(0), second.mean(0), derive_seed("segmentation", "a"))
    wanted = across_seeds(wanted, (first - second).mean(1).tolist())
    assert wanted.interval is not None
    assert (found.difference, found.p, found.low, found.high, found.effect, found.n) == pytest.approx(
        (wanted.value, wanted.p, wanted.interval.low, wanted.interval.high, wanted.effect, 12)
    )
    assert found.difference == pytest.approx(0.05, abs=0.005)


def test_holms_correction_goes_over_all_tests_of_the_table() -> None:
    made = table(grid(), BUDGETS, own=("a",))
    raw, corrected = ([getattr(one.paired, name) for one in made.comparisons] for name in ("p", "p_holm"))
    np.testing.assert_allclose(corrected, holm(raw), rtol=0, atol=0)
    assert max(corrected) <= 1 and any(c > p for c, p in zip(corrected, raw, strict=True))
    for one in (row_test.paired for row_test in made.comparisons):
        assert one.difference is not None and one.p_holm is not None
        assert one.outcome == ("not significant" if one.p_holm > 0.05 else "better" if one.difference > 0 else "worse")
    outcomes = {one.paired.outcome for one in made.comparisons}
    assert {"better", "worse"} <= outcomes
    same = table(grid(0.0)[:2] + grid(0.0)[4:6], own=("a",))
    assert {one.paired.outcome for one in same.comparisons} == {"not significant"}


def test_only_shared_seeds_are_paired_and_a_row_without_baseline_is_not_tested() -> None:
    cells = [one_cell(0), one_cell(1, 0.1), one_cell(1, 0.05, MIXED), one_cell(2, 0.9, MIXED)]
    made = table(cells, own=("a",))
    (found,) = (one.paired for one in made.comparisons if one.test == "a")
    assert found.difference == pytest.approx(0.05) and made.rows == {"real": ("epochs",), "real+a": ("epochs",)}
    assert not table([one_cell(0, 0.0, MIXED)]).comparisons
    assert not table(cells, ("steps",)).comparisons


def test_whole_videos_count_as_one() -> None:
    values = np.random.default_rng(0).random(8).repeat(4).tolist()
    spread = {}
    for name, clusters in (("frames", None), ("videos", [f"video {i // 4}" for i in range(32)])):
        value = find(table([finish("S", REAL, 0, {"a": scores(values, None, clusters)})], own=("a",)), "a")
        assert value.low is not None and value.high is not None and value.no_interval is None
        spread[name] = value.high - value.low
    assert spread["videos"] > 1.8 * spread["frames"]


def test_a_test_says_which_seeds_it_pairs_and_needs_one_in_common() -> None:
    made = table([one_cell(0), one_cell(1), one_cell(1, 0.05, MIXED), one_cell(2, 0.9, MIXED)], own=("a",))
    assert {one.paired.seeds for one in made.comparisons} == {((1, 1),)}
    assert not table([one_cell(0), one_cell(1, 0.05, MIXED)], own=("a",)).comparisons


def test_what_a_table_keeps_of_its_cells() -> None:
    made = table([one_cell(0), one_cell(0, 0.0, MIXED), one_cell(0, 0.0, REAL, "T")])
    assert made.segmenters == ("S", "T") and [cell.row for cell in made.cells] == ["real", "real+a", "real"]
    assert made.cells[1].synthetic_run == "a-seed0" and made.cells[1].steps == 16
    assert SegmentationTable.model_validate_json(made.model_dump_json()) == made
    assert not pd.isna([value.mean for value in made.values]).any()
