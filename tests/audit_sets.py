"""Sets of images made for the leak audit, and an encoder without a network."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ccbench.data.phantom.render import render_phantom
from ccbench.studies.leak_audit.audit import AuditItem, AuditSet
from ccbench.types import Image

MANIFESTS = {"train": "d" * 64, "validation": "e" * 64, "test": "c" * 64}
"""As the hand-made runs of `board_runs` have them."""


class GridEncoder:
    """The colours of an 8 x 8 grid less their mean, as features."""

    id = "grid"
    signature = "enc:grid|w:00000000"
    dim = 192

    def encode_images(self, images: Sequence[Image]) -> NDArray[np.float32]:
        features = [image[8::16, 8::16].astype(np.float32).ravel() for image in images]
        return np.stack([values - values.mean() for values in features])


def phantoms(*seeds: int) -> list[Image]:
    return [render_phantom(seed).image for seed in seeds]


def make_set(
    name: str, images: Sequence[Image], clusters: Sequence[str | None] = (), files: Sequence[str | None] = ()
) -> AuditSet:
    """A set of images in memory, ids `<name>-<number>`."""

    def load(index: int) -> AuditItem:
        cluster, file = (values[index] if values else None for values in (clusters, files))
        return AuditItem(f"{name}-{index}", images[index], cluster, file)

    return AuditSet(name, len(images), load, MANIFESTS.get(name, "f" * 64))
