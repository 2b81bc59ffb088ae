"""What can be wrong with a data set, in words, and what to do about it."""

from dataclasses import dataclass, field
from typing import NamedTuple

from ccbench.base.mask_files import MASK_THRESHOLD, MOST_POLYP


class Kind(NamedTuple):
    """A sort of finding.

    Attributes:
        fatal: on such data a benchmark would count what is not there, or count it twice.
        text: what was found, in words that fit any number.
        todo: what to do about it.
    """

    fatal: bool
    text: str
    todo: str = ""


_ADD, _RESTORE = "add what is missing, or remove what is left over", "restore the release's own files"
_RULE = "save masks as white on black, or say what is polyp with --polyp-is"
KINDS = {
    "no_pair": Kind(True, "no image with its mask", "give the folder that holds images and masks"),
    "unreadable": Kind(True, "files that cannot be decoded", "copy them again"),
    "image_alone": Kind(True, "images without a mask", _ADD),
    "mask_alone": Kind(True, "masks without an image", _ADD),
    "twins": Kind(True, "files that claim the id of another", "keep one of the two"),
    "two_valued_image": Kind(True, "images of two grey values, or few, as masks are", "exchange images and masks"),
    "photo_mask": Kind(
        True, "masks that are neither dark nor bright: photographs or soft maps", "exchange or cut them"
    ),
    "turned": Kind(
        True, "pairs of which EXIF's orientation turns one file and not the other", "save both upright without EXIF"
    ),
    "size_mismatch": Kind(True, "masks of another size than their image", "replace the wrong file"),
    "alpha_mask": Kind(True, "masks whose shape is in the alpha channel", _RULE),
    "faint_mask": Kind(
        True,
        f"masks that hold something but no pixel above {MASK_THRESHOLD}, such as class indices or a dark palette",
        f"{_RULE} values:N",
    ),
    "inverted_mask": Kind(True, "masks that are bright along their border: the polyp seems to be dark", _RULE),
    "full_mask": Kind(
        True, f"masks that cover more than {MOST_POLYP:.0%} of the frame, or have a background that is not black", _RULE
    ),
    "lost_mask": Kind(True, "empty masks, in a data set in which every image shows a polyp", _RESTORE),
    "contradiction": Kind(True, "groups of equal images with different masks", "keep one of each"),
    "leak": Kind(True, "groups of equal images in different splits", "keep one of each"),
    "missing": Kind(True, "pairs that the package's split lists and that are not here", _RESTORE),
    "unlisted": Kind(True, "pairs that the package's split does not list", "remove them"),
    "image_drift": Kind(True, "images that differ from the ones the package's split lists", _RESTORE),
    "mask_drift": Kind(True, "masks that differ from the ones the package's split lists", _RESTORE),
    "uncaptioned": Kind(True, "images without a caption, while others have one", "caption them, or none"),
    "left_out": Kind(False, "folders and files of which something is not read"),
    "empty_mask": Kind(False, "empty masks: images without a polyp"),
    "same_file": Kind(False, "groups of byte-identical images with one mask"),
    "same_pixels": Kind(False, "groups of images that differ as files and decode to the same pixels, with one mask"),
    "exif": Kind(False, "files that tell of a device, a date or a place; `ccbench data prepare` strips that"),
    "grey_mask": Kind(False, "masks with grey pixels; the threshold decides about them"),
    "coloured_mask": Kind(False, "colour-coded masks, read as the maximum over the channels"),
    "incomplete": Kind(False, "pairs fewer than the release has"),
}
"""Every sort of finding, the fatal ones first."""


@dataclass(frozen=True)
class Finding:
    """Something to know about a data set.

    Attributes:
        where: ids or paths below its folder, or reasons, all of them.
        reason: of the first one that has its own.
    """

    kind: str
    count: int
    where: tuple[str, ...]
    reason: str | None = field(default=None, compare=False)

    @property
    def fatal(self) -> bool:
        """Whether no benchmark may run on it."""
        return KINDS[self.kind].fatal

    @property
    def text(self) -> str:
        """What was found, in words that fit any number."""
        return KINDS[self.kind].text

    def __str__(self) -> str:
        return f"{self.text} ({self.count})"
