"""real-split: the real test images as they are. The floor of the distances and the ceiling of CLIP-score."""

from ccbench.controls.config import NoSettings
from ccbench.controls.real_images import EachImage, change_real_images
from ccbench.plugin import LoadContext


def load(context: LoadContext[NoSettings]) -> EachImage:
    """Return the generator of the real test images."""
    return change_real_images(context, lambda image, seed: image)
