"""From features to `Score` entries: value, interval and signature, or None with the reason."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ccbench.metrics import SetFamily, set_metric_name, sign
from ccbench.metrics.clip import clip_image, clip_score
from ccbench.metrics.frechet import FrechetDistance, frechet_distance
from ccbench.metrics.infinity import frechet_infinity
from ccbench.metrics.intervals import bootstrap_mean
from ccbench.metrics.kernel import CUBIC, GAUSSIAN, Kernel, KernelDistance, cmmd_distance, kernel_distance
from ccbench.metrics.manifold import NEIGHBOURS, ManifoldScores, manifold_scores
from ccbench.metrics.permutation import permutation_test
from ccbench.seeding import derive_seed
from ccbench.types import Interval, Score

Features = NDArray[np.floating]
_DISTANCES: dict[SetFamily, Callable[[Features, Features], FrechetDistance | KernelDistance]] = {
    "fd": frechet_distance,
    "kid": kernel_distance,
    "cmmd": cmmd_distance,
}
KERNELS: dict[SetFamily, Kernel] = {"kid": CUBIC, "cmmd": GAUSSIAN}  # of the families that are kernel distances
_PAIR_METRICS = {"clip_score": clip_score, "clip_image": clip_image}


class PairScores(NamedTuple):
    """The mean over the pairs, and the value of each pair: empty where there are none."""

    score: Score
    values: list[float]


def set_scores(
    images: Features,
    reference: Features,
    encoder: str,
    signature: str,
    ref: str,
    families: Sequence[SetFamily] = ("fd", "kid"),
) -> list[Score]:
    """Return one entry for each of `families` between features (N, D) and (M, D), in their order.

    Kernel distances have a permutation p-value: 1,000 seeded relabellings, 0.2 s at 200 x 800 images of 1280 features.

    Args:
        encoder, signature: of the network that made the features. ref: what the reference is, for the signature.
    """
    n, n_real = len(images), len(reference)
    manifold = cache(lambda: manifold_scores(images, reference))
    scores = []
    for family in families:
        metric = set_metric_name(family, encoder)
        signed = sign_set(family, encoder, signature, f"{n}x{n_real}", ref)
        try:
            value, interval, reason = _set_score(family, images, reference, manifold)
        except ValueError as error:
            value, interval, reason = None, None, str(error)
        p = None
        if value is not None and family in KERNELS:
            p = permutation_test(images, reference, KERNELS[family], derive_seed("permutation", family)).p
        scores.append(Score(metric, signed, value, n, n_real, interval, reason, p))
    return scores


def sign_set(family: SetFamily, encoder: str, signature: str, counts: str, ref: str) -> str:
    """Return the signature of a set metric; see `set_scores`."""
    settings = {"k": str(NEIGHBOURS)} if family in ManifoldScores._fields else {}
    return sign(set_metric_name(family, encoder), signature, counts, ref=ref, **settings)


def _set_score(
    family: SetFamily, images: Features, reference: Features, manifold: Callable[[], ManifoldScores]
) -> tuple[float | None, Interval | None, str | None]:
    """Return value, interval and reason; raises ValueError where the metric refuses the features."""
    if family in _DISTANCES:
        value, _, interval = _DISTANCES[family](images, reference)
        return value, interval, None
    if family == "fd_infinity":
        extrapolated = frechet_infinity(images, reference, derive_seed("fd_infinity"))
        return extrapolated.value, None, extrapolated.reason
    parts: NDArray[np.float64] = getattr(manifold(), family)
    interval = bootstrap_mean(parts, derive_seed("bootstrap", family))
    return float(parts.mean()), interval and replace(interval, kind=f"{interval.kind}-balls-held"), None


def pair_scores(
    metric: str,
    images: Features,
    partners: Features,
    signature: str,
    ref: str,
    clusters: Sequence[Hashable | None] | None = None,
) -> PairScores:
    """Return `clip_score` or `clip_image` of features (N, D) and their partners' (N, D), texts or real images.

    Args:
        ref: what the partners are, for the signature. clusters: labels for the bootstrap of the mean.
    """
    n = len(images)
    n_real = n if metric == "clip_image" else None
    signed = sign(metric, signature, str(n), ref=ref)
    try:
        values = _PAIR_METRICS[metric](images, partners)
    except ValueError as error:
        return PairScores(Score(metric, signed, None, n, n_real, reason=str(error)), [])
    interval = bootstrap_mean(values, derive_seed("bootstrap", metric), clusters)
    return PairScores(Score(metric, signed, float(values.mean()), n, n_real, interval), values.tolist())


def no_pair_scores(metric: str, signature: str, reason: str, n: int) -> PairScores:
    """Return the entry of a pair metric that cannot be computed, with its reason."""
    return PairScores(Score(metric, sign(metric, signature, str(n), ref="none"), None, n, None, reason=reason), [])
