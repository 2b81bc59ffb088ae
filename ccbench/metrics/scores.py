"""From features to `Score` entries: value, interval and signature, or None with the reason."""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ccbench.metrics import set_metric_name, sign
from ccbench.metrics.clip import clip_image, clip_score
from ccbench.metrics.frechet import frechet_distance
from ccbench.metrics.intervals import bootstrap_mean
from ccbench.metrics.kernel import kernel_distance
from ccbench.seeding import derive_seed
from ccbench.types import Score

Features = NDArray[np.floating]
_PAIR_METRICS = {"clip_score": clip_score, "clip_image": clip_image}


class PairScores(NamedTuple):
    """The mean over the pairs, and the value of each pair: empty where there are none."""

    score: Score
    values: list[float]


def set_scores(images: Features, reference: Features, encoder: str, signature: str, ref: str) -> list[Score]:
    """Return the Frechet and the kernel distance between features (N, D) and (M, D).

    Args:
        encoder, signature: of the network that made the features. ref: what the reference is, for the signature.
    """
    n, n_real = len(images), len(reference)
    scores = []
    for metric, distance in (
        (set_metric_name("fd", encoder), frechet_distance),
        (set_metric_name("kid", encoder), kernel_distance),
    ):
        signed = sign(metric, signature, f"{n}x{n_real}", ref=ref)
        try:
            value, _, interval = distance(images, reference)
        except ValueError as error:
            scores.append(Score(metric, signed, None, n, n_real, reason=str(error)))
        else:
            scores.append(Score(metric, signed, value, n, n_real, interval))
    return scores


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
