"""Text fidelity: whether images show the attributes that their prompts state, beyond what any prompt would score."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ccbench.metrics.statistics.influence import mean_shares
from ccbench.types import Interval

Words = Mapping[str, str]


class TextFidelity(NamedTuple):
    """Agreement of images with their prompts.

    Attributes:
        value: (own - swapped) / (1 - swapped), 1 = every stated attribute shown, 0 = no more than with the prompts of
            the others; None where the swapped prompts agree in all.
        interval: of `value`, bootstrapped over `values`.
        own: mean share of an image's stated attributes that it shows.
        swapped: that of the other images' prompts.
        n: images whose prompt states an attribute.
        images: (n,) their indices.
        values: (n,) the share of each in `value`, which is their mean: `value` + (own_i - swapped_i - `value` (1 -
            swapped_i)) / (1 - swapped), the ratio's linearisation; for intervals and for pairing two methods. Empty
            where `value` is None.
    """

    value: float | None
    interval: Interval | None
    own: float
    swapped: float
    n: int
    images: NDArray[np.int64]
    values: NDArray[np.float64]


def text_fidelity(
    measured: Sequence[Words],
    stated: Sequence[Words],
    names: Sequence[str],
    clusters: Sequence[Hashable | None] | None = None,
) -> TextFidelity | None:
    """Compare what each image shows with what its prompt states, and with what all other prompts state.

    The control needs no draw: for each attribute that an image's own prompt states, `swapped` is the share of the other
    images' prompts, of those that state it, which the image agrees with. So it is the expectation over all ways to
    swap prompts, and common values (`no highlights`) earn nothing. Cohen's kappa with the mean taken image by image.

    Args:
        measured, stated: value of each attribute by name, for each image.
        names: the attributes to compare.
        clusters: labels of the images, such as videos, for the interval; None stands alone.

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
    shares, chances = np.array(own), np.array(swapped)
    value, values = None, np.empty(0)
    if (room := 1 - chances).any():
        value = float((shares - chances).mean() / room.mean())
        values = value + (shares - chances - value * room) / room.mean()
    labels = None if clusters is None else [clusters[index] for index in images]
    return TextFidelity(
        value=value,
        interval=None if value is None else mean_shares(values, labels).interval().interval,
        own=float(shares.mean()),
        swapped=float(chances.mean()),
        n=len(images),
        images=np.array(images),
        values=values,
    )
