"""What the scores of a synthesis and of two folders share."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ccbench.features import Encoder, TextImageEncoder
from ccbench.features.image_pass import EncodedSet
from ccbench.metrics import SetFamily, sign
from ccbench.metrics.sets.set_scores import PairScores, mean_entry, no_pair_scores, pair_scores, set_scores
from ccbench.scoring.fidelity import Measured
from ccbench.types import Score

NETWORK_FAMILIES: tuple[SetFamily, ...] = ("fd", "kid", "precision", "recall", "density", "coverage")
CLIP_FAMILIES: tuple[SetFamily, ...] = ("cmmd",)  # as its paper defines it
REAL_SPLIT = "real-split"
VAE_CEILING = "vae-ceiling"


@dataclass(frozen=True, eq=False)
class Partners:
    """Features (N, D) of what each image is paired with, and their name in the signatures."""

    features: NDArray[np.float32]
    id: str


def digest(texts: Sequence[str]) -> str:
    """Return twelve hex digits over texts in their order."""
    return hashlib.sha256("\x1f".join(texts).encode()).hexdigest()[:12]


def pair(
    metric: str,
    images: EncodedSet,
    clip: TextImageEncoder | None,
    partners: Partners | str,
    clusters: Sequence[str | None] | None = None,
) -> PairScores:
    """Return the pair metric; `partners` is a reason where there are none."""
    if clip is None or isinstance(partners, str):
        signature = "enc:none" if clip is None else clip.signature
        return no_pair_scores(metric, signature, str(partners), len(images))
    return pair_scores(metric, images.features[clip.id], partners.features, clip.signature, partners.id, clusters)


def set_distances(
    images: EncodedSet,
    target: EncodedSet,
    network: Encoder,
    clip: TextImageEncoder | None,
    ref: str,
    families: Sequence[SetFamily] = NETWORK_FAMILIES,
    clusters: Sequence[str | None] | None = None,
    target_clusters: Sequence[str | None] | None = None,
) -> list[Score]:
    """Return `families` by the network, and CMMD by the text encoder where there is one; `ref` names the target.

    Args:
        clusters, target_clusters: one label an image, such as its video, for the intervals; None stands alone.
    """
    scores = []
    for encoder, chosen in ((network, families), *([(clip, CLIP_FAMILIES)] if clip else [])):
        both = images.features[encoder.id], target.features[encoder.id]
        scores += set_scores(*both, encoder.id, encoder.signature, ref, chosen, clusters, target_clusters)
    return scores


def mean_score(measured: Measured, ref: str, clusters: Sequence[str | None]) -> Score:
    """Return the mean over the images that have a value, with the interval over their clusters.

    The signature says how many there are in all: which of them have a value follows from the images.

    Args:
        ref: what was measured against, for the signature.
        clusters: one label an image, None stands alone.
    """
    metric, there = measured.metric, np.flatnonzero(np.isfinite(measured.values))
    signed = sign(metric, measured.signature, str(len(clusters)), ref=ref)
    if not len(there):
        return Score(metric, signed, None, 0, reason=measured.reason or "no image has a value")
    return mean_entry(metric, signed, measured.values[there], None, [clusters[row] for row in there.tolist()])


def count_failures(images: EncodedSet, wanted_sizes: Sequence[tuple[int, int]] | None) -> dict[str, int]:
    """Return kind -> number of images that show nothing, are there twice or have not the size that was wanted."""
    failures = {"unreadable": 0, "constant": images.constant, "duplicate": images.duplicates}
    if wanted_sizes is not None:
        failures["wrong_size"] = sum(a != b for a, b in zip(images.sizes, wanted_sizes, strict=True))
    return failures
