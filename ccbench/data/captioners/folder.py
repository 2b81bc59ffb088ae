"""Captions of the images of a folder, as the lines of a JSON Lines file."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ccbench.data.captioners.base import Captioner, NoCaption
from ccbench.data.joining import NameRule, PairFiles, join_folders, read_objects
from ccbench.errors import DataError, UsageError
from ccbench.images import list_images, read_image, read_mask, sha256_file

Line = dict[str, Any]


def list_pairs(images: Path, masks: Path) -> list[PairFiles]:
    """Join images and masks on their stems; a mask may also be called `<stem>_mask`.

    Raises:
        DataError: a folder is missing or empty, or a file has no counterpart.
    """
    for folder in (images, masks):
        list_images(folder)
    return join_folders(images, masks, NameRule(mask=r"(.+?)(?:_mask)?"), prefix="").whole()


def read_lines_of(captioner: Captioner, path: Path) -> dict[str, Line]:
    """Return what a file already holds by image id; nothing when there is no file.

    Raises:
        UsageError: it holds captions of another captioner, or something else.
    """
    if not path.exists():
        return {}
    lines = read_objects(path)
    if others := {line.get("captioner") for line in lines} - {captioner.id}:
        raise UsageError(f"{path}: holds captions of {others.pop()}, not of {captioner.id}; choose another --output")
    return {line["id"]: line for line in lines}


def caption_pairs(
    captioner: Captioner, pairs: Sequence[PairFiles], done: Mapping[str, Line]
) -> Iterator[Line | NoCaption]:
    """Yield the line of each pair, in order, or why it has none; a line in `done` is kept while its files are the same.

    Raises:
        DataError: a file cannot be read, or image and mask differ in size.
    """
    for pair in pairs:
        hashes = {"image_sha256": sha256_file(pair.image), "mask_sha256": sha256_file(pair.mask)}
        line = done.get(pair.id, {})
        if {key: line.get(key) for key in hashes} == hashes:
            yield line
            continue
        image, mask = read_image(pair.image), read_mask(pair.mask)
        if image.shape[:2] != mask.shape:
            raise DataError(
                f"{pair.mask}: the mask is {mask.shape[1]}x{mask.shape[0]} pixels, its image {pair.image.name} "
                f"{image.shape[1]}x{image.shape[0]}; they must have one size, replace the wrong file"
            )
        try:
            caption = captioner.caption(image, mask, pair.id)
        except NoCaption as error:
            yield error
            continue
        yield {
            "id": pair.id,
            "caption": caption.text,
            "foreground": caption.foreground,
            "background": caption.background,
            "attributes": dict(caption.attributes),
            "captioner": captioner.id,
            **hashes,
            **({"details": dict(caption.details)} if caption.details else {}),
        }
