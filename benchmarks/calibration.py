"""Do intervals cover what they promise, and are p-values uniform where there is no difference? On simulated features.

Gaussian features with a power-law spectrum, in videos whose frames share half of their variance; two methods share each
condition's part. Prints one line a test: share of 95 % intervals that hold the true value, and the Kolmogorov-Smirnov p
of the p-values against the uniform distribution.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, get_args

import numpy as np
from scipy import stats

from ccbench.metrics.sets.kernel import CUBIC, GAUSSIAN, Kernel
from ccbench.metrics.sets.kernel_permutation import permutation_test
from ccbench.metrics.sets.manifold import ImageFamily, RealFamily
from ccbench.metrics.sets.manifold_influence import ManifoldShares
from ccbench.metrics.statistics.influence import frechet_shares, kernel_shares, mean_shares, ratio_shares
from ccbench.metrics.statistics.paired import (
    Difference,
    across_seeds,
    compare_frechet,
    compare_kernel,
    compare_manifold,
    compare_means,
)
from ccbench.types import Interval

Array = np.ndarray


class Result(NamedTuple):
    """One simulation: what was estimated, its interval, and the p-value of no difference."""

    value: float
    interval: Interval | None
    p: float | None


def draw(rng: np.random.Generator, n: int, width: int, noise: float = 1.0) -> Array:
    """Return features (n, width) whose spread falls as a power of the feature's number."""
    return np.asarray(rng.normal(size=(n, width)) * np.arange(1.0, width + 1) ** -0.5 * noise)


def methods(rng: np.random.Generator, n: int, width: int, noises: tuple[float, float]) -> list[Array]:
    """Return features of two methods that share each condition's part."""
    common = draw(rng, n, width)
    return [common + draw(rng, n, width, noise) for noise in noises]


def of(difference: Difference) -> Result:
    """Return what a simulation keeps of a paired test."""
    return Result(difference.value, difference.interval, difference.p)


def frechet(noises: tuple[float, float], n: int, m: int, width: int) -> Callable[[np.random.Generator], Result]:
    """Return a simulation of the paired Frechet test."""
    return lambda rng: of(
        compare_frechet(*methods(rng, n, width, noises), draw(rng, m, width, 1.6), int(rng.integers(2**31)), None, 99)
    )


def kernel(which: Kernel, noises: tuple[float, float], n: int, m: int, width: int) -> Callable[..., Result]:
    """Return a simulation of the paired kernel test."""
    return lambda rng: of(
        compare_kernel(
            *methods(rng, n, width, noises), draw(rng, m, width, 1.6) + 0.2, which, int(rng.integers(2**31)), None, 499
        )
    )


def permuted(which: Kernel) -> Callable[[np.random.Generator], Result]:
    """Return a simulation of the permutation test of two samples of one distribution."""

    def once(rng: np.random.Generator) -> Result:
        found = permutation_test(draw(rng, 40, 30), draw(rng, 80, 30), which, int(rng.integers(2**31)), 499)
        return Result(0.0, None, found.p)

    return once


def means(clusters: int) -> Callable[[np.random.Generator], Result]:
    """Return a simulation of the paired test of means, in clusters of three frames that share a part."""

    def once(rng: np.random.Generator) -> Result:
        values = rng.standard_t(5, size=clusters).repeat(3) + rng.normal(size=3 * clusters)
        labels = np.repeat(range(clusters), 3).tolist()
        return of(compare_means(values, 0 * values, int(rng.integers(2**31)), labels, 999))

    return once


def draw_videos(rng: np.random.Generator, sizes: Array, width: int) -> Array:
    """Return features of frames, half of whose variance is that of their video."""
    return np.sqrt(0.5) * (draw(rng, len(sizes), width).repeat(sizes, axis=0) + draw(rng, int(sizes.sum()), width))


def labels_of(sizes: Array) -> list[int]:
    """Return the number of each frame's video."""
    return list(np.repeat(range(len(sizes)), sizes))


Sizes = Callable[[np.random.Generator], tuple[Array, Array]]
"""Draws the number of frames in each video of the test set and of the reference."""


