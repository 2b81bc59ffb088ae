"""Any folder of `images/` and `masks/`, with captions where it has them.

`captions.jsonl` holds `{"id", "caption"}` with the image's stem as its id; a folder that `ccbench data prepare` wrote
has `metadata.jsonl`, which also tells id, part, cluster and split.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from ccbench.data.joining import PairFiles, read_captions, read_objects
from ccbench.data.sets.base import DataSet, Layout, Part
from ccbench.errors import DataError

CAPTIONS, METADATA = "captions.jsonl", "metadata.jsonl"


def annotate(root: Path, pairs: list[PairFiles]) -> list[PairFiles]:
    """Add what `metadata.jsonl` or else `captions.jsonl` tells; a pair that they do not name stays as it is.

    Raises:
        DataError: a line of the file is not what it must be.
    """
    if (root / METADATA).is_file():
        rows = {pair.image: pair for pair in _read_metadata(root, pairs)}
        return [rows.get(pair.image, pair) for pair in pairs]
    if (root / CAPTIONS).is_file():
        captions = read_captions(root / CAPTIONS)
        return [replace(pair, caption=captions.get(pair.image.stem)) for pair in pairs]
    return pairs


def _read_metadata(root: Path, pairs: list[PairFiles]) -> list[PairFiles]:
    path = root / METADATA
    pair_of = {pair.image.relative_to(root).as_posix(): pair for pair in pairs}
    found: list[PairFiles] = []
    seen: set[str] = set()
    for number, row in enumerate(read_objects(path), start=1):
        name, pair_id = row.get("file_name"), row.get("id")
        if name not in pair_of or not isinstance(pair_id, str) or not pair_id or pair_id in seen:
            raise DataError(
                f"{path}:{number}: wanted file_name of an image under {root} and an id of its own, found {name!r} and "
                f"{pair_id!r}; prepare the folder again"
            )
        seen.add(pair_id)
        caption, part, cluster, split = (_text(row, key) for key in ("caption", "part", "cluster", "split"))
        pair = replace(pair_of[name], id=pair_id, caption=caption, part=part or "")
        found.append(replace(pair, cluster=cluster, split=split))
    return found


def _text(row: dict[str, Any], key: str) -> str | None:
    return str(row[key]) if row.get(key) else None


FOLDER = DataSet(
    name="folder",
    title="a plain folder",
    prefix="",
    url="",
    licence="not stated",
    layouts=(
        Layout(
            "images/ + masks/ (+ captions.jsonl)",
            (Part(("images", "image"), ("masks", "mask")),),
            telling=False,
        ),
    ),
    has_negatives=True,
    annotate=annotate,
)
