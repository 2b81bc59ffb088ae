"""Images read in order by threads that run ahead of the encoders, no more of them at a time than fit."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from ccbench.base.workers import Room
from ccbench.errors import DataError
from ccbench.features.encoder import BATCH_SIZE
from ccbench.features.feature_cache import ImageFacts
from ccbench.types import Image

CHUNK = BATCH_SIZE  # images held at a time, and as many again that are decoded ahead
PIXELS = 2**26  # held at a time, and as many again that are decoded ahead: 32 frames of 1920 x 1080, 200 MB
Admit = Callable[[int], None]
"""Waits until so many pixels may be decoded."""


class Frame(NamedTuple):
    """An image as the workers hand it over; without pixels where the cache holds all that is wanted of it."""

    facts: ImageFacts
    image: Image | None


def batches(
    frames: Iterable[Frame | DataError], troubles: list[DataError]
) -> Generator[tuple[int, list[Frame]], None, None]:
    """Yield the number of the first of several images, and these: `CHUNK`, or fewer that have `PIXELS` together.

    After the first trouble, which joins `troubles`, what is yielded only counts.
    """
    batch: list[Frame] = []
    start = held = 0
    for number, frame in enumerate(frames):
        size = 0 if isinstance(frame, DataError) else frame.facts.height * frame.facts.width
        if batch and (number % CHUNK == 0 or held + size > PIXELS):
            yield start, batch
            start, batch, held = number, [], 0
        if isinstance(frame, DataError):
            troubles.append(frame)
            continue
        batch.append(frame)
        held += size
    if batch:
        yield start, batch


def look_ahead(
    look: Callable[[int, Admit], Frame], count: int, workers: int
) -> Generator[Frame | DataError, None, None]:
    """Yield what `look` gives for each image, in order, never more than `CHUNK` images or `PIXELS` pixels ahead."""
    room = Room(PIXELS)

    def attempt(number: int) -> tuple[Frame | DataError, int]:
        held: list[int] = []

        def admit(pixels: int) -> None:
            if workers and not held:
                room.enter(number, pixels)
                held.append(pixels)

        try:
            return look(number, admit), sum(held)
        except DataError as error:
            return error, sum(held)
        finally:
            admit(0)  # the next one waits for its turn behind this

    if not workers:
        for number in range(count):
            yield attempt(number)[0]
        return
    pool = ThreadPoolExecutor(workers)
    waiting: deque[Future[tuple[Frame | DataError, int]]] = deque()

    def take() -> Frame | DataError:
        frame, held = waiting.popleft().result()
        room.leave(held)
        return frame

    try:
        for number in range(count):
            waiting.append(pool.submit(attempt, number))
            if len(waiting) > CHUNK:
                yield take()
        while waiting:
            yield take()
    finally:
        room.close()
        pool.shutdown(cancel_futures=True)
