"""The splits that ccbench freezes: one file a data set, one row a pair, with the hashes of what it must show.

Columns: `id`, `split` (train, validation or test), `cluster` (video sequence, empty where unknown), `image_sha256` and
`mask_sha256` (`ccbench.base.images.content_sha256`). Lines that begin with `#` say how the split was drawn.
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ccbench.base.files import read_text
from ccbench.data.name_matching import PairFiles
from ccbench.errors import DataError

FOLDER = Path(__file__).parent
_COLUMNS = ["id", "split", "cluster", "image_sha256", "mask_sha256"]


class SplitRow(NamedTuple):
    """Where one pair belongs, and what its files must hold. `cluster`: None where unknown."""

    split: str
    cluster: str | None
    image_sha256: str
    mask_sha256: str


def has_split(data_set: str) -> bool:
    """Return whether the package splits the data set of that name."""
    return _path(data_set).is_file()


def read_split(data_set: str) -> dict[str, SplitRow]:
    """Read the split of a data set; pair id -> its row.

    Raises:
        DataError: the file is damaged.
    """
    path = _path(data_set)
    header, *rows = csv.reader(line for line in read_text(path).splitlines() if line and not line.startswith("#"))
    if header != _COLUMNS or any(len(row) != len(_COLUMNS) for row in rows):
        raise DataError(f"{path}: wanted the columns {', '.join(_COLUMNS)}; install ccbench again")
    return {pair_id: SplitRow(split, cluster or None, image, mask) for pair_id, split, cluster, image, mask in rows}


def select_split(pairs: Sequence[PairFiles], data_set: str, split: str, root: Path) -> list[PairFiles]:
    """Return the pairs of one split, as listed by the data set; hashes are not looked at: `check_hashes` does.

    Raises:
        DataError: a pair that the package lists is missing under `root`, or one that it does not list is there.
    """
    listed = read_split(data_set)
    found = {pair.id: pair for pair in pairs}
    if missing := sorted(listed.keys() - found.keys()):
        raise DataError(
            f"{root}: {len(missing)} of the {len(listed)} pairs of {data_set} are missing, such as {missing[0]!r}; "
            f"complete the data set (`ccbench data check {root}` shows what is there)"
        )
    if extra := sorted(found.keys() - listed.keys()):
        raise DataError(f"{found[extra[0]].image}: {data_set} has no pair {extra[0]!r}; remove it from the folder")
    return [pair for pair in pairs if listed[pair.id].split == split]


def check_hashes(pair: PairFiles, hashes: tuple[str, str], row: SplitRow, data_set: str) -> None:
    """Compare the content of a pair's files with what the package lists.

    Raises:
        DataError: a file is another one; says so where images and masks are exchanged.
    """
    wanted = (row.image_sha256, row.mask_sha256)
    if hashes == wanted:
        return
    if hashes == wanted[::-1]:
        raise DataError(f"{pair.image}: is the mask of {pair.id!r}, and {pair.mask} its image; exchange the folders")
    path, kind = (pair.image, "image") if hashes[0] != wanted[0] else (pair.mask, "mask")
    raise DataError(
        f"{path}: is not the {kind} of {pair.id!r} that {data_set} holds, so that numbers would not compare; restore "
        "the release's own file (`ccbench data check` names every such file)"
    )


def _path(data_set: str) -> Path:
    return FOLDER / f"{data_set}.csv"
