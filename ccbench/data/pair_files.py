"""Opens an image with its mask: the one place that says which pairs can be read, for every command."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ccbench.base.image_decoding import ImageFile
from ccbench.base.images import open_image
from ccbench.base.mask_files import MaskFault, MaskFile, MaskRule, decode_mask, looks_like_mask
from ccbench.data.name_matching import PairFiles
from ccbench.errors import DataError


@dataclass(frozen=True)
class OpenPair:
    """An image and its mask, decoded, upright and of one size."""

    image: ImageFile
    mask_file: ImageFile
    mask: MaskFile


def open_pair(files: PairFiles, rule: MaskRule | None = None) -> OpenPair:
    """Decode both files of a pair.

    Args:
        files: the pair.
        rule: which pixels of the mask are polyp, where a user said so.

    Raises:
        DataError: a file cannot be read, or the pair is none: see `find_faults`.
    """
    image, mask_file = open_image(files.image), open_image(files.mask)
    mask = decode_mask(mask_file, rule)
    for path, fault in find_faults(files, image, mask_file, mask):
        raise DataError(f"{path}: {fault.text}")
    return OpenPair(image, mask_file, mask)


def find_faults(
    files: PairFiles, image: ImageFile, mask_file: ImageFile, mask: MaskFile
) -> Iterator[tuple[Path, MaskFault]]:
    """Give what is wrong with two decoded files, and with which: turned against each other, of two sizes, exchanged."""
    if looks_like_mask(image.pixels):
        text = "its pixels have two grey values, or few, as a mask's; are images and masks exchanged? Give it as a mask"
        yield files.image, MaskFault("two_valued_image", text)
    if mask.fault is not None:
        yield files.mask, mask.fault
    size, mask_size = image.pixels.shape[:2], mask.region.shape
    if _turned_apart(image, mask_file):
        turned, other = (files.image, files.mask) if image.orientation != 1 else (files.mask, files.image)
        yield (
            files.mask,
            MaskFault(
                "turned",
                f"{turned.name} is turned by its EXIF orientation and {other.name} is not, so that they lie on each "
                "other only one way; save both upright without EXIF orientation",
            ),
        )
    elif size != mask_size:
        yield (
            files.mask,
            MaskFault(
                "size_mismatch",
                f"the mask is {_size(mask_size)} pixels, its image {files.image.name} {_size(size)}; they must have "
                "one size, replace the wrong file",
            ),
        )


def _turned_apart(image: ImageFile, mask: ImageFile) -> bool:
    """Return whether only one file is turned, and the sizes do not show that the other was drawn on the upright one."""
    if image.orientation == mask.orientation:
        return False
    height, width = image.pixels.shape[:2]
    by_a_quarter = (image.orientation > 4) != (mask.orientation > 4)
    return not (by_a_quarter and height != width and mask.pixels.shape[:2] == (height, width))


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"