def alone(n: int, m: int) -> Sizes:
    """Return sizes of sets whose images all stand alone."""
    return lambda rng: (np.ones(n, dtype=int), np.ones(m, dtype=int))


def equal(n: int, m: int, frames: int) -> Sizes:
    """Return sizes of n and m videos of equal length."""
    return lambda rng: (np.full(n, frames), np.full(m, frames))


def uneven(n: int, m: int, most: int) -> Sizes:
    """Return sizes of n and m videos of 1 to `most` frames."""
    return lambda rng: (rng.integers(1, most + 1, size=n), rng.integers(1, most + 1, size=m))


def mixed(rng: np.random.Generator) -> tuple[Array, Array]:
    """Return sizes as of a mixed data set: most images alone, some in a few long videos."""
    return np.array([1] * 60 + [10] * 4), np.array([1] * 90 + [10] * 6)


def single(sizes: Sizes, shift: float, scale: float, width: int = 32) -> Callable[..., dict[str, Result]]:
    """Return a simulation of every interval of a single score."""
    families: tuple[ImageFamily | RealFamily, ...] = (*get_args(ImageFamily), *get_args(RealFamily))

    def once(rng: np.random.Generator) -> dict[str, Result]:
        n, m = sizes(rng)
        x, y = draw_videos(rng, n, width), draw_videos(rng, m, width)
        x = x * scale + shift * np.arange(1.0, width + 1) ** -0.5
        groups = np.array(labels_of(n)), np.array(labels_of(m))
        manifold = ManifoldShares(x, y, *groups)
        distances = {
            "fd": frechet_shares(x, y, *groups),
            "kid": kernel_shares(x, y, *groups, CUBIC),
            "cmmd": kernel_shares(x, y, *groups, GAUSSIAN),
            **{family: manifold.of(family) for family in families},
        }
        found = {name: Result(one.value, one.interval().interval, None) for name, one in distances.items()}
        shown, skewed = x[:, 0], np.exp(x[:, 0])
        for name, shares in (
            ("mean", mean_shares(shown, labels_of(n))),
            ("mean of skewed values", mean_shares(skewed, labels_of(n))),
            ("ratio of sums", ratio_shares(skewed, skewed + 1 + x[:, 1] ** 2, labels_of(n))),
        ):
            found[name] = Result(shares.value, shares.interval().interval, None)
        return found

    return once


def paired(sizes: Sizes, noises: tuple[float, float], width: int = 32) -> Callable[..., dict[str, Result]]:
    """Return a simulation of every interval and p-value of two methods' difference, in videos."""

    def once(rng: np.random.Generator) -> dict[str, Result]:
        n, m = sizes(rng)
        common, y = draw_videos(rng, n, width), 1.4 * draw_videos(rng, m, width)
        a, b = (common + draw_videos(rng, n, width) * noise for noise in noises)
        seed, of_x, of_y = int(rng.integers(2**31)), labels_of(n), labels_of(m)
        found = {
            "fd": of(compare_frechet(a, b, y, seed, of_x, 99, of_y)),
            "kid": of(compare_kernel(a, b, y, CUBIC, seed, of_x, 499, of_y)),
            "mean": of(compare_means(a[:, 0] ** 2, b[:, 0] ** 2, seed, of_x, 499)),
        }
        for family in (*get_args(ImageFamily), *get_args(RealFamily)):
            found[family] = of(compare_manifold(a, b, y, family, seed, of_x, 99, of_y))
        return found

    return once


def trainings(between: float) -> Callable[[np.random.Generator], Result]:
    """Return a simulation of three trainings a method: conditions, trainings and single images move the difference."""

    def once(rng: np.random.Generator) -> Result:
        values = between * rng.normal(size=(3, 1)) + rng.normal(size=100) + rng.normal(size=(3, 100))
        given = compare_means(values.mean(axis=0), np.zeros(100), 0, None, 1)
        return of(across_seeds(given, values.mean(axis=1).tolist()))

    return once


