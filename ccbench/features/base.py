"""What an encoder is, and the batching that all encoders share."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ccbench.types import Image, check_image

if TYPE_CHECKING:
    import torch

BATCH_SIZE = 32

T = TypeVar("T")


class Encoder(Protocol):
    """A frozen network that turns images into features.

    Attributes:
        id: name in `ENCODERS`. dim: width of the features.
        signature: encoder, first 8 hex digits of its weights' sha256, and its own resize.
        path: how it is computed here, such as `eager cpu`; it may change the last digits, so cached features name it.
    """

    id: str
    signature: str
    dim: int
    path: str

    def encode_images(self, images: Sequence[Image]) -> NDArray[np.float32]:
        """Return (N, D) features of N uint8 RGB images of any sizes, in order."""
        ...


class TextImageEncoder(Encoder, Protocol):
    """An encoder with a text tower whose features share the space of its image features."""

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return (N, D) features of N texts; longer ones are cut, both special tokens kept."""
        ...

    def count_truncated(self, texts: Sequence[str]) -> int:
        """Return how many of the texts are longer than the text tower reads."""
        ...


def run_batches(
    items: Sequence[T],
    prepare: Callable[[Sequence[T]], torch.Tensor],
    network: Callable[[torch.Tensor], torch.Tensor],
    dim: int,
    device: str,
) -> NDArray[np.float32]:
    """Return (N, `dim`) features: `prepare` makes a batch on the CPU, `network` its features on the device."""
    import torch

    features = np.empty((len(items), dim), dtype=np.float32)
    with torch.inference_mode(), exact_arithmetic(device):
        for start in range(0, len(items), BATCH_SIZE):
            batch = prepare(items[start : start + BATCH_SIZE]).to(device)
            features[start : start + BATCH_SIZE] = network(batch).float().cpu().numpy()
    return features


def check_images(images: Sequence[Image], where: str) -> Sequence[Image]:
    """Return `images` if each is (H, W, 3) uint8; raise `DataError` naming the first that is not."""
    for number, image in enumerate(images):
        check_image(image, f"{where}: image {number}")
    return images


@contextlib.contextmanager
def exact_arithmetic(device: str) -> Iterator[None]:
    """Make CUDA convolutions deterministic and full float32 while inside; nothing to do on the CPU."""
    import torch

    if not device.startswith("cuda"):
        yield
        return
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield


@contextlib.contextmanager
def kept_random_state() -> Iterator[None]:
    """Put torch's random state back on leaving: building a network draws initial weights nobody uses."""
    import torch

    with torch.random.fork_rng(devices=[]):
        yield
