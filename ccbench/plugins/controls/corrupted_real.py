"""corrupted-real: real test images with a known blur and a known noise. A ruler for the distances."""

import numpy as np
from scipy.ndimage import gaussian_filter

from ccbench.plugins.contract import LoadContext
from ccbench.plugins.controls.control_settings import CorruptedRealConfig
from ccbench.plugins.controls.real_images import EachImage, change_real_images
from ccbench.types import Image


def load(context: LoadContext[CorruptedRealConfig]) -> EachImage:
    """Return the generator of the corrupted images."""
    config = context.config
    return change_real_images(context, lambda image, seed: corrupt(image, config.blur, config.noise, seed))


def corrupt(image: Image, blur: float, noise: float, seed: int) -> Image:
    """Return the image after a Gaussian blur of `blur` pixels, then Gaussian noise of `noise` grey levels."""
    blurred = gaussian_filter(image.astype(np.float64), (blur, blur, 0))
    noisy = blurred + noise * np.random.default_rng(seed).standard_normal(image.shape)
    return noisy.round().clip(0, 255).astype(np.uint8)
