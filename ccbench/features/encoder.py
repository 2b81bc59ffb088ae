"""What an encoder is, and the batching that all encoders share."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ccbench.types import Image, check_image

if TYPE_CHECKING:
    import torch

BATCH_SIZE = 32
PIECE = 4  # images that go through a network at a time where several do side by side; 2 to 8 are as fast

T = TypeVar("T")


class Encoder(Protocol):
    """A frozen network that turns images into features.

    Attributes:
        id: name in `ENCODERS`.
        dim: width of the features.
        signature: encoder, first 8 hex digits of its weights' sha256, and its own resize.
        path: how it is computed here, such as `eager cpu`; it may change the last digits, so cached features name it.
        path_error: largest difference to the plain float32 network on made images, over the root mean square of its
            features; 0.0 where the path is that network. Below 1e-4.
    """

    id: str
    signature: str
    dim: int
    path: str
    path_error: float

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
    """Return (N, `dim`) features: `prepare` makes a batch on the CPU, `network` its features on the device.

    On the CPU, pieces of `PIECE` items run side by side, one per thread of torch's: threads that share one piece wait
    for the slowest at every layer. A shorter last piece is filled up, so that features depend on no neighbour.
    """
    import torch

    features = np.empty((len(items), dim), dtype=np.float32)
    split = device == "cpu"
    size = PIECE if split else BATCH_SIZE

    def encode(start: int) -> None:
        part = items[start : start + size]
        filled = [*part, *[part[-1]] * (size - len(part))] if split else part
        with torch.inference_mode():
            batch = network(prepare(filled).to(device)).float().cpu().numpy()
        features[start : start + size] = batch[: len(part)]

    starts = range(0, len(items), size)
    threads = torch.get_num_threads()
    workers = min(threads, len(starts)) if split else 1
    with exact_arithmetic(device):
        if workers < 2:
            for start in starts:
                encode(start)
        else:
            try:
                with ThreadPoolExecutor(workers, initializer=lambda: torch.set_num_threads(threads // workers)) as pool:
                    list(pool.map(encode, starts))
            finally:
                torch.set_num_threads(threads)  # a new thread takes over the number that was set last
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
