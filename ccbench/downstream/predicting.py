"""What a trained segmenter sees: maps of polyp probability, at the size of the mask they are compared with."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from mmseg.structures import SegDataSample
from numpy.typing import NDArray

from ccbench.downstream.loading import squash
from ccbench.metrics.segmentation import compare_masks
from ccbench.types import Image, Mask

_BATCH = 16


def predict_maps(network: Any, images: Sequence[Image], size: int) -> Iterator[NDArray[np.float32]]:
    """Yield the map (H, W) of each image (H, W, 3): probability 0..1, as PraNet's test script before its min-max.

    An image is squashed to `size`; its logits are resized to the image's own size, bilinear.
    """
    learning = network.training
    network.eval()
    with torch.inference_mode():
        for start in range(0, len(images), _BATCH):
            batch = images[start : start + _BATCH]
            samples = [SegDataSample(metainfo={"ori_shape": image.shape[:2]}) for image in batch]
            inputs = [torch.from_numpy(squash(image, size).copy()).permute(2, 0, 1) for image in batch]
            for sample in network.test_step({"inputs": inputs, "data_samples": samples}):
                logits = sample.seg_logits.data.float().cpu()
                seen = logits[0] if len(logits) == 1 else logits.softmax(0)[1]
                yield seen.numpy()
    network.train(learning)


def dice_of_images(network: Any, pairs: Sequence[tuple[Image, Mask]], size: int) -> list[float]:
    """Return the Dice at threshold 0.5 of each image with its mask."""
    maps = predict_maps(network, [image for image, _ in pairs], size)
    return [compare_masks(seen >= 0.5, mask).dice for seen, (_, mask) in zip(maps, pairs, strict=True)]
