"""polyp-128: Kvasir-SEG and CVC-ClinicDB together, squashed to one size."""

from collections.abc import Iterator
from pathlib import Path

from ccbench.data import cvc_clinicdb, kvasir_seg
from ccbench.data.joining import PairFiles, read_pair
from ccbench.data.pairs import DataSplit, LazyPairs
from ccbench.errors import DataError
from ccbench.seeding import derive_seed
from ccbench.types import RealPair


def open_polyps(data_root: Path, split: str, image_size: int, limit: int | None = None) -> DataSplit:
    """Open a split of both data sets in one order by hash, so that any first N pairs hold some of each.

    1334 train, 116 validation, 162 test pairs.

    Args:
        data_root: holds `Kvasir-SEG/` and `CVC-ClinicDB/` as they are distributed, each with its caption file.
        split: `train`, `validation` or `test`.
        image_size: side in pixels to which image (bicubic) and mask (nearest) are squashed.
        limit: keep the first `limit` pairs; None = all.

    Raises:
        DataError: a folder or file is missing, or files do not fit together.
    """
    for folder in (kvasir_seg.FOLDER, cvc_clinicdb.FOLDER):
        if not (data_root / folder).is_dir():
            raise DataError(f"--data-root {data_root}: found no folder {folder}/ there; give the folder that holds it")
    found = kvasir_seg.list_kvasir(data_root, split) + cvc_clinicdb.list_clinicdb(data_root, split)
    files = sorted(found, key=lambda pair: derive_seed("polyp-128", "order", pair.id))[:limit]

    def load(pair: PairFiles) -> RealPair:
        return read_pair(pair, image_size)

    def lines() -> Iterator[str]:
        return (pair.manifest_line() for pair in files)

    return DataSplit(split, LazyPairs(files, load), lines, f"{kvasir_seg.LICENCE}; {cvc_clinicdb.LICENCE}")
