"""The default captioner: attributes measured from image and mask, in varied words."""

from typing import Literal

import numpy as np

from ccbench.base.seeding import derive_seed
from ccbench.data.attributes.measured_attributes import measure_attributes, measure_background
from ccbench.data.attributes.sure_attributes import measure_sure_words
from ccbench.data.captioners.captioner import Caption
from ccbench.data.captions.wording import write_caption
from ccbench.types import Image, Mask

Version = Literal["measured-1", "measured-2"]


def measure_words(image: Image, mask: Mask) -> dict[str, str]:
    """Return every attribute by name, measured on the whole frame; without a polyp, `count` is `none`.

    Raises:
        DataError: image and mask do not fit together.
    """
    if mask.any():
        return measure_attributes(image, mask).words()
    return {"count": "none", **measure_background(image, mask).words()}


class MeasuredCaptioner:
    """Says what was measured; the wording follows from the image's id alone.

    Args:
        version: `measured-2` measures in the visible field and leaves out what is not sure. `measured-1` measures the
            whole frame squashed to 128 px and states every attribute: the prompts of `polyp-128` and `polyp-512` are
            its captions, and so are those that the shipped weights were trained on.
    """

    def __init__(self, version: Version = "measured-2") -> None:
        self._version = version

    @property
    def id(self) -> str:
        """The version."""
        return self._version

    def caption(self, image: Image, mask: Mask, id: str) -> Caption:
        """Caption one image in at most 45 words.

        Args:
            image: (H, W, 3) uint8 RGB of any size.
            mask: (H, W) bool, True = polyp; may be empty.
            id: of the image; the wording is drawn from it.

        Raises:
            DataError: image and mask do not fit together.
        """
        words = (measure_words if self._version == "measured-1" else measure_sure_words)(image, mask)
        clauses = write_caption(words, np.random.default_rng(derive_seed("measured caption", id)))
        return Caption(clauses.text, clauses.foreground, clauses.background, words)
