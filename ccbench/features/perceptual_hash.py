"""Perceptual hashes of frames, and the view of a frame that is compared: without its black border, at one size."""

import imagehash
import numpy as np
import PIL.Image
from numpy.typing import NDArray

from ccbench.base.images import resize_image
from ccbench.types import Image

VIEW_SIZE = 128  # pixels: releases of one frame differ in size, and features of sharper images lie apart
HASH_SIZE = 16  # 16 x 16 steps: at 8 x 8 smooth mucosa collides with other smooth mucosa
HASH_BITS = 2 * HASH_SIZE**2
HASH_NAME = f"dhash{HASH_SIZE}xy|trim|squash{VIEW_SIZE}"

_BRIGHT = 0.2  # of the frame's highlights, so that a darker copy is trimmed alike: above black, below mucosa
_SHARE = 0.25  # of a row or column: burnt-in text covers less, an octagonal frame's edge more
_LEAST = 0.3  # of a side: a darker image than this has no border to speak of


def trim_border(image: Image) -> Image:
    """Return the smallest box that holds every row and column of which a quarter is bright; all of a dark image.

    Endoscopes draw the frame into a black canvas, and releases cut that canvas differently.
    """
    step = max(1, min(image.shape[:2]) // VIEW_SIZE)  # a large frame is judged at the size of the view
    grey = image[::step, ::step].max(axis=2)
    bright = grey > _BRIGHT * np.percentile(grey, 99)
    rows, columns = (np.flatnonzero(bright.mean(axis=axis) >= _SHARE) for axis in (1, 0))
    if len(rows) < _LEAST * bright.shape[0] or len(columns) < _LEAST * bright.shape[1]:
        return image
    box = image[rows[0] * step : (rows[-1] + 1) * step, columns[0] * step : (columns[-1] + 1) * step]
    return np.ascontiguousarray(box)


def view_of(image: Image) -> Image:
    """Return what is compared of an image: (`VIEW_SIZE`, `VIEW_SIZE`, 3), its black border cut away, squashed."""
    return resize_image(trim_border(image), VIEW_SIZE)


def grey_view(view: Image) -> NDArray[np.uint8]:
    """Return a view without its colours, (`VIEW_SIZE`, `VIEW_SIZE`)."""
    return np.asarray(PIL.Image.fromarray(view).convert("L"))


def hash_view(grey: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return the difference hash of a grey view and of its mirror image, (2, `HASH_BITS`): steps across, then down.

    Both directions: the light of an endoscope falls off to the sides alike in every frame, and one alone sees that.
    """
    pictures = [PIL.Image.fromarray(pixels) for pixels in (grey, np.ascontiguousarray(grey[:, ::-1]))]
    steps = imagehash.dhash, imagehash.dhash_vertical
    return np.array([[step(picture, HASH_SIZE).hash for step in steps] for picture in pictures]).reshape(2, -1)
