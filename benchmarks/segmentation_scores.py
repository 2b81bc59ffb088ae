"""What Dice and IoU over 256 thresholds cost, beside a plain loop and PySODMetrics on the same maps.

    python benchmarks/segmentation_scores.py [--images 100] [--size 500] [--rounds 3] [--json FILE]

All sides get the same seeded maps and masks in this process, and every image's values are compared. A side's time is
the shortest of its rounds over all images; CPU seconds compare better on a machine that does other work too. The same
maps are then scored in every convention, to show how far one prediction's numbers lie apart.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import py_sod_metrics as sod
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ccbench.metrics.images.map_scores import map_scores
from ccbench.metrics.images.maps import PolypMap, as_saved, score_map, threshold_scores
from ccbench.metrics.images.mask_overlap import compare_masks
from ccbench.metrics.images.structure import structure_scores
from ccbench.types import Mask

Values = tuple[float, float]  # Dice, IoU
Side = Callable[[PolypMap, Mask], Values]


class Timed(NamedTuple):
    values: NDArray[np.float64]
    seconds: float
    cpu_seconds: float


def make_pair(size: int, seed: int) -> tuple[NDArray[np.float32], Mask]:
    """Return a soft map as of a sigmoid, and the mask that it mostly finds: a blob, or a few."""
    rng = np.random.default_rng(seed)
    polyp, error = (gaussian_filter(rng.normal(size=(size, size)), sigma) for sigma in (size / 12, size / 50))
    polyp, error = polyp / polyp.std(), error / error.std()
    level = np.quantile(polyp, rng.uniform(0.75, 0.97))  # 3 to 25 % of the image is polyp
    logits = 6 * (polyp - level) + 1.5 * error + rng.normal(0, 1)
    return (1 / (1 + np.exp(-logits))).astype(np.float32), polyp > level


def loop(predicted: PolypMap, wanted: Mask, count: Callable[[Mask], int]) -> Values:
    """Return what 256 comparisons say, as the MATLAB code and its ports are written."""
    values = predicted.astype(np.float64)
    values = (values - values.min()) / (values.max() - values.min())
    area = count(wanted)
    dice, iou = np.empty(256), np.empty(256)
    for place, threshold in enumerate(np.arange(255, -1, -1) / 255):
        marked = values >= threshold
        shared, total = count(marked & wanted), count(marked) + area
        dice[place], iou[place] = 2 * shared / total, shared / (total - shared)
    return float(dice.mean()), float(iou.mean())


def pysodmetrics(predicted: PolypMap, wanted: Mask) -> Values:
    dice, iou = (kind(with_dynamic=True, with_adaptive=False) for kind in (sod.DICEHandler, sod.IOUHandler))
    measure = sod.FmeasureV2({"dice": dice, "iou": iou})
    measure.step(predicted, wanted.astype(np.uint8) * np.uint8(255))
    found = measure.get_results()
    return float(found["dice"]["dynamic"].mean()), float(found["iou"]["dynamic"].mean())


def run_side(side: Side, maps: Sequence[PolypMap], masks: Sequence[Mask], rounds: int) -> Timed:
    taken = []
    for _ in range(rounds):
        wall, cpu = time.perf_counter(), time.process_time()
        values = [side(predicted, wanted) for predicted, wanted in zip(maps, masks, strict=True)]
        taken.append((time.perf_counter() - wall, time.process_time() - cpu))
    return Timed(np.array(values), min(t[0] for t in taken), min(t[1] for t in taken))


def compare(name: str, maps: Sequence[PolypMap], masks: Sequence[Mask], peers: dict[str, Side], rounds: int) -> Any:
    ours = run_side(threshold_scores, maps, masks, rounds)
    print(f"\n{name}: ms an image\n  {'ccbench, histogram':<34}{1000 * ours.cpu_seconds / len(maps):8.2f} CPU")
    rows = {"ccbench": {"ms": 1000 * ours.seconds / len(maps), "cpu_ms": 1000 * ours.cpu_seconds / len(maps)}}
    for peer, side in peers.items():
        theirs = run_side(side, maps, masks, rounds)
        apart = np.abs(theirs.values - ours.values).max(axis=1)
        row = {
            "ms": 1000 * theirs.seconds / len(maps),
            "cpu_ms": 1000 * theirs.cpu_seconds / len(maps),
            "ratio": theirs.seconds / ours.seconds,
            "cpu_ratio": theirs.cpu_seconds / ours.cpu_seconds,
            "largest_difference": float(apart.max()),
            "images_that_differ": int((apart > 1e-9).sum()),
        }
        rows[peer] = row
        print(
            f"  {peer:<34}{row['cpu_ms']:8.2f} CPU, {row['cpu_ratio']:5.1f} times as long (wall {row['ratio']:.1f}); "
            f"largest difference {row['largest_difference']:.1e}, {row['images_that_differ']} images above 1e-9"
        )
    return rows


def conventions(maps: Sequence[PolypMap], masks: Sequence[Mask]) -> dict[str, float | None]:
    """Return every convention's value of the same maps; mmsegmentation's pools and averages in the background."""
    found = {s.metric: s.value for s in map_scores([score_map(*p) for p in zip(maps, masks, strict=True)], "masks@0")}
    marked, wanted = (np.stack(part) for part in ([m >= 0.5 for m in maps], masks))
    both = [2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in ((marked, wanted), (~marked, ~wanted))]
    return {**found, "mmsegmentation's mDice": float(np.mean(both))}


def parts(maps: Sequence[PolypMap], masks: Sequence[Mask]) -> dict[str, float]:
    """Return the CPU milliseconds an image of what `score_map` is made of."""
    taken = {}
    for name, call in (
        ("256 thresholds", threshold_scores),
        ("Dice, IoU, HD95 at 0.5", lambda predicted, wanted: compare_masks(predicted >= 0.5, wanted)),
        ("PySODMetrics' S, E, weighted F, MAE", structure_scores),
    ):
        cpu = time.process_time()
        for predicted, wanted in zip(maps, masks, strict=True):
            call(predicted, wanted)
        taken[name] = 1000 * (time.process_time() - cpu) / len(maps)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--size", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    maps, masks = zip(*(make_pair(options.size, seed) for seed in range(options.images)), strict=True)
    saved = [as_saved(predicted) for predicted in maps]
    narrow = [(np.rint(85 * predicted) + 47).astype(np.uint8) for predicted in maps]
    loops: dict[str, Side] = {
        "plain loop, sums": partial(loop, count=lambda mask: int(mask.sum())),
        "plain loop, count_nonzero": partial(loop, count=np.count_nonzero),
    }
    both = {**loops, "PySODMetrics, FmeasureV2": pysodmetrics}
    found = {
        "saved": compare("8-bit maps, stretched as saved", saved, masks, both, options.rounds),
        "narrow": compare("8-bit maps of the levels 47 to 132", narrow, masks, both, options.rounds),
        "float32": compare("float32 maps", maps, masks, loops, options.rounds),
        "conventions": conventions(maps, masks),
        "parts": parts(maps, masks),
    }
    print("\nThe same maps in every convention")
    for metric, value in found["conventions"].items():
        print(f"  {metric:<24}{value:8.4f}")
    print("\nCPU ms an image of all scores")
    for name, taken in found["parts"].items():
        print(f"  {name:<40}{taken:8.1f}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
