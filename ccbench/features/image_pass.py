"""One pass over a set of images: each is decoded once, and goes through every encoder while it is in memory.

Worker threads read, hash and decode ahead of the encoders; decoders let go of Python's lock. What is held does not grow
with the set nor with the size of its images: a batch, as many pixels ahead, and the features.
"""

import contextlib
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ccbench.base.image_decoding import count_pixels, decode_image
from ccbench.base.images import is_constant, read_bytes
from ccbench.errors import DataError
from ccbench.features.encoder import Encoder, TextImageEncoder
from ccbench.features.feature_cache import FeatureCache, ImageFacts, entry_key
from ccbench.features.read_ahead import CHUNK, PIXELS, Admit, Frame, batches, look_ahead
from ccbench.types import Image, Progress

Visit = Callable[[int, Sequence[Image]], None]
"""Sees the images as they pass, in order: `visit(number of the first, images)`."""

NAMED = 3  # unreadable images that an error names; it counts all


@dataclass(frozen=True, eq=False)
class EncodedSet:
    """Features of a set of images, in order, and what was seen on the way.

    Attributes:
        features: encoder id -> (N, D).
        digests: sha256 of each image's size and pixels.
        sizes: (height, width) of each image.
        flat: whether each is constant, see `is_constant`.
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
        """Images of one colour, black ones among them."""
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
    *,
    cache: FeatureCache | None = None,
    workers: int = 0,
    visit: Visit | None = None,
) -> EncodedSet:
    """Return the features of images `load(0)` to `load(count - 1)`.

    Args:
        cache: where features are looked up by pixels, and kept. None = all are computed.
        workers: threads that call `load`; 0 = the caller's. One calls it in order.
        visit: called with each batch of images while they are in memory, whether or not their features are cached.

    Raises:
        DataError: images could not be loaded: how many, and what the first ones' trouble is; or an encoder's features
            are not finite.
    """

    def look(number: int, admit: Admit) -> Frame:
        image = load(number)
        admit(image.shape[0] * image.shape[1])
        return Frame(_facts(image), image)

    return _encode(look, load, count, encoders, description, progress, cache, workers, visit)


def encode_files(
    files: Sequence[Path],
    encoders: Sequence[Encoder],
    description: str,
    progress: Progress,
    *,
    cache: FeatureCache | None = None,
    visit: Visit | None = None,
) -> EncodedSet:
    """Return the features of image files, as `encode_set`; without `visit`, one whose features are cached is not
    decoded."""

    def load(number: int) -> Image:
        return decode_image(read_bytes(files[number]), files[number]).pixels

    def look(number: int, admit: Admit) -> Frame:
        data = read_bytes(files[number])
        digest = hashlib.sha256(data).hexdigest()
        known = cache.find_image(digest) if cache else None
        if not visit and cache and known and cache.holds(known.pixels, _keys(encoders, known, number, len(files))):
            return Frame(known, None)
        admit(count_pixels(data))
        image = decode_image(data, files[number]).pixels
        facts = _facts(image)
        if cache and facts != known:
            cache.add_image(digest, facts)
        return Frame(facts, image)

    workers = min(4, os.cpu_count() or 1)
    return _encode(look, load, len(files), encoders, description, progress, cache, workers, visit)


def encode_texts(
    encoder: TextImageEncoder, texts: Sequence[str], *, cache: FeatureCache | None = None
) -> NDArray[np.float32]:
    """Return the features (N, D) of texts, in order; those in `cache` are not computed, and the others are kept."""
    names = [hashlib.sha256(f"text|{text}".encode()).hexdigest() for text in texts]
    key = entry_key(encoder, 0)  # an image's key has a batch of one or more
    missing: dict[str, str] = {}
    features: dict[str, NDArray[np.float32]] = {}
    for name, text in zip(names, texts, strict=True):
        row = cache.read([name], key, encoder.dim) if cache and name not in features else None
        if row is not None:
            features[name] = row[0]
        elif name not in features:
            missing[name] = text
    if missing:
        rows = encoder.encode_texts(list(missing.values()))
        features.update(zip(missing, rows, strict=True))
        if cache:
            cache.write(list(missing), key, rows)
    return np.stack([features[name] for name in names]) if names else np.empty((0, encoder.dim), dtype=np.float32)


def _encode(
    look: Callable[[int, Admit], Frame],
    load: Callable[[int], Image],
    count: int,
    encoders: Sequence[Encoder],
    description: str,
    progress: Progress,
    cache: FeatureCache | None,
    workers: int,
    visit: Visit | None,
) -> EncodedSet:
    networks = {encoder.id: encoder for encoder in encoders}
    features = {name: np.empty((count, encoder.dim), np.float32) for name, encoder in networks.items()}
    seen: list[ImageFacts] = []
    troubles: list[DataError] = []
    with progress.step(description, count) as step, contextlib.closing(look_ahead(look, count, workers)) as frames:
        for start, batch in batches(frames, troubles):
            if not troubles:  # otherwise only the rest of the unreadable ones is counted
                rows = _encode_batch(batch, start, load, list(networks.values()), cache)
                for name, part in zip(networks, rows, strict=True):
                    features[name][start : start + len(batch)] = part
                seen += [frame.facts for frame in batch]
                if visit:
                    visit(start, [_pixels(frame, start + place, load) for place, frame in enumerate(batch)])
            step.advance(len(batch))
    if troubles:
        first = "; ".join(str(trouble) for trouble in troubles[:NAMED])
        rest = f"; and {len(troubles) - NAMED} more" if len(troubles) > NAMED else ""
        raise DataError(f"{description}: {len(troubles)} of {count} images cannot be read: {first}{rest}")
    return EncodedSet(
        features,
        [facts.pixels for facts in seen],
        [(facts.height, facts.width) for facts in seen],
        [facts.flat for facts in seen],
    )


def _encode_batch(
    batch: Sequence[Frame],
    start: int,
    load: Callable[[int], Image],
    encoders: Sequence[Encoder],
    cache: FeatureCache | None,
) -> list[NDArray[np.float32]]:
    """Return each encoder's features of a batch, of the whole of it from the cache or from the network."""
    pixels = [frame.facts.pixels for frame in batch]
    images: list[Image] = []
    found = []
    for encoder in encoders:
        key = entry_key(encoder, len(batch)) if cache else ""
        rows = cache.read(pixels, key, encoder.dim) if cache else None
        if rows is None:
            images = images or [_pixels(frame, start + place, load) for place, frame in enumerate(batch)]
            rows = encoder.encode_images(images)
            if bad := np.flatnonzero(~np.isfinite(rows).all(axis=1)).tolist():
                raise DataError(
                    f"encoder {encoder.id}: features of {len(bad)} of {len(batch)} images are not finite, the first of "
                    f"image {start + bad[0]}; its weights are damaged or do not suit these images"
                )
            if cache:
                cache.write(pixels, key, rows)
        found.append(rows)
    return found


def _pixels(frame: Frame, number: int, load: Callable[[int], Image]) -> Image:
    if frame.image is not None:
        return frame.image
    image = load(number)  # its features were in the cache, those of another image of its batch were not
    if _digest(image) != frame.facts.pixels:
        raise DataError(f"image {number} has changed while it was scored; score again when the folder is at rest")
    return image


def _keys(encoders: Sequence[Encoder], known: ImageFacts, number: int, count: int) -> list[str]:
    """Return the keys under which features lie that were computed in a batch of images of this one's size."""
    chunk = min(CHUNK, count - number // CHUNK * CHUNK)
    most = max(1, PIXELS // max(1, known.height * known.width))
    batch = min(most, chunk - number % CHUNK // most * most)
    return [entry_key(encoder, batch) for encoder in encoders]


def _facts(image: Image) -> ImageFacts:
    return ImageFacts(_digest(image), image.shape[0], image.shape[1], is_constant(image))


def _digest(image: Image) -> str:
    digest = hashlib.sha256(str(image.shape).encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()
