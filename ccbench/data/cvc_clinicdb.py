"""CVC-ClinicDB: 612 frames of 29 video sequences, split by whole sequence."""

import csv
from dataclasses import replace
from pathlib import Path

from ccbench.data.joining import CAPTIONS_FILE, PairFiles, join_files, read_lines
from ccbench.errors import DataError

FOLDER = "CVC-ClinicDB"
LICENCE = "CVC-ClinicDB: research and education only"

TEST_SEQUENCES = (4, 10, 20, 24)
"""62 frames, the size of the test set in the literature: the first four sequences, in the order of
`derive_seed("cvc-clinicdb", "split", sequence)`, that have 62 frames together."""

VALIDATION_SEQUENCES = (13, 21)
"""44 frames, 8 % of the other 550: the first two of the remaining sequences, in that order, that have 44 together."""

_COLUMNS = ("sequence", "first_frame", "last_frame")


def list_clinicdb(data_root: Path, split: str) -> list[PairFiles]:
    """List the pairs of one split, ids `clinicdb-<frame>`, clusters `clinicdb-seq<number>`.

    506 train, 44 validation, 62 test frames.

    Raises:
        DataError: a file is missing or has no counterpart, or a frame belongs to no sequence.
    """
    root = data_root / FOLDER
    files = join_files(root / "PNG" / "Original", root / "PNG" / "Ground Truth", root / CAPTIONS_FILE, "clinicdb")
    sequence_of = read_sequences(root / "sequences.csv")
    for stem in sequence_of:
        if stem not in files:
            raise DataError(f"{root / 'sequences.csv'}: frame {stem!r} is not in {root / 'PNG'}; complete the data set")
    kept = []
    for stem, pair in files.items():
        if stem not in sequence_of:
            raise DataError(f"{pair.image}: frame {stem!r} is in no sequence of {root / 'sequences.csv'}; add it there")
        if split_of(sequence_of[stem]) == split:
            kept.append(replace(pair, cluster=f"clinicdb-seq{sequence_of[stem]:02d}"))
    return kept


def split_of(sequence: int) -> str:
    """Return the split that a video sequence belongs to."""
    if sequence in TEST_SEQUENCES:
        return "test"
    return "validation" if sequence in VALIDATION_SEQUENCES else "train"


def read_sequences(path: Path) -> dict[str, int]:
    """Read the frame ranges (`sequence,first_frame,last_frame`, inclusive); frame stem -> sequence.

    Raises:
        DataError: the file is missing, a row is not three integers, or ranges overlap.
    """
    rows = list(csv.reader(read_lines(path)))
    if not rows or tuple(rows[0]) != _COLUMNS:
        raise DataError(
            f"{path}: wanted the header {','.join(_COLUMNS)!r}, found {','.join(rows[0]) if rows else ''!r}"
        )
    sequence_of: dict[str, int] = {}
    for row in rows[1:]:
        try:
            sequence, first, last = map(int, row)
        except ValueError as error:
            raise DataError(f"{path}: row {','.join(row)!r} is not three integers; correct it") from error
        for frame in range(first, last + 1):
            if sequence_of.setdefault(str(frame), sequence) != sequence:
                raise DataError(f"{path}: frame {frame} is in two sequences; ranges must not overlap")
    return sequence_of
