"""Opens a split of a protocol's data source."""

from pathlib import Path
from typing import Literal

from ccbench.data.pairs import DataSplit
from ccbench.data.phantom.phantom_source import open_phantoms
from ccbench.data.polyp_source import open_polyps
from ccbench.errors import DataError
from ccbench.protocols.protocol import Protocol

__all__ = ["DataSplit", "Split", "open_split"]

Split = Literal["train", "validation", "test"]


def open_split(protocol: Protocol, split: Split, data_root: Path | None, limit: int | None = None) -> DataSplit:
    """Open one split of the protocol's data.

    Args:
        protocol: names the data source and the image size.
        split: which part.
        data_root: folder with the data sets' own folders; ignored by protocols that need none.
        limit: keep the first `limit` pairs of the split's order; None = all.

    Raises:
        DataError: the data root or a file in it is missing, or its files do not fit together.
    """
    if protocol.needs_data_root and data_root is None:
        raise DataError(
            f"--data-root: protocol {protocol.name!r} reads images from disk and no folder was given; "
            "give the folder that holds Kvasir-SEG/ and CVC-ClinicDB/"
        )
    if protocol.data == "polyp" and data_root is not None:
        opened = open_polyps(data_root, split, protocol.image_size, limit)
    else:
        opened = open_phantoms(split, protocol.image_size, limit)
    if not len(opened.pairs):
        raise DataError(
            f"the {split} split of protocol {protocol.name!r} is empty; complete the data set or raise --limit"
        )
    return opened
