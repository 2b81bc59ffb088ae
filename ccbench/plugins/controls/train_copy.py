"""train-copy: the nearest memoriser. It answers a condition with a training image, and so is realistic and useless."""

import numpy as np
from numpy.typing import NDArray

from ccbench.plugins.contract import LoadContext
from ccbench.plugins.controls.control_settings import NoSettings
from ccbench.plugins.controls.real_images import EachImage, real_data, stack_masks
from ccbench.types import Mask


def load(context: LoadContext[NoSettings]) -> EachImage:
    """Return the generator of the training images whose masks overlap the conditions' masks the most."""
    train = real_data(context).train
    masks = stack_masks(train)
    return EachImage(lambda condition, seed: train[int(mask_iou(masks, condition.mask).argmax())].image)


def mask_iou(masks: NDArray[np.bool_], mask: Mask) -> NDArray[np.float64]:
    """Return the intersection over union of each of (N, H, W) masks with one (H, W); 1 for two empty ones, (N,)."""
    both = np.count_nonzero(masks & mask, axis=(1, 2))
    either = np.count_nonzero(masks | mask, axis=(1, 2))
    return np.where(either == 0, 1.0, both / np.maximum(either, 1))
