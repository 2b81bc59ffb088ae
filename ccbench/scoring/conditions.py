"""The conditions of a set of pairs, kept while the images stream by."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ccbench.types import Image, Mask, PairSequence


class StreamedPairs:
    """Keeps the short parts of the pairs while their images stream by, so that no pair is loaded twice."""

    def __init__(self, pairs: PairSequence) -> None:
        self._pairs = pairs
        self.ids: list[str] = []
        self.prompts: list[str] = []
        self.clusters: list[str | None] = []
        self._masks: list[tuple[NDArray[np.uint8], tuple[int, int]]] = []
        self._sources: list[str | None] = []

    def load(self, index: int) -> Image:
        """Return the image of a pair; to be called once for each, in order."""
        pair = self._pairs[index]
        self.ids.append(pair.condition.id)
        self.prompts.append(pair.condition.prompt)
        self.clusters.append(pair.condition.cluster)
        self._masks.append((np.packbits(pair.condition.mask), pair.condition.mask.shape))
        self._sources.append(pair.source)
        return pair.image

    def mask(self, index: int) -> Mask:
        """Return the mask of a pair that was loaded."""
        bits, shape = self._masks[index]
        return np.unpackbits(bits, count=shape[0] * shape[1]).reshape(shape).astype(np.bool_)

    def __len__(self) -> int:
        return len(self._pairs)

    def rows(self, numbers: Sequence[int]) -> "StreamedPairs":
        """Return some of what was kept."""
        part = StreamedPairs(())
        for name in ("ids", "prompts", "clusters", "_masks", "_sources"):
            setattr(part, name, [getattr(self, name)[number] for number in numbers])
        return part

    def rows_by_source(self) -> dict[str, list[int]]:
        """Return data set -> numbers of its pairs; empty when there are not two of them."""
        names = sorted({source for source in self._sources if source is not None})
        found = {name: [row for row, source in enumerate(self._sources) if source == name] for name in names}
        return found if len(found) > 1 else {}
