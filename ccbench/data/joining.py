"""Joins images, masks and captions on their id, never on sort order."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ccbench.errors import DataError
from ccbench.images import content_sha256, is_image_name


@dataclass(frozen=True)
class PairFiles:
    """One image with its mask, before they are opened.

    Attributes:
        id: unique within its data set, `<data set>-<part>-<name>`.
        caption: None until there is one. cluster: video sequence or patient, None where unknown.
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
        return "\t".join((self.id, content_sha256(self.image), content_sha256(self.mask)))


@dataclass
class Joined:
    """The pairs of one or more folders, and the files that belong to none.

    Attributes:
        twins: two files that claim one id.
    """

    pairs: list[PairFiles] = field(default_factory=list)
    images_alone: list[Path] = field(default_factory=list)
    masks_alone: list[Path] = field(default_factory=list)
    twins: list[tuple[Path, Path]] = field(default_factory=list)

    def whole(self) -> list[PairFiles]:
        """Return the pairs.

        Raises:
            DataError: two files claim one id, or an image or mask has no counterpart.
        """
        for one, other in self.twins:
            raise DataError(f"{other}: {one.name} has the same name; keep one of the two")
        for paths, kind in ((self.images_alone, "mask"), (self.masks_alone, "image")):
            if paths:
                raise DataError(f"{paths[0]}: found no {kind} of that name; add it, or remove {paths[0].name}")
        return self.pairs


@dataclass(frozen=True)
class NameRule:
    """How file stems tell which image and which mask belong together: group 1 of both patterns is the shared name.

    Attributes:
        ignore: stems in the same folders that are neither, such as drawn contours.
    """

    image: str = r"(.+)"
    mask: str = r"(.+)"
    ignore: str = r"(?!)"  # matches nothing


def join_folders(images: Path, masks: Path, rule: NameRule, prefix: str, part: str = "") -> Joined:
    """Join the image files of two folders, which may be one, on the name that `rule` finds in their stems.

    Returns:
        pairs sorted by id, ids `<prefix>-<name>`, or `<name>` where `prefix` is empty.
    """
    joined = Joined()
    if images == masks:
        files = _files(images, rule)
        mask_files = [path for path in files if re.fullmatch(rule.mask, path.stem)]
        image_files = [path for path in files if not re.fullmatch(rule.mask, path.stem)]
    else:
        image_files, mask_files = _files(images, rule), _files(masks, rule)
    image_of = _by_name(image_files, rule.image, joined.images_alone, joined.twins)
    mask_of = _by_name(mask_files, rule.mask, joined.masks_alone, joined.twins)
    for name in sorted(image_of.keys() & mask_of.keys()):
        pair_id = f"{prefix}-{name}" if prefix else name
        joined.pairs.append(PairFiles(pair_id, image_of[name], mask_of[name], part=part))
    joined.images_alone += [path for name, path in sorted(image_of.items()) if name not in mask_of]
    joined.masks_alone += [path for name, path in sorted(mask_of.items()) if name not in image_of]
    return joined


def read_captions(path: Path) -> dict[str, str]:
    """Read a JSONL file of {"id", "caption"} objects (other keys are ignored); id -> caption.

    Raises:
        DataError: the file is missing, a line is not such an object, or an id comes twice.
    """
    captions: dict[str, str] = {}
    for number, entry in enumerate(read_objects(path), start=1):
        if not (_text(entry, "id") and _text(entry, "caption")):
            raise DataError(
                f'{path}:{number}: wanted {{"id": text, "caption": text}} with neither empty; correct the line'
            )
        if entry["id"] in captions:
            raise DataError(f"{path}:{number}: a second caption for id {entry['id']!r}; keep one")
        captions[entry["id"]] = entry["caption"].strip()
    return captions


def read_objects(path: Path) -> list[dict[str, Any]]:
    """Read a JSONL file, one object a line; blank lines are left out.

    Raises:
        DataError: the file is missing, is not text, or a line is not an object.
    """
    objects: list[dict[str, Any]] = []
    for number, line in enumerate(read_lines(path), start=1):
        try:
            entry = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}:{number}: not JSON ({error.msg}); wanted one object a line") from error
        if not isinstance(entry, dict):
            raise DataError(f"{path}:{number}: wanted one object a line, found {type(entry).__name__}; correct it")
        objects.append(entry)
    return objects


def read_lines(path: Path) -> list[str]:
    """Return the lines of a small text file that are not blank; `DataError` when it is missing or not text."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"{path}: not found; the data set comes with this file, put it there") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text ({error}); replace the file") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def _files(folder: Path, rule: NameRule) -> list[Path]:
    names = (path for path in folder.iterdir() if is_image_name(path) and path.is_file())
    return sorted(path for path in names if not re.fullmatch(rule.ignore, path.stem))


def _by_name(paths: Sequence[Path], pattern: str, alone: list[Path], twins: list[tuple[Path, Path]]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in paths:
        match = re.fullmatch(pattern, path.stem)
        if match is None:
            alone.append(path)
        elif (name := match[1]) in found:
            twins.append((found[name], path))
        else:
            found[name] = path
    return found


def _text(entry: Mapping[str, object], key: str) -> bool:
    value = entry.get(key)
    return isinstance(value, str) and bool(value.strip())
