"""Whether images were seen before: those of another run on the board, of a training image, of the real test image.

Each result keeps a thumbnail of each of its images, so that later runs are compared with it without its folder.
"""

import base64
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from ccbench.base.images import read_image
from ccbench.boards.board_files import Board
from ccbench.boards.board_result import BoardResult
from ccbench.data.split import open_split
from ccbench.errors import DataError
from ccbench.protocols.protocol import Protocol
from ccbench.types import Image

SIDE = 6
"""Pixels of a thumbnail, 108 bytes an image in a record: noise, blur and JPEG are averaged away, content is not."""

NEAR = 1.5
"""Grey levels by which two thumbnails less their mean colours may differ on average to be of one image.

Measured on the galleries of phantom-128: of methods that share noise and mask the nearest two are at 2.5, the median at
5.5; real and synthetic images of one condition at 8.8 or more; an image and its copy with noise of 10 grey levels, as
JPEG of quality 30, blurred by 1.5 pixels, or 10 levels brighter at 1.1 or less.
"""

SHARE = 0.1
"""Of a run's images: as many may be near by chance, or because a method memorises, which the scores say."""

_FLAT = 3.0  # grey levels: an image that differs less from its mean colour, as a failed one, is like any other flat one

Thumbnails = NDArray[np.uint8]
"""(N, SIDE, SIDE, 3)."""


class RealThumbnails(NamedTuple):
    """Of a protocol's real images: `test` in the order of the conditions, `train` in any."""

    test: Thumbnails
    train: Thumbnails


def thumbnails(images: Iterable[Image]) -> Thumbnails:
    """Return the thumbnails of images (H, W, 3), in their order."""
    size = (SIDE, SIDE)
    small = [np.asarray(PIL.Image.fromarray(image).resize(size, PIL.Image.Resampling.BOX)) for image in images]
    return np.array(small, dtype=np.uint8).reshape(-1, *size, 3)


def real_thumbnails(protocol: Protocol, data_root: Path | None) -> RealThumbnails:
    """Return those of the protocol's test and training images.

    Raises:
        DataError: see `open_split`.
    """
    test, train = (open_split(protocol, name, data_root).pairs for name in ("test", "train"))
    return RealThumbnails(*(thumbnails(pair.image for pair in pairs) for pairs in (test, train)))


def encode_thumbnails(images: Thumbnails) -> str:
    """Return thumbnails as they stand in a record."""
    return base64.b64encode(images.tobytes()).decode()


def decode_thumbnails(text: str) -> Thumbnails:
    """Return the thumbnails of a record; none of one that holds none.

    Raises:
        DataError: the text is not what `encode_thumbnails` gives.
    """
    try:
        return np.frombuffer(base64.b64decode(text, validate=True), dtype=np.uint8).reshape(-1, SIDE, SIDE, 3)
    except ValueError as error:
        raise DataError(f"thumbnails: not those of a record ({error}); add the run again") from error


def run_thumbnails(files: Sequence[Path]) -> str:
    """Return the thumbnails of a run's images as they stand in its record."""
    return encode_thumbnails(thumbnails(map(read_image, files)))


def check_copies(board: Board, result: BoardResult, where: Path, real: RealThumbnails | None = None) -> None:
    """Refuse a method's run whose images or weights were seen before; a control may show any.

    A result from before thumbnails were kept is compared by its weights alone.

    Args:
        board: holds the other runs; one of this configuration and seed is what the run replaces.
        result: has its thumbnails.
        where: named in errors.
        real: not looked at where it is None.

    Raises:
        DataError: the images are nearly those of another run, of the real test or training images; or the weights are
            those of another seed or method.
    """
    if result.is_control:
        return
    own = decode_thumbnails(result.thumbnails)
    for filed in board.results:
        if filed.result.is_control or _is_related(result, filed.result):
            continue
        _check_weights(result, filed.result, where)
        other = decode_thumbnails(filed.result.thumbnails)
        if len(other) == len(own):
            _refuse(near(own, other), where, f"those of {filed.result.record.run_id} on the board")
    if real is not None:
        if len(real.test) != len(own):
            raise DataError(f"{where}: {len(own)} images, the data here have {len(real.test)} test conditions")
        _refuse(near(own, real.test), where, "the real test images")
        _refuse(nearest(own, real.train), where, "training images")


def near(first: Thumbnails, second: Thumbnails) -> NDArray[np.bool_]:
    """Return for each two thumbnails (N) whether they are nearly of one image; flat ones never are."""
    one, other = _centred(first), _centred(second)
    found: NDArray[np.bool_] = (np.abs(one - other).mean(axis=1) <= NEAR) & (np.abs(one).mean(axis=1) > _FLAT)
    return found


def nearest(images: Thumbnails, others: Thumbnails) -> NDArray[np.bool_]:
    """Return for each thumbnail (N) whether it is near to any of `others` (M)."""
    one, other = _centred(images), _centred(others)
    within = [len(other) > 0 and np.abs(other - row).mean(axis=1).min() <= NEAR for row in one]
    found: NDArray[np.bool_] = np.array(within, dtype=np.bool_) & (np.abs(one).mean(axis=1) > _FLAT)
    return found


def _centred(images: Thumbnails) -> NDArray[np.float32]:
    """Return thumbnails less their mean colours, (N, 3 SIDE SIDE): a copy that was made brighter is a copy."""
    values = images.astype(np.float32)
    centred: NDArray[np.float32] = (values - values.mean(axis=(1, 2), keepdims=True)).reshape(-1, SIDE * SIDE * 3)
    return centred


def _refuse(found: NDArray[np.bool_], where: Path, whose: str) -> None:
    if found.sum() > SHARE * len(found):
        raise DataError(
            f"{where}: {int(found.sum())} of {len(found)} images are nearly {whose}; a row shows what its own method "
            "generates, so sample the run from its own training"
        )


def _is_related(result: BoardResult, other: BoardResult) -> bool:
    """Return whether both are of one method and seed: the run itself, or other settings on its noise or checkpoint."""
    one, two = result.record, other.record
    return (one.config["method"], one.seed) == (two.config["method"], two.seed)


def _check_weights(result: BoardResult, other: BoardResult, where: Path) -> None:
    """Refuse the weights of another seed or method."""
    own, others = (one.record.method.weights_sha256 if one.record.method else None for one in (result, other))
    if own is not None and own == others:
        raise DataError(
            f"{where}: its weights are those of {other.record.run_id} on the board; each seed and each method is a "
            "training of its own"
        )
