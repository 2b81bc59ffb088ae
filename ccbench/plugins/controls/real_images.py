"""What the controls share: the real images that they are made of, by condition, and a generator of single images."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ccbench.errors import DataError, UsageError
from ccbench.plugins.contract import LoadContext, RealData
from ccbench.types import Condition, Image, PairSequence, RealPair


class EachImage:
    """A generator that draws one image at a time from its condition and seed."""

    def __init__(self, draw: Callable[[Condition, int], Image]) -> None:
        self._draw = draw

    def generate(self, conditions: Sequence[Condition], seeds: Sequence[int]) -> list[Image]:
        """Return one image per condition; see `ccbench.plugins.contract.Generator`."""
        return [self._draw(condition, seed) for condition, seed in zip(conditions, seeds, strict=True)]


class PairsById:
    """The real test pairs by the id of their condition."""

    def __init__(self, pairs: PairSequence) -> None:
        self._pairs = pairs
        self._index = {pair.condition.id: number for number, pair in enumerate(pairs)}

    @property
    def ids(self) -> list[str]:
        """The ids, in the order of the split."""
        return list(self._index)

    def find(self, condition_id: str) -> RealPair:
        """Return the pair of a condition.

        Raises:
            DataError: it is none of the test conditions.
        """
        if condition_id not in self._index:
            raise DataError(
                f"condition {condition_id!r}: a control needs its real pair and found none among the "
                f"{len(self._index)} test conditions; sample the conditions of the protocol's test split"
            )
        return self._pairs[self._index[condition_id]]


def change_real_images(context: LoadContext[Any], change: Callable[[Image, int], Image]) -> EachImage:
    """Return the generator that gives the real test image of each condition, changed by `change(image, seed)`."""
    test = PairsById(real_data(context).test)
    return EachImage(lambda condition, seed: change(test.find(condition.id).image, seed))


def real_data(context: LoadContext[Any]) -> RealData:
    """Return the real images that a control was given.

    Raises:
        UsageError: it was given none.
    """
    if context.real is None:
        raise UsageError("LoadContext.real: found None, wanted the real images; a control cannot be loaded without")
    return context.real


def stack_masks(pairs: PairSequence) -> NDArray[np.bool_]:
    """Return the masks of all pairs, (N, H, W); every pair is read once."""
    return np.stack([pair.condition.mask for pair in pairs])
