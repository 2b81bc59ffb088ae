"""Do intervals cover what they promise, and are p-values uniform where there is no difference? On simulated features.

Gaussian features with a power-law spectrum; two methods share each condition's part. Prints one line a test: share of
95 % intervals that hold the true value, and the Kolmogorov-Smirnov p of the p-values against the uniform distribution.
"""

import argparse
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from scipy import stats

from ccbench.metrics.frechet import frechet_distance
from ccbench.metrics.intervals import bootstrap_mean
from ccbench.metrics.kernel import CUBIC, GAUSSIAN, Kernel
from ccbench.metrics.paired import Difference, across_seeds, compare_frechet, compare_kernel, compare_means
from ccbench.metrics.permutation import permutation_test
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
        return of(compare_means(values, 0 * values, int(rng.integers(2**31)), labels, 1000, 999))

    return once


def bootstrap(rng: np.random.Generator) -> Result:
    """Simulate the clustered bootstrap of a mean at 40 clusters of unequal size."""
    sizes = rng.integers(1, 8, size=40)
    values = rng.normal(size=40).repeat(sizes) + rng.normal(size=sizes.sum())
    interval = bootstrap_mean(values, int(rng.integers(2**31)), np.repeat(range(40), sizes).tolist())
    return Result(float(values.mean()), interval, None)


def jackknife(noise: float) -> Callable[[np.random.Generator], Result]:
    """Return a simulation of one Frechet distance and its interval; 1.0 = equal distributions."""

    def once(rng: np.random.Generator) -> Result:
        found = frechet_distance(draw(rng, 60, 60, noise), draw(rng, 120, 60))
        return Result(found.value, found.interval, None)

    return once


def trainings(between: float) -> Callable[[np.random.Generator], Result]:
    """Return a simulation of three trainings a method: conditions, trainings and single images move the difference."""

    def once(rng: np.random.Generator) -> Result:
        values = between * rng.normal(size=(3, 1)) + rng.normal(size=100) + rng.normal(size=(3, 100))
        given = compare_means(values.mean(axis=0), np.zeros(100), 0, None, 2, 1)
        return of(across_seeds(given, values.mean(axis=1).tolist()))

    return once


class Case(NamedTuple):
    """A line of the table. `truth`: None = the mean of the simulations, for values that are biased by design."""

    name: str
    simulate: Callable[[np.random.Generator], Result]
    truth: float | None = 0.0
    null: bool = True
    share: float = 1.0


def cases() -> Iterator[Case]:
    """Yield what is calibrated."""
    yield Case("permutation test, KID", permuted(CUBIC))
    yield Case("permutation test, CMMD", permuted(GAUSSIAN))
    yield Case("compare_means, 60 clusters of 3", means(60))
    yield Case("bootstrap of a mean, 40 clusters of 1-7", bootstrap)
    yield Case("Frechet jackknife, equal distributions", jackknife(1.0), None)
    yield Case("Frechet jackknife, unequal", jackknife(1.3), None)
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
        results = [case.simulate(rng) for _ in range(max(20, round(args.simulations * case.share)))]
        truth = float(np.mean([one.value for one in results])) if case.truth is None else case.truth
        covered = [one.interval.low <= truth <= one.interval.high for one in results if one.interval is not None]
        p = [one.p for one in results if one.p is not None]
        uniform = f"{stats.kstest(p, 'uniform').pvalue:.2f}" if p and case.null else "-"
        share = f"{100 * np.mean(covered):.1f} %" if covered else "-"
        print(f"| {case.name} | {len(results)} | {share} | {uniform} |", flush=True)


if __name__ == "__main__":
    main()
