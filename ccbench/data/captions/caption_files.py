"""Captions that lie beside the images of a data set, in the forms in which people keep them."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ccbench.base.files import read_json_lines, read_text
from ccbench.data.name_matching import PairFiles, plain_name
from ccbench.errors import DataError

CAPTIONS, METADATA = "captions.jsonl", "metadata.jsonl"
_READ = (METADATA, "metadata.csv", CAPTIONS, "captions.csv")
_NOT_READ = ("captions.json", "captions.txt", "captions.tsv", "captions.xlsx", "metadata.json", "metadata.parquet")
_TEXTS = ("caption", "text", "prompt")
_WANTED = '{"id": image name, "caption": text}'


def find_caption_file(root: Path, images: Sequence[Path] = ()) -> Path | None:
    """Return the file of captions beside or in the folders of images; None where there is none.

    Args:
        root: folder of the data set.
        images: its folders of images; Hugging Face's `imagefolder` keeps the file there.

    Raises:
        DataError: two such files, or one in a form that is not read.
    """
    folders = list(dict.fromkeys((root, *images)))
    found = [folder / name for folder in folders for name in _READ if (folder / name).is_file()]
    if len(found) > 1:
        names = " and ".join(path.relative_to(root).as_posix() for path in found)
        raise DataError(f"{root}: found {names}; keep one of them, so that each image has one caption")
    other = [folder / name for folder in folders for name in _NOT_READ if (folder / name).is_file()]
    if other and not found:
        raise DataError(
            f"{other[0]}: captions in this form are not read; wanted {CAPTIONS}, one line each: {_WANTED}, or a CSV "
            "with these columns"
        )
    return found[0] if found else None


def annotate(root: Path, pairs: list[PairFiles]) -> tuple[list[PairFiles], list[str]]:
    """Add what a file of captions tells of the pairs; a pair that it does not name stays as it is.

    Returns:
        the pairs, and notes of what the file holds besides.

    Rows name an image by `file_name`, the path below the file's folder, or by `id`, its name with or without suffix.
    Rows with both, as `ccbench data prepare` writes them, give the pair that id; they also tell part, cluster, split.

    Raises:
        DataError: a row is not what it must be, two rows are of one image, or no row is of an image that is here.
    """
    path = find_caption_file(root, list(dict.fromkeys(pair.image.parent for pair in pairs)))
    if path is None:
        return pairs, []
    keys = _keys(path, pairs)
    found: dict[str, PairFiles] = {}
    ids: set[str] = set()
    rows, first = 0, ""
    for number, row in _read_rows(path):
        rows += 1
        name, by_file = _name(path, number, row)
        pair = keys.get(plain_name(name))
        if pair is None:
            if by_file and not (path.parent / name).is_file():
                raise DataError(f"{path}:{number}: {name!r} is no image below {path.parent}; correct the line")
            first = first or name
            continue
        if pair.id in found:
            raise DataError(f"{path}:{number}: a second caption for {name!r}; keep one")
        told = _tell(path, number, row, pair, by_file)
        if told.id in ids:
            raise DataError(f"{path}:{number}: a second row of id {told.id!r}; give each its own")
        ids.add(told.id)
        found[pair.id] = told
    if rows and not found and pairs:
        raise DataError(
            f"{path}: none of its {rows} captions is of an image that is here: {first!r} there, "
            f"{pairs[0].image.name!r} here; name images by their file name, or remove {path.name}"
        )
    left = rows - len(found)
    notes = [f"{path}: {left} of its {rows} captions are of no pair, such as {first!r}"] if left else []
    return [found.get(pair.id, pair) for pair in pairs], notes


def read_captions(path: Path) -> dict[str, str]:
    """Read a JSON Lines file of {"id", "caption"} objects (other keys are ignored); id -> caption.

    Raises:
        DataError: the file is missing, a line is not such an object, or an id comes twice.
    """
    captions: dict[str, str] = {}
    for number, row in _read_rows(path):
        name = _text(row, "id")
        if name is None:
            raise DataError(f"{path}:{number}: found no id that is text; wanted one line each: {_WANTED}")
        if name in captions:
            raise DataError(f"{path}:{number}: a second caption for id {name!r}; keep one")
        captions[name] = _caption(path, number, row)
    return captions


def _keys(path: Path, pairs: list[PairFiles]) -> dict[str, PairFiles]:
    """Return the pairs by each name that a row may call them; a name that two of them have is of neither."""
    found: dict[str, PairFiles] = {}
    twice: set[str] = set()
    for pair in pairs:
        names = {pair.image.stem, pair.image.name, pair.id}
        if pair.image.is_relative_to(path.parent):
            names.add(pair.image.relative_to(path.parent).as_posix())
        for name in map(plain_name, names):
            if name in found:
                twice.add(name)
            found[name] = pair
    return {name: pair for name, pair in found.items() if name not in twice}


def _name(path: Path, number: int, row: dict[str, Any]) -> tuple[str, bool]:
    """Return what a row calls its image, and whether that is a path."""
    for key in ("file_name", "id", "file", "image"):
        if name := _text(row, key):
            return name.replace("\\", "/").removeprefix("./"), key == "file_name"
    raise DataError(f"{path}:{number}: found no id that is text; wanted one line each: {_WANTED}")


def _tell(path: Path, number: int, row: dict[str, Any], pair: PairFiles, by_file: bool) -> PairFiles:
    if not by_file:
        return replace(pair, caption=_caption(path, number, row))
    caption = _caption(path, number, row) if any(row.get(key) for key in _TEXTS) else pair.caption
    cluster, split = _text(row, "cluster") or pair.cluster, _text(row, "split") or pair.split
    part, pair_id = _text(row, "part") or pair.part, _text(row, "id") or pair.id
    return replace(pair, id=pair_id, caption=caption, part=part, cluster=cluster, split=split)


def _caption(path: Path, number: int, row: dict[str, Any]) -> str:
    for key in _TEXTS:
        if text := _text(row, key):
            return text.strip()
    raise DataError(f"{path}:{number}: found no caption that is text; wanted one line each: {_WANTED}")


def _text(row: dict[str, Any], key: str) -> str | None:
    value = row.get(key)
    return value if isinstance(value, str) and value.strip() else None


def _read_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Give the line number and the content of each row of a JSON Lines or CSV file."""
    if path.suffix != ".csv":
        yield from read_json_lines(path, _WANTED)
        return
    rows = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        columns = set(rows.fieldnames or ())
        if not ({"id", "file_name", "file", "image"} & columns and columns & set(_TEXTS)):
            raise DataError(f"{path}: found the columns {rows.fieldnames}, wanted id,caption with commas between")
        for row in rows:
            if None in row or None in row.values():
                raise DataError(f"{path}:{rows.line_num}: wanted the columns {', '.join(rows.fieldnames or ())}")
            yield rows.line_num, row
    except csv.Error as error:
        raise DataError(f"{path}:{rows.line_num}: cannot be read as CSV ({error}); correct the line") from error