class Case(NamedTuple):
    """A line of the table, or one for each name that a simulation returns.

    `truth`: None = the mean of the simulations, for values that are biased by design.
    """

    name: str
    simulate: Callable[[np.random.Generator], Result | Mapping[str, Result]]
    truth: float | None = 0.0
    null: bool = True
    share: float = 1.0


def cases() -> Iterator[Case]:
    """Yield what is calibrated."""
    yield Case("permutation test, KID", permuted(CUBIC))
    yield Case("permutation test, CMMD", permuted(GAUSSIAN))
    yield Case("compare_means, 60 clusters of 3", means(60))
    yield Case("compare_means, 20 clusters of 3", means(20))
    for name, sizes in (
        ("100 x 150 images", alone(100, 150)),
        ("20 x 30 videos of 5", equal(20, 30, 5)),
        ("20 x 30 videos of 1-9", uneven(20, 30, 9)),
        ("40 x 60 videos of 3", equal(40, 60, 3)),
        ("60 x 90 images and 4 x 6 videos of 10", mixed),
    ):
        yield Case(f"unequal, {name}", single(sizes, 0.5, 0.8), None, False, 0.4)
        yield Case(f"equal, {name}", single(sizes, 0.0, 1.0), None, False, 0.4)
    yield Case("difference, equal, 20 x 30 videos of 4", paired(equal(20, 30, 4), (1.0, 1.0)), 0.0, True, 0.2)
    yield Case("difference, unequal, 20 x 30 videos of 4", paired(equal(20, 30, 4), (0.8, 1.2)), None, False, 0.2)
    yield Case("difference, unequal, 40 x 60 videos of 2", paired(equal(40, 60, 2), (0.8, 1.2)), None, False, 0.2)
    for name, noises, null in (
        ("equal", (1.0, 1.0), True),
        ("unequal", (0.85, 1.15), False),
        ("far", (0.5, 2.0), False),
    ):
        truth = 0.0 if null else None
        yield Case(f"compare_frechet, {name}, 40 x 80, 60 features", frechet(noises, 40, 80, 60), truth, null, 0.5)
        yield Case(f"compare_kernel KID, {name}, 40 x 80", kernel(CUBIC, noises, 40, 80, 60), truth, null)
        yield Case(f"compare_kernel CMMD, {name}, 40 x 80", kernel(GAUSSIAN, noises, 40, 80, 60), truth, null)
    yield Case("compare_frechet, equal, 80 x 200, 200 features", frechet((1.0, 1.0), 80, 200, 200), 0.0, True, 0.2)
    yield Case(
        "compare_frechet, unequal, 80 x 200, 200 features", frechet((0.85, 1.15), 80, 200, 200), None, False, 0.2
    )
    for between in (0.0, 0.1, 1.0):
        yield Case(f"across_seeds, 3 trainings, spread {between} between them", trainings(between))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=1000)
    parser.add_argument("--only", default="", help="cases whose name holds this")
    args = parser.parse_args()
    print("| test | simulations | 95 % intervals that cover | KS p of the p-values |\n|---|---:|---:|---:|")
    for case in cases():
        if args.only not in case.name:
            continue
        rng = np.random.default_rng(0)
        found = [case.simulate(rng) for _ in range(max(20, round(args.simulations * case.share)))]
        if isinstance(found[0], Result):
            _print(case, case.name, [one for one in found if isinstance(one, Result)])
        else:
            several = [one for one in found if not isinstance(one, Result)]
            for name in several[0]:
                _print(case, f"{name}, {case.name}", [one[name] for one in several])


def _print(case: Case, name: str, results: list[Result]) -> None:
    truth = float(np.mean([one.value for one in results])) if case.truth is None else case.truth
    covered = [one.interval.low <= truth <= one.interval.high for one in results if one.interval is not None]
    p = [one.p for one in results if one.p is not None]
    uniform = f"{stats.kstest(p, 'uniform').pvalue:.2f}" if p and case.null else "-"
    share = f"{100 * np.mean(covered):.1f} %" if covered else "-"
    print(f"| {name} | {len(results)} | {share} | {uniform} |", flush=True)


if __name__ == "__main__":
    main()
