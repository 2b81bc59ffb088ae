"""vae-ceiling: the real test images through the backbone's VAE and back, the best that its latents can hold."""

from ccbench.diffusion.backbone import open_reconstruction
from ccbench.plugins.contract import LoadContext
from ccbench.plugins.controls.control_settings import NoSettings
from ccbench.plugins.controls.real_images import EachImage, change_real_images


def load(context: LoadContext[NoSettings]) -> EachImage:
    """Return the generator of the reconstructions, the same as the scorecards' control of this name."""
    reconstruct = open_reconstruction(context.backbone, context.device, context.allow_pickle)
    return change_real_images(context, lambda image, seed: reconstruct(image))
