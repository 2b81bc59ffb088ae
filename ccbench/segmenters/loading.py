"""What a segmenter is trained and validated on: images and masks in memory, batches at several sizes, augmentation."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as PilImage
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from ccbench.base.seeding import derive_seed
from ccbench.features.encoder import kept_random_state
from ccbench.segmenters.mmlab import DATA_SAMPLERS, DefaultSampler, PixelData, SegDataSample
from ccbench.segmenters.networks.parts import SOFT_MASK
from ccbench.types import PairSequence


class Labelled(NamedTuple):
    """N images and masks squashed to one size: (N, S, S, 3) uint8, and (N, S, S) uint8, 255 = polyp."""

    images: NDArray[np.uint8]
    masks: NDArray[np.uint8]

    @classmethod
    def of(cls, pairs: PairSequence, size: int) -> "Labelled":
        """Squash images and masks, bilinear with antialias as torchvision's `Resize` does: masks get soft edges."""
        both = [(squash(pair.image, size), squash(pair.condition.mask.astype(np.uint8) * 255, size)) for pair in pairs]
        return cls(*(np.stack(part) for part in zip(*both, strict=True)))

    def joined(self, other: "Labelled") -> "Labelled":
        """Return both, one after the other."""
        return Labelled(*(np.concatenate(part) for part in zip(self, other, strict=True)))


class Place(NamedTuple):
    """One image of a batch: its number, the pass it is seen in, and the side in pixels at which the batch is run."""

    number: int
    epoch: int
    side: int


class LabelledSet(Dataset[dict[str, Any]]):
    """Items as mmsegmentation's models take them; an item is asked for by its `Place`.

    Args:
        augment: whether images are varied, by a hash of seed, pass and number: alike at all sizes of a batch.
    """

    def __init__(self, data: Labelled, seed: int, augment: bool) -> None:
        self._data, self._seed = data, seed
        self._vary = classic_augmentation() if augment else None

    def __len__(self) -> int:
        return len(self._data.images)

    def __getitem__(self, place: Place) -> dict[str, Any]:
        image = torch.from_numpy(self._data.images[place.number]).permute(2, 0, 1)
        mask = torch.from_numpy(self._data.masks[place.number])[None]
        if self._vary is not None:
            with kept_random_state():
                torch.manual_seed(derive_seed("augment", self._seed, place.epoch, place.number))
                image, mask = self._vary(tv_tensors.Image(image), tv_tensors.Mask(mask))
        pixels, soft = _scale(image.float(), place.side), _scale(mask.float() / 255, place.side)
        sample = SegDataSample(metainfo={"ori_shape": (place.side,) * 2, "img_shape": (place.side,) * 2})
        sample.set_data({"gt_sem_seg": PixelData(data=(soft > 0.5).long()), SOFT_MASK: PixelData(data=soft)})
        return {"inputs": pixels, "data_samples": sample}


@DATA_SAMPLERS.register_module()
class ScaledBatches:
    """Batches of a sampler, each at every size in turn, as PraNet's training loop runs them."""

    def __init__(self, sampler: DefaultSampler, batch_size: int, sides: Sequence[int]) -> None:
        self.sampler, self.batch_size, self.sides = sampler, batch_size, tuple(sides)

    def __len__(self) -> int:
        return -(-len(self.sampler) // self.batch_size) * len(self.sides)

    def __iter__(self) -> Iterator[list[Place]]:
        order, epoch = list(self.sampler), self.sampler.epoch
        for start in range(0, len(order), self.batch_size):
            for side in self.sides:
                yield [Place(index, epoch, side) for index in order[start : start + self.batch_size]]


def classic_augmentation() -> v2.Transform:
    """Return flips, turns, zooms and shifts of image and mask, and colour and blur of the image."""
    return v2.Compose(
        [
            v2.RandomHorizontalFlip(),
            v2.RandomVerticalFlip(),
            v2.RandomAffine(90, (0.1, 0.1), (0.8, 1.25), interpolation=v2.InterpolationMode.BILINEAR),
            v2.ColorJitter(0.2, 0.2, 0.2, 0.03),
            v2.RandomApply([v2.GaussianBlur(3, (0.3, 1.0))], 0.5),
        ]
    )


def squash(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Return (H, W) or (H, W, 3) 8-bit pixels at size x size."""
    if pixels.shape[:2] == (size, size):
        return pixels
    return np.asarray(PilImage.fromarray(pixels).resize((size, size), PilImage.Resampling.BILINEAR))


def _scale(planes: torch.Tensor, side: int) -> torch.Tensor:
    if planes.shape[-2:] == (side, side):
        return planes
    return torch.nn.functional.interpolate(planes[None], (side, side), mode="bilinear", align_corners=True)[0]
