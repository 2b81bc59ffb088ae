"""How a frame of any shape fits the network's square, and back: squashed, or letterboxed between black bars."""

from typing import NamedTuple

import numpy as np
import PIL.Image
from PIL.Image import Resampling

from ccbench.types import Image, Mask
from ccbench_arsdm.config import ArsdmConfig


class Frame(NamedTuple):
    """Where a (height, width) frame lies in a square of `side` pixels: the rest of it is bars."""

    height: int
    width: int
    side: int
    letterbox: bool

    @classmethod
    def of(cls, mask: Mask, config: ArsdmConfig) -> "Frame":
        """Return the frame of a mask under ArSDM's settings."""
        height, width = mask.shape
        return cls(height, width, config.native_size, config.geometry == "letterbox")

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, upper, right and lower edge of the frame in the square, pixels; centred, its longest side fills it."""
        if not self.letterbox:
            return 0, 0, self.side, self.side
        longest = max(self.height, self.width)
        width = max(1, round(self.width * self.side / longest))
        height = max(1, round(self.height * self.side / longest))
        left, upper = (self.side - width) // 2, (self.side - height) // 2
        return left, upper, left + width, upper + height

    def fit_image(self, image: Image) -> Image:
        """Return (side, side, 3); the mean of the area where it shrinks, Lanczos where it grows."""
        grows = max(image.shape[:2]) < self.side
        return self._fit(PIL.Image.fromarray(image), Resampling.LANCZOS if grows else Resampling.BOX)

    def fit_mask(self, mask: Mask) -> Mask:
        """Return (side, side); nearest neighbour, bars are background."""
        fitted: Mask = self._fit(PIL.Image.fromarray(mask.astype(np.uint8) * 255), Resampling.NEAREST) > 127
        return fitted

    def restore(self, image: Image) -> Image:
        """Return (height, width, 3) of a (side, side, 3) image: bars cut off, Lanczos."""
        frame = PIL.Image.fromarray(image).crop(self.box)  # and no `box=` below: its filter would reach into the bars
        return np.asarray(frame.resize((self.width, self.height), Resampling.LANCZOS))

    def _fit(self, picture: PIL.Image.Image, filter_: Resampling) -> Image:
        left, upper, right, lower = self.box
        square = PIL.Image.new(picture.mode, (self.side, self.side))
        square.paste(picture.resize((right - left, lower - upper), filter_), (left, upper))
        return np.asarray(square)
