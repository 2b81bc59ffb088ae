"""Joins images, masks and captions of an image folder on their id, and reads one pair."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ccbench.errors import DataError
from ccbench.images import list_images, read_image, read_mask, resize_image, resize_mask, sha256_file
from ccbench.types import Condition, RealPair

CAPTIONS_FILE = "captions_medvlsm.jsonl"


@dataclass(frozen=True)
class PairFiles:
    """One image with its mask and caption, before they are opened. `cluster`: video sequence, None where unknown."""

    id: str
    image: Path
    mask: Path
    caption: str
    cluster: str | None = None

    def manifest_line(self) -> str:
        """Return the id, the sha256 of both files and the caption, tab-separated."""
        return "\t".join((self.id, sha256_file(self.image), sha256_file(self.mask), self.caption))


def read_pair(files: PairFiles, size: int) -> RealPair:
    """Decode one pair and squash it to size x size.

    Raises:
        DataError: a file cannot be read, or mask and image differ in size.
    """
    image, mask = read_image(files.image), read_mask(files.mask)
    if image.shape[:2] != mask.shape:
        raise DataError(
            f"{files.mask}: the mask is {_size(mask.shape)} pixels, its image {files.image.name} {_size(image.shape)}; "
            "they must have one size, replace the wrong file"
        )
    return RealPair(
        resize_image(image, size), Condition(files.id, resize_mask(mask, size), files.caption, cluster=files.cluster)
    )


def join_files(images: Path, masks: Path, captions: Path, prefix: str) -> dict[str, PairFiles]:
    """Join the files of two folders and a caption list on the file stem.

    Returns:
        stem -> files; their id is `<prefix>-<stem>`.

    Raises:
        DataError: a folder or the caption file is missing or empty, or an image, mask or caption has no counterpart.
    """
    image_of, mask_of = _by_stem(images), _by_stem(masks)
    for stem, path in {**mask_of, **image_of}.items():
        other, kind = (masks, "mask") if stem in image_of else (images, "image")
        if not (stem in image_of and stem in mask_of):
            raise DataError(f"{path}: found no {kind} named {stem!r} in {other}; add it, or remove {path.name}")
    caption_of = read_captions(captions)
    for stem, path in image_of.items():
        if stem not in caption_of:
            raise DataError(f'{path}: found no caption; add a line {{"id": "{stem}", "caption": ...}} to {captions}')
    return {
        stem: PairFiles(f"{prefix}-{stem}", path, mask_of[stem], caption_of[stem])
        for stem, path in sorted(image_of.items())
    }


def read_captions(path: Path) -> dict[str, str]:
    """Read a JSONL file of {"id", "caption"} objects (other keys are ignored); id -> caption.

    Raises:
        DataError: the file is missing, a line is not such an object, or an id comes twice.
    """
    captions: dict[str, str] = {}
    for number, line in enumerate(read_lines(path), start=1):
        try:
            entry = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}:{number}: not JSON ({error.msg}); wanted one object a line") from error
        if not (isinstance(entry, Mapping) and _text(entry, "id") and _text(entry, "caption")):
            raise DataError(
                f'{path}:{number}: wanted {{"id": text, "caption": text}} with neither empty; correct the line'
            )
        if entry["id"] in captions:
            raise DataError(f"{path}:{number}: a second caption for id {entry['id']!r}; keep one")
        captions[entry["id"]] = entry["caption"].strip()
    return captions


def read_lines(path: Path) -> list[str]:
    """Return the lines of a small text file that are not blank; `DataError` when it is missing or not text."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"{path}: not found; the data set comes with this file, put it there") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text ({error}); replace the file") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def _by_stem(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in list_images(folder):
        if path.stem in found:
            raise DataError(f"{path}: {found[path.stem].name} has the same name; keep one of the two")
        found[path.stem] = path
    return found


def _text(entry: Mapping[object, object], key: str) -> bool:
    value = entry.get(key)
    return isinstance(value, str) and bool(value.strip())


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"
