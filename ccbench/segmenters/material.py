"""What the cells of one table are trained and tested on, read once and shared by them."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from ccbench.base.images import read_image
from ccbench.data.segmentation_sets import SegmentationSets
from ccbench.errors import DataError
from ccbench.runs import RunFolder
from ccbench.segmenters.cells import Select
from ccbench.segmenters.loading import Labelled, squash
from ccbench.segmenters.table_rows import Row
from ccbench.types import RealPair


class Material:
    """The images of a table at the size that its segmenters take, in memory.

    Args:
        sets: the real pairs.
        size: side in pixels.
    """

    def __init__(self, sets: SegmentationSets, size: int) -> None:
        self.sets = sets
        self._size = size
        self._tests: dict[str, Sequence[RealPair]] = {}

    @cached_property
    def real(self) -> Labelled:
        """The real training images."""
        return Labelled.of(self.sets.train.pairs, self._size)

    @cached_property
    def _validation(self) -> Sequence[RealPair]:
        return list(self.sets.validation.pairs)

    def selecting(self, select: Select) -> Sequence[RealPair]:
        """Return the pairs on which passes are compared."""
        if select == "test":
            return [pair for name in self.sets.own for pair in self.test(name)]
        return self._validation if select == "validation" else ()

    def test(self, name: str) -> Sequence[RealPair]:
        """Return the pairs of one test set; those in their own sizes are read when they are accessed."""
        pairs = self.sets.tests[name].pairs
        if name not in self._tests:
            self._tests[name] = pairs if self.sets.size is None else list(pairs)
        return self._tests[name]

    def of_row(self, row: Row, run: RunFolder | None) -> Labelled:
        """Return the training images of a row; `run` holds its synthetic ones."""
        if run is None:
            return self.real
        synthetic = self._synthetic(run)
        return self.real.joined(synthetic) if row.real else synthetic

    def _synthetic(self, run: RunFolder) -> Labelled:
        """Return a run's images of the training masks with these masks, joined on the condition's id.

        Raises:
            DataError: it has images of other conditions.
            VerificationError: an image is not the one that was recorded.
        """
        files = run.training_files()
        wanted = [pair.condition.id for pair in self.sets.train.pairs]
        if list(files) != wanted:
            raise DataError(
                f"{run.path}: {len(files)} images of training masks, wanted those of the {len(wanted)} training "
                "pairs in their order; run the same command again to make them"
            )
        images = [squash(read_image(file), self._size) for file in files.values()]
        return Labelled(np.stack(images), self.real.masks)
