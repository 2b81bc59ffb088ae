"""One pass over a set of images: each is decoded once, and goes through every encoder while it is in memory."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ccbench.errors import DataError
from ccbench.features.base import Encoder
from ccbench.types import Image, Progress

CHUNK = 64  # images held at a time
CONSTANT_RANGE = 2  # grey levels: an image whose channels vary no more than this shows nothing


@dataclass(frozen=True, eq=False)
class EncodedSet:
    """Features of a set of images, in order, and what was seen on the way.

    Attributes:
        features: encoder id -> (N, D). digests: sha256 of each image's size and pixels.
        sizes: (height, width) of each image. flat: whether each is black or of one colour.
    """

    features: dict[str, NDArray[np.float32]]
    digests: list[str]
    sizes: list[tuple[int, int]]
    flat: list[bool]

    def __len__(self) -> int:
        return len(self.digests)

    def rows(self, numbers: Sequence[int]) -> "EncodedSet":
        """Return the set of some of the images."""
        return EncodedSet(
            {name: features[list(numbers)] for name, features in self.features.items()},
            [self.digests[number] for number in numbers],
            [self.sizes[number] for number in numbers],
            [self.flat[number] for number in numbers],
        )

    @property
    def constant(self) -> int:
        """Images that are black or of one colour."""
        return sum(self.flat)

    @property
    def duplicates(self) -> int:
        """Images whose pixels were already there."""
        return len(self.digests) - len(set(self.digests))

    @property
    def digest(self) -> str:
        """Twelve hex digits over all images, whatever their order and file format."""
        return hashlib.sha256("".join(sorted(self.digests)).encode()).hexdigest()[:12]


def encode_set(
    load: Callable[[int], Image],
    count: int,
    encoders: Sequence[Encoder],
    description: str,
    progress: Progress,
) -> EncodedSet:
    """Return the features of images `load(0)` to `load(count - 1)`.

    Raises:
        DataError: images could not be loaded: how many, and what the first one's trouble is.
    """
    networks = {encoder.id: encoder for encoder in encoders}
    features: dict[str, list[NDArray[np.float32]]] = {name: [] for name in networks}
    digests: list[str] = []
    sizes: list[tuple[int, int]] = []
    flat: list[bool] = []
    troubles: list[DataError] = []
    with progress.step(description, count) as step:
        for start in range(0, count, CHUNK):
            images = _load_chunk(load, range(start, min(start + CHUNK, count)), troubles)
            if not troubles:  # otherwise only the rest of the unreadable ones is counted
                for name, network in networks.items():
                    features[name].append(network.encode_images(images))
                digests += [_digest(image) for image in images]
                sizes += [(image.shape[0], image.shape[1]) for image in images]
                flat += [_is_constant(image) for image in images]
            step.advance(min(CHUNK, count - start))
    if troubles:
        raise DataError(f"{description}: {len(troubles)} of {count} images cannot be read; the first: {troubles[0]}")
    return EncodedSet({name: np.concatenate(parts) for name, parts in features.items()}, digests, sizes, flat)


def _load_chunk(load: Callable[[int], Image], numbers: range, troubles: list[DataError]) -> list[Image]:
    images = []
    for number in numbers:
        try:
            images.append(load(number))
        except DataError as error:
            troubles.append(error)
    return images


def _digest(image: Image) -> str:
    return hashlib.sha256(str(image.shape).encode() + np.ascontiguousarray(image).tobytes()).hexdigest()


def _is_constant(image: Image) -> bool:
    return bool(np.all(np.ptp(image, axis=(0, 1)) <= CONSTANT_RANGE))
