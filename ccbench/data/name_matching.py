"""Joins images and masks on their names, never on sort order: one rule for every command."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from ccbench.base.image_folders import ImageFolder, is_image_name, look_into, no_images
from ccbench.base.images import content_sha256
from ccbench.errors import DataError

_WORDS = (
    *("image", "images", "img", "imgs", "input", "inputs", "frame", "original", "orig"),
    *("mask", "masks", "msk", "gt", "groundtruth", "ground_truth", "label", "labels", "seg"),
    *("annotation", "target", "pred", "prediction", "map", "output"),
)
_MASK_WORDS = _WORDS[_WORDS.index("mask") : _WORDS.index("pred")]


@dataclass(frozen=True)
class PairFiles:
    """One image with its mask, before they are opened.

    Attributes:
        id: unique within its data set, `<data set>-<part>-<name>`.
        caption: None until there is one.
        cluster: video sequence or patient, None where unknown.
        part: sub-collection of the data set, such as a centre; empty when there is only one.
        split: as the package or the release splits the data set; None where neither does.
    """

    id: str
    image: Path
    mask: Path
    caption: str | None = None
    cluster: str | None = None
    part: str = ""
    split: str | None = None

    def manifest_line(self) -> str:
        """Return the id and the content hash of both files, tab-separated."""
        return "\t".join((self.id, *self.content_hashes()))

    def content_hashes(self) -> tuple[str, str]:
        """Return the content hash of image and mask; a file that has not changed meanwhile is not read again."""
        return _content_hash(self.image), _content_hash(self.mask)


def _content_hash(path: Path) -> str:
    try:
        state = path.stat()
    except OSError:
        return content_sha256(path)  # says what is wrong
    return _hash_of_state(path, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)


@lru_cache(maxsize=16_384)
def _hash_of_state(path: Path, *state: int) -> str:
    return content_sha256(path)


@dataclass
class Joined:
    """The pairs of one or more folders, and the files that belong to none.

    Attributes:
        twins: two files that claim one id.
        reworded: pairs whose names are equal without words such as `_mask`.
        notes: what of the folders is left out.
    """

    pairs: list[PairFiles] = field(default_factory=list)
    images_alone: list[Path] = field(default_factory=list)
    masks_alone: list[Path] = field(default_factory=list)
    twins: list[tuple[Path, Path]] = field(default_factory=list)
    reworded: list[PairFiles] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def whole(self, image: str = "image", mask: str = "mask") -> list[PairFiles]:
        """Return the pairs.

        Args:
            image, mask: what the files of the two sides are called in errors.

        Raises:
            DataError: two files claim one id, or an image or mask has no counterpart.
        """
        for one, other in self.twins:
            raise DataError(f"{other}: {one.name} has the same name; keep one of the two")
        for paths, others, kind in (
            (self.images_alone, self.masks_alone, mask),
            (self.masks_alone, self.images_alone, image),
        ):
            if paths:
                more = f", nor for {len(paths) - 1} more" if len(paths) > 1 else ""
                left = f"; left over is {others[0]}" if others else ""
                raise DataError(
                    f"{paths[0]}: found no {kind} of that name{more}{left}; add it, or remove {paths[0].name}"
                )
        return self.pairs

    def pairing(self) -> str:
        """Return how the names of images and masks relate."""
        if not self.reworded:
            return f"{len(self.pairs)} by equal names"
        first = self.reworded[0]
        return (
            f"{len(self.reworded)} of {len(self.pairs)} by names that are equal without words such as _mask: "
            f"{first.image.name} + {first.mask.name}"
        )


@dataclass(frozen=True)
class NameRule:
    """How the file stems of one release tell which image and which mask belong together, where names differ otherwise.

    Group 1 of both patterns is the shared name.

    Attributes:
        ignore: stems in the same folders that are neither, such as drawn contours.
    """

    image: str
    mask: str
    ignore: str = r"(?!)"  # matches nothing


FLAT = NameRule(rf"(?!.*_(?:{'|'.join(_MASK_WORDS)})$)(.+)", rf"(.+)_(?:{'|'.join(_MASK_WORDS)})")
"""Images `NAME` and masks `NAME_mask` in one folder."""


def plain_name(stem: str) -> str:
    """Return a name in one Unicode form: macOS takes names apart that look the same elsewhere."""
    return unicodedata.normalize("NFC", stem)


def core_name(stem: str) -> str:
    """Return a name without a first and a last word that says what its file is, such as `_mask` or `img_`."""
    words = "|".join(sorted(_WORDS, key=len, reverse=True))
    name = re.sub(rf"^(?:{words})[ _-]+(?=.)", "", plain_name(stem), flags=re.IGNORECASE)
    return re.sub(rf"(?<=.)[ _-]+(?:{words})$", "", name, flags=re.IGNORECASE)


def join_folders(images: Path, masks: Path, rule: NameRule | None, prefix: str, part: str = "") -> Joined:
    """Join the image files of two folders, which may be one, on their names.

    Names are equal in one Unicode form, or without words such as `_mask`, `mask_` or `img_` on either side; where
    `rule` is given, it decides instead.

    Returns:
        pairs sorted by id, ids `<prefix>-<name of the image>`, or `<name>` where `prefix` is empty.

    Raises:
        DataError: a folder cannot be read, or holds no image.
    """
    found = look_into(images)
    folders = [found] if images == masks else [found, look_into(masks)]
    image_files, mask_files = (folder.images for folder in (folders[0], folders[-1]))
    if rule is not None:
        image_files = [path for path in image_files if not re.fullmatch(rule.ignore, path.stem)]
        mask_files = [path for path in mask_files if not re.fullmatch(rule.ignore, path.stem)]
        if images == masks:
            mask_files = [path for path in image_files if re.fullmatch(rule.mask, path.stem)]
            image_files = [path for path in image_files if path not in set(mask_files)]
    _refuse_empty(folders)
    joined = join_files(image_files, mask_files, rule, prefix, part)
    joined.notes += [note for folder in folders if (note := folder.note())]
    return joined


def join_files(
    images: Sequence[Path], masks: Sequence[Path], rule: NameRule | None = None, prefix: str = "", part: str = ""
) -> Joined:
    """Join two lists of files, which may also be predicted maps and masks; see `join_folders`."""
    joined = Joined()
    image_of = _by_name(images, rule.image if rule else None, joined.images_alone, joined.twins)
    mask_of = _by_name(masks, rule.mask if rule else None, joined.masks_alone, joined.twins)
    partner_of = {name: name for name in image_of.keys() & mask_of.keys()}
    left_images, left_masks = image_of.keys() - partner_of.keys(), mask_of.keys() - partner_of.keys()
    if rule is None:
        reworded = _join_cores(image_of, mask_of, left_images, left_masks, joined.twins)
        partner_of |= reworded
    for name, partner in sorted(partner_of.items()):
        pair = PairFiles(f"{prefix}-{name}" if prefix else name, image_of[name], mask_of[partner], part=part)
        joined.pairs.append(pair)
        if name != partner:
            joined.reworded.append(pair)
    joined.images_alone += [image_of[name] for name in sorted(left_images)]
    joined.masks_alone += [mask_of[name] for name in sorted(left_masks)]
    return joined


def _join_cores(
    image_of: dict[str, Path],
    mask_of: dict[str, Path],
    left_images: set[str],
    left_masks: set[str],
    twins: list[tuple[Path, Path]],
) -> dict[str, str]:
    """Join what is left on names without words, and take it from `left_*`; a name that several claim joins nothing."""
    images, masks = _by_core(image_of, left_images, twins), _by_core(mask_of, left_masks, twins)
    found = {images[core]: masks[core] for core in images.keys() & masks.keys()}
    left_images.difference_update(found)
    left_masks.difference_update(found.values())
    return found


def _by_core(files: dict[str, Path], left: set[str], twins: list[tuple[Path, Path]]) -> dict[str, str]:
    """Return the core of the names in `left`; one whose core is that of another file is a twin."""
    taken = {core_name(name): name for name in sorted(files.keys() - left)}
    found: dict[str, str] = {}
    for name in sorted(left):
        core = core_name(name)
        other = taken.get(core) or found.get(core)
        if other is None:
            found[core] = name
        else:
            twins.append((files[other], files[name]))
            left.discard(name)
    return found


def _by_name(
    paths: Iterable[Path], pattern: str | None, alone: list[Path], twins: list[tuple[Path, Path]]
) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in paths:
        stem = plain_name(path.stem)
        match = re.fullmatch(pattern or r"(.+)", stem, re.DOTALL)
        if match is None:
            alone.append(path)
        elif (name := match[1]) in found:
            twins.append((found[name], path))
        else:
            found[name] = path
    return found


def _refuse_empty(folders: Sequence[ImageFolder]) -> None:
    """Refuse a folder without an image: nothing would be a pair."""
    if empty := [folder for folder in folders if not folder.images]:
        raise DataError("; ".join(no_images(folder) for folder in empty))


def holds_name(folder: Path, pattern: str) -> bool:
    """Return whether an image of the folder has a stem of that pattern."""
    return any(re.fullmatch(pattern, path.stem) for path in folder.iterdir() if is_image_name(path))
