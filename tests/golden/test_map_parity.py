"""The histogram of maps against 256 comparisons, and against PySODMetrics on the same maps.

Origin of the expected values: a plain loop over the thresholds, written here as the definition has it, and
PySODMetrics run here. Counts of pixels are equal, so values differ by the rounding of one mean at most: 1e-12.
"""

import numpy as np
import py_sod_metrics as sod
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ccbench.metrics.images.maps import PolypMap, as_saved, score_map, threshold_scores
from ccbench.types import Mask

SIZES = [(37, 53), (64, 41), (101, 97)]


def make(size: tuple[int, int], seed: int) -> tuple[NDArray[np.float64], Mask]:
    """Return a soft map in 0..1 and a mask that it finds roughly."""
    rng = np.random.default_rng(seed)
    wanted, noise = (gaussian_filter(rng.normal(size=size), sigma) for sigma in (8, 2))
    wanted, noise = wanted / wanted.std(), noise / noise.std()
    return 1 / (1 + np.exp(-3 * (wanted - 0.8) - noise)), wanted > 0.8


def plain_loop(predicted: PolypMap, wanted: Mask) -> tuple[float, float]:
    values = predicted.astype(np.float64)
    values = (values - values.min()) / (values.max() - values.min())
    dice, iou = [], []
    for number in range(255, -1, -1):
        marked = values >= number / 255
        shared, areas = (marked & wanted).sum(), marked.sum() + wanted.sum()
        dice.append(2 * shared / areas)
        iou.append(shared / (areas - shared))
    return float(np.mean(dice)), float(np.mean(iou))


def on_thresholds(values: NDArray[np.float64], kind: type) -> PolypMap:
    """Return values moved onto k/255, next to it, or half of it: where one bit decides."""
    edges = np.rint(values * 255) / 255
    return np.choose(
        np.arange(values.size).reshape(values.shape) % 3, [edges, np.nextafter(edges, 0), edges / 2]
    ).astype(kind)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("size", SIZES)
def test_the_histogram_is_the_loop(kind: type, size: tuple[int, int]) -> None:
    values, wanted = make(size, 1)
    noise = np.random.default_rng(2).random(size)
    for part in (values, noise, 0.3 + values / 7):
        maps = (
            [np.rint(255 * part).astype(kind)] if kind is np.uint8 else [part.astype(kind), on_thresholds(part, kind)]
        )
        for predicted in maps:
            assert threshold_scores(predicted, wanted) == pytest.approx(plain_loop(predicted, wanted), abs=1e-12)


def test_a_product_decides_as_a_comparison_does() -> None:
    """What the histogram relies on: x >= k / 255 exactly where 255 x >= k, since products keep their order."""
    numbers = np.arange(256)
    assert np.array_equal(numbers / 255 * 255, numbers)
    assert (np.nextafter(numbers / 255, -1) * 255 < numbers).all()


def test_the_neighbours_of_every_threshold() -> None:
    """k/255 and the float64 numbers beside it, in a map of 0..1, which no stretching moves: one bit decides."""
    thresholds = np.arange(256) / 255
    beside = [np.nextafter(thresholds, 0), thresholds, np.minimum(np.nextafter(thresholds, 2), 1)]
    for predicted in (np.stack(beside), np.stack(beside[:2])):
        for wanted in (predicted > 0.4, np.arange(predicted.size).reshape(predicted.shape) % 5 < 2):
            assert threshold_scores(predicted, wanted) == pytest.approx(plain_loop(predicted, wanted), abs=1e-12)


def test_every_pair_of_lowest_and_highest_level() -> None:
    """(r - min) / (max - min) meets k/255 exactly for many of these: each level of all 8-bit maps, on its own."""
    levels = np.arange(256, dtype=np.uint8)
    for low in range(0, 250, 13):
        for high in range(low + 1, 256, 11):
            predicted = levels[None, low : high + 1]
            wanted = predicted % 3 == 0
            assert threshold_scores(predicted, wanted) == pytest.approx(plain_loop(predicted, wanted), abs=1e-12)


def over_thresholds(predicted: NDArray[np.uint8], wanted: Mask) -> tuple[float, float]:
    handlers = {name: kind(with_dynamic=True, with_adaptive=False) for name, kind in HANDLERS.items()}
    measure = sod.FmeasureV2(handlers)
    measure.step(predicted, wanted.astype(np.uint8) * np.uint8(255))
    found = measure.get_results()
    return found["dice"]["dynamic"].mean(), found["iou"]["dynamic"].mean()


HANDLERS = {"dice": sod.DICEHandler, "iou": sod.IOUHandler}


@pytest.mark.parametrize("size", SIZES)
def test_pysodmetrics_on_saved_maps(size: tuple[int, int]) -> None:
    values, wanted = make(size, 3)
    for part in (values, np.random.default_rng(4).random(size)):
        saved = as_saved(part)
        expected = over_thresholds(saved, wanted)
        assert threshold_scores(saved, wanted) == pytest.approx(expected, abs=1e-12)
        assert threshold_scores(part, wanted, png=True) == pytest.approx(expected, abs=1e-12)


def test_where_pysodmetrics_differs() -> None:
    """Levels 47..132 stretch to 3 k / 255. It divides by 255 before it stretches, and 73 of the 86 fall short by a bit.

    It also leaves a constant map at its level, and has 0 where map and mask are both empty.
    """
    predicted = np.arange(47, 133, dtype=np.uint8)[None, :]
    wanted = predicted > 90
    ours, theirs = threshold_scores(predicted, wanted), over_thresholds(predicted, wanted)
    assert ours == pytest.approx(plain_loop(predicted, wanted), abs=1e-12)
    assert 1e-5 < abs(ours.dice - theirs[0]) < 0.01
    full = np.full((4, 4), 255, np.uint8)
    assert over_thresholds(full, full > 0) == (1, 1) and threshold_scores(full, full > 0).dice == 1 / 256
    assert over_thresholds(full * 0, full == 0) == (0, 0) and threshold_scores(full * 0, full == 0).dice == 255 / 256


@pytest.mark.parametrize("size", SIZES)
def test_structure_scores_are_pysodmetrics_own(size: tuple[int, int]) -> None:
    values, wanted = make(size, 5)
    saved, grey = as_saved(values), wanted.astype(np.uint8) * np.uint8(255)
    measures = [sod.Smeasure(), sod.Emeasure(), sod.WeightedFmeasure(), sod.MAE()]
    for measure in measures:
        measure.step(saved, grey)
    s, e, f, mae = (measure.get_results() for measure in measures)
    expected = (s["sm"], e["em"]["curve"].mean(), f["wfm"], mae["mae"])
    for predicted, png in ((saved, False), (values, True)):
        assert score_map(predicted, wanted, png=png).structure == pytest.approx(expected, abs=1e-12)
    # Unrounded, a level moves by at most half a step of 255; E by the pixels that this takes across a threshold.
    assert score_map(values, wanted).structure == pytest.approx(expected, abs=0.5 / 255)
