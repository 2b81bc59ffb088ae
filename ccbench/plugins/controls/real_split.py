"""real-split: the real test images as they are. The floor of the distances and the ceiling of CLIP-score."""

from ccbench.plugins.contract import LoadContext
from ccbench.plugins.controls.control_settings import NoSettings
from ccbench.plugins.controls.real_images import EachImage, change_real_images


def load(context: LoadContext[NoSettings]) -> EachImage:
    """Return the generator of the real test images."""
    return change_real_images(context, lambda image, seed: image)
