"""Captions of the images of a folder, as the lines of a JSON Lines file."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ccbench.base.files import read_json_lines
from ccbench.base.images import sha256_file
from ccbench.base.mask_files import MaskRule
from ccbench.data.captioners.captioner import Captioner, NoCaption
from ccbench.data.name_matching import Joined, PairFiles, join_folders
from ccbench.data.pair_files import open_pair
from ccbench.errors import DataError, UsageError

Line = dict[str, Any]
_WANTED = '{"id": ..., "caption": ..., "captioner": ...}'


def list_pairs(images: Path, masks: Path) -> Joined:
    """Join the images and masks of two folders as those of any data set.

    Raises:
        DataError: a folder is missing or empty, or a file has no counterpart.
    """
    joined = join_folders(images, masks, None, prefix="")
    joined.whole()
    return joined


def read_lines_of(captioner: Captioner, path: Path) -> dict[str, Line]:
    """Return what a file already holds by image id; nothing when there is no file.

    Raises:
        UsageError: it holds captions of another captioner.
        DataError: it is no such file.
    """
    if not path.is_file():
        return {}
    done: dict[str, Line] = {}
    for number, line in read_json_lines(path, _WANTED):
        if line.get("captioner") != captioner.id:
            other = line.get("captioner")
            raise UsageError(
                f"{path}:{number}: holds captions of {other}, not of {captioner.id}; choose another --output"
            )
        if not isinstance(line.get("id"), str):
            raise DataError(f"{path}:{number}: found no id; wanted one line each: {_WANTED}; remove the line")
        done[line["id"]] = line
    return done


def caption_pairs(
    captioner: Captioner, pairs: Sequence[PairFiles], done: Mapping[str, Line], rule: MaskRule | None = None
) -> Iterator[Line | NoCaption]:
    """Yield the line of each pair, in order, or why it has none; a line in `done` is kept while its files are the same.

    Args:
        captioner: writes the captions.
        pairs: images and masks.
        done: of `read_lines_of`.
        rule: which pixels of a mask are polyp, where a user said so.

    Raises:
        DataError: a pair cannot be read, see `ccbench.data.pair_files.open_pair`.
    """
    for pair in pairs:
        source = {
            "image_sha256": sha256_file(pair.image),
            "mask_sha256": sha256_file(pair.mask),
            **({"polyp_is": str(rule)} if rule else {}),
        }
        line = done.get(pair.id, {})
        if {key: line[key] for key in (*source, "polyp_is") if key in line} == source:
            yield line
            continue
        opened = open_pair(pair, rule)
        try:
            caption = captioner.caption(opened.image.pixels, opened.mask.region, pair.id)
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
            **source,
            **({"details": dict(caption.details)} if caption.details else {}),
        }
