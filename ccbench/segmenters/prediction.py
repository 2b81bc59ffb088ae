"""What a trained segmenter sees: maps of polyp probability, at the size of the mask they are compared with."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ccbench.metrics.images.maps import at_half
from ccbench.metrics.images.mask_overlap import compare_masks
from ccbench.segmenters.loading import squash
from ccbench.segmenters.mmlab import SegDataSample
from ccbench.types import Image, PairSequence, RealPair

_BATCH = 16


def predict_maps(network: Any, pairs: PairSequence, size: int) -> Iterator[tuple[NDArray[np.uint8], RealPair]]:
    """Yield the map (H, W) of each pair with it: 255 times the probability, rounded, so that a file holds it whole.

    An image is squashed to `size`; its logits are resized to the image's own size, bilinear.
    """
    for start in range(0, len(pairs), _BATCH):
        batch = pairs[start : start + _BATCH]
        yield from zip(segment_images(network, [pair.image for pair in batch], size), batch, strict=True)


def segment_images(network: Any, images: Sequence[Image], size: int) -> list[NDArray[np.uint8]]:
    """Return the maps (H, W) of images (H, W, 3) of any sizes, as `predict_maps`."""
    learning, maps = network.training, []
    network.eval()
    with torch.inference_mode():
        for start in range(0, len(images), _BATCH):
            batch = images[start : start + _BATCH]
            shapes = [{"ori_shape": image.shape[:2], "img_shape": (size, size)} for image in batch]
            samples = [SegDataSample(metainfo=shape) for shape in shapes]
            inputs = [torch.from_numpy(squash(image, size).copy()).permute(2, 0, 1) for image in batch]
            for sample in network.test_step({"inputs": inputs, "data_samples": samples}):
                logits = sample.seg_logits.data.float().cpu()
                seen = logits[0] if len(logits) == 1 else logits.softmax(0)[1]
                maps.append(np.rint(255 * seen.numpy()).astype(np.uint8))
    network.train(learning)
    return maps


def mean_dice(network: Any, pairs: PairSequence, size: int) -> float:
    """Return the mean over the pairs of the Dice of map and mask, at threshold 0.5."""
    maps = predict_maps(network, pairs, size)
    return float(np.mean([compare_masks(at_half(seen), pair.condition.mask).dice for seen, pair in maps]))
