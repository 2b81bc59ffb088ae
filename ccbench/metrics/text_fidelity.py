"""Text fidelity: whether images show the attributes that their prompts state, beyond what any prompt would score."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ccbench.metrics.intervals import bootstrap_mean
from ccbench.types import Interval

Words = Mapping[str, str]


class TextFidelity(NamedTuple):
    """Agreement of images with their prompts.

    Attributes:
        value: (own - swapped) / (1 - swapped), 1 = every stated attribute shown, 0 = no more than with the prompts of
            the others; None where the swapped prompts agree in all.
        interval: of `value`, from the paired differences of the images, `swapped` of the denominator held.
        own: mean share of an image's stated attributes that it shows. swapped: that of the other images' prompts.
        n: images whose prompt states an attribute. gains: (n,) own - swapped of each; images: (n,) their indices.
    """

    value: float | None
    interval: Interval | None
    own: float
    swapped: float
    n: int
    gains: NDArray[np.float64]
    images: NDArray[np.int64]


def text_fidelity(
    measured: Sequence[Words],
    stated: Sequence[Words],
    names: Sequence[str],
    seed: int = 0,
    clusters: Sequence[Hashable | None] | None = None,
) -> TextFidelity | None:
    """Compare what each image shows with what its prompt states, and with what all other prompts state.

    The control needs no draw: for each attribute that an image's own prompt states, `swapped` is the share of the other
    images' prompts, of those that state it, which the image agrees with. So it is the expectation over all ways to
    swap prompts, and common values (`no highlights`) earn nothing. Cohen's kappa with the mean taken image by image.

    Args:
        measured, stated: value of each attribute by name, for each image. names: the attributes to compare.
        clusters: as in `bootstrap_mean`.

    Returns:
        None where no image has an attribute to compare.

    Raises:
        ValueError: not one prompt an image.
    """
    if len(measured) != len(stated):
        raise ValueError(f"{len(measured)} images for {len(stated)} prompts; wanted one for each")
    counts = {name: Counter(words[name] for words in stated if name in words) for name in names}
    images, own, swapped = [], [], []
    for index, (shown, said) in enumerate(zip(measured, stated, strict=True)):
        agree, chance = [], []
        for name in names:
            if name in said and name in shown and counts[name].total() > 1:
                same = said[name] == shown[name]
                agree.append(same)
                chance.append((counts[name][shown[name]] - same) / (counts[name].total() - 1))
        if agree:
            images.append(index)
            own.append(np.mean(agree))
            swapped.append(np.mean(chance))
    if not images:
        return None
    gains, base = np.array(own) - swapped, float(np.mean(swapped))
    labels = None if clusters is None else [clusters[index] for index in images]
    interval, scale = bootstrap_mean(gains, seed, labels), 1 - base
    if interval and scale > 0:
        interval = Interval(interval.low / scale, interval.high / scale, interval.level, interval.kind)
    value = float(gains.mean()) / scale if scale > 0 else None
    return TextFidelity(
        value, interval if scale > 0 else None, float(np.mean(own)), base, len(images), gains, np.array(images)
    )
