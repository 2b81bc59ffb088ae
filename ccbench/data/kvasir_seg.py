"""Kvasir-SEG: 1000 images of single frames, split 900 / 100 by its published lists."""

from pathlib import Path

from ccbench.data.joining import CAPTIONS_FILE, PairFiles, join_files, read_lines
from ccbench.errors import DataError
from ccbench.seeding import derive_seed

FOLDER = "Kvasir-SEG"
LICENCE = "Kvasir-SEG: research and education only"
VALIDATION_SHARE = 0.08

_LISTS = {"train": "split_train.txt", "test": "split_eval.txt"}


def list_kvasir(data_root: Path, split: str) -> list[PairFiles]:
    """List the pairs of one split, ids `kvasir-<stem>`.

    The published evaluation list is the test split. Validation is the 8 % of the training list with the lowest hashes:
    828 train, 72 validation, 100 test.

    Raises:
        DataError: a file is missing, has no counterpart, or stands in no list or in both.
    """
    root = data_root / FOLDER
    files = join_files(root / "images", root / "masks", root / CAPTIONS_FILE, "kvasir")
    lists = {part: [Path(line).stem for line in read_lines(root / name)] for part, name in _LISTS.items()}
    _check_lists(root, files, lists)
    if split == "test":
        stems = set(lists["test"])
    else:
        ordered = sorted(lists["train"], key=lambda stem: derive_seed("kvasir-seg", "validation", stem))
        held_out = round(VALIDATION_SHARE * len(ordered))
        stems = set(ordered[:held_out] if split == "validation" else ordered[held_out:])
    return [pair for stem, pair in files.items() if stem in stems]


def _check_lists(root: Path, files: dict[str, PairFiles], lists: dict[str, list[str]]) -> None:
    for part, name in _LISTS.items():
        for stem in lists[part]:
            if stem not in files:
                raise DataError(
                    f"{root / name}: lists {stem!r}, which is not in {root / 'images'}; complete the data set"
                )
    train, test = set(lists["train"]), set(lists["test"])
    if both := train & test:
        raise DataError(f"{root}: {min(both)!r} stands in both {' and '.join(_LISTS.values())}; keep it in one")
    if neither := files.keys() - train - test:
        raise DataError(f"{root}: {min(neither)!r} stands in neither {' nor '.join(_LISTS.values())}; add it to one")
