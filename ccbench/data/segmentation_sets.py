"""What segmenters are trained and tested on: a protocol's real pairs, and the test sets of the field beside them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ccbench.data.name_matching import PairFiles
from ccbench.data.pairs import DataSplit, LazyPairs
from ccbench.data.polyp_source import open_polyps, read_pair
from ccbench.data.sets import DataSet
from ccbench.data.sets.cvc_colondb import CVC_COLONDB
from ccbench.data.sets.endoscene import ENDOSCENE
from ccbench.data.sets.etis_larib import ETIS_LARIB
from ccbench.data.sets.polypgen import POLYPGEN
from ccbench.data.sets.pranet_release import PRANET_RELEASE
from ccbench.data.split import Split, open_split
from ccbench.protocols.protocol import Protocol

_SPLITS: tuple[Split, ...] = ("train", "validation", "test")
_CVC_300 = "cvc-300"
_OF_PRANET = {
    f"test-{_CVC_300}": _CVC_300,
    "test-cvc-colondb": CVC_COLONDB.name,
    "test-etis-laribpolypdb": ETIS_LARIB.name,
}
_FURTHER: tuple[tuple[DataSet, Callable[[PairFiles], str | None]], ...] = (
    (PRANET_RELEASE, lambda pair: _OF_PRANET.get(pair.part)),
    (ENDOSCENE, lambda pair: _CVC_300 if pair.part == _CVC_300 else None),
    (CVC_COLONDB, lambda pair: CVC_COLONDB.name),
    (ETIS_LARIB, lambda pair: ETIS_LARIB.name),
    (POLYPGEN, lambda pair: f"{POLYPGEN.name}-{pair.part}"),
)


@dataclass(frozen=True)
class SegmentationSets:
    """The real pairs of a protocol, without prompts.

    Attributes:
        tests: name -> pairs; a protocol's own test images by data set, and further sets that lie under the data root.
        own: names of the first.
        size: side in pixels to which pairs are squashed; None = as they lie on disk.
    """

    train: DataSplit
    validation: DataSplit
    tests: dict[str, DataSplit]
    own: tuple[str, ...]
    size: int | None


def open_segmentation_sets(
    protocol: Protocol, data_root: Path | None, limit: int | None = None, native: bool = False
) -> SegmentationSets:
    """Open what segmenters need of a protocol's data.

    Args:
        limit: the first `limit` pairs of each set.
        native: images in their own size, where the protocol reads files.

    Raises:
        DataError: see `open_split`; or a further test set is damaged.
    """
    if protocol.data != "polyp" or data_root is None:
        train, validation, test = (
            open_split(protocol, one, data_root, limit) for one in ("train", "validation", "test")
        )
        return SegmentationSets(train, validation, {protocol.data: test}, (protocol.data,), protocol.image_size)
    open_split(protocol, "test", data_root, limit)  # says what is missing
    size = None if native else protocol.image_size
    train, validation, test = (open_polyps(data_root, one, size, limit, captioned=False) for one in _SPLITS)
    tests = {name: _split(files, size, name) for name, files in _by_source(test)}
    own = tuple(tests)
    tests |= {name: _split(files[:limit], size, name) for name, files in _further(data_root, tests)}
    return SegmentationSets(train, validation, tests, own, size)


def _by_source(test: DataSplit) -> list[tuple[str, list[PairFiles]]]:
    assert isinstance(test.pairs, LazyPairs)
    names = dict.fromkeys(name for _, name in test.pairs.items)
    return [(name, [pair for pair, source in test.pairs.items if source == name]) for name in sorted(names)]


def _further(data_root: Path, known: dict[str, DataSplit]) -> Iterator[tuple[str, list[PairFiles]]]:
    seen = set(known)
    for data_set, name_of in _FURTHER:
        pairs = _list_whole(data_set, data_root)
        for name in sorted({name for pair in pairs if (name := name_of(pair)) is not None} - seen):
            seen.add(name)
            yield name, [pair for pair in pairs if name_of(pair) == name]


def _list_whole(data_set: DataSet, data_root: Path) -> list[PairFiles]:
    """Return the pairs of a data set under a data root: in a folder of its name, else where most of them are."""
    if data_set.find(data_root) is not None:
        return data_set.list_pairs(data_root)
    folders = [folder for folder in sorted(data_root.iterdir()) if folder.is_dir()]
    told = [one for one in folders if data_set.is_told_by(one)]
    return max((data_set.list_pairs(one) for one in told), key=len, default=[])


def _split(files: list[PairFiles], size: int | None, name: str) -> DataSplit:
    pairs = LazyPairs(files, lambda pair: read_pair(pair, size, None, name))
    return DataSplit(name, pairs, lambda: (pair.manifest_line() for pair in files), "")
