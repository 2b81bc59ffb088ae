"""The default captioner: attributes measured from image and mask, in varied words."""

from typing import ClassVar

import numpy as np

from ccbench.data.attributes import measure_attributes, measure_background
from ccbench.data.captioners.base import Caption
from ccbench.data.captions import write_caption
from ccbench.seeding import derive_seed
from ccbench.types import Image, Mask


def measure_words(image: Image, mask: Mask) -> dict[str, str]:
    """Return the measured attributes by name; without a polyp, `count` is `none` and the background's remain.

    Raises:
        DataError: image and mask do not fit together.
    """
    if mask.any():
        return measure_attributes(image, mask).words()
    return {"count": "none", **measure_background(image, mask).words()}


class MeasuredCaptioner:
    """Says what was measured; the wording follows from the image's id alone."""

    id: ClassVar[str] = "measured-1"

    def caption(self, image: Image, mask: Mask, id: str) -> Caption:
        """Caption one image in at most 45 words.

        Args:
            image: (H, W, 3) uint8 RGB of any size. mask: (H, W) bool, True = polyp; may be empty.
            id: of the image; the wording is drawn from it.

        Raises:
            DataError: image and mask do not fit together.
        """
        words = measure_words(image, mask)
        clauses = write_caption(words, np.random.default_rng(derive_seed("measured caption", id)))
        return Caption(clauses.text, clauses.foreground, clauses.background, words)
