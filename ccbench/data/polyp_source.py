"""polyp-128 and polyp-512: Kvasir-SEG and CVC-ClinicDB together, squashed to one size."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ccbench.base.images import resize_image, resize_mask
from ccbench.base.seeding import derive_seed
from ccbench.data.captioners import Captioner, MeasuredCaptioner
from ccbench.data.name_matching import PairFiles
from ccbench.data.pair_files import open_pair
from ccbench.data.pairs import DataSplit, LazyPairs
from ccbench.data.sets.cvc_clinicdb import CVC_CLINICDB
from ccbench.data.sets.kvasir_seg import KVASIR_SEG
from ccbench.data.sets.splits import check_hashes, read_split, select_split
from ccbench.errors import DataError
from ccbench.types import Condition, RealPair

_SETS = (KVASIR_SEG, CVC_CLINICDB)

CAPTIONS: Final = "measured-1"  # part of the protocols: the manifest names it, and runs were trained on its prompts

LEAKING = {
    "kvasir-cju7avvi51iox0817ym55y6tt": "kvasir-cju5fydrud94708507vo6oy21",
    "kvasir-cju7b10ce1mnm08011c5bwyr4": "kvasir-cjyzu3reghjya0794w7pwoi50",
    "kvasir-cju2i6acqvo6l0799u20fift8": "kvasir-cjz14qsk2wci60794un9ozwmw",
    "kvasir-cju774fmayxif0818u2g79usw": "kvasir-cju1d50a94qf50855wsowacrc",
    "kvasir-cju8amfdtqi4x09871tygrgqe": "kvasir-cju886ryxnsl50801r93jai7q",
    "kvasir-cju7ehljc2or70871261br8ai": "kvasir-cjyzufihqquiw0a46jatrbwln",
    "kvasir-cju3xhpvvimda0987ygrpzni2": "kvasir-cju5bf6hxa6m50817rbwettgu",
    "kvasir-cju6wuojavt740818b5qcv3iw": "kvasir-cju88rl5eo94l0850kf5wtrm1",
}
"""Training images that show what a test (the first four) or validation image shows, and that image.

The published split of Kvasir-SEG has one frame stored twice, or two frames of one polyp, on both sides. Found by
`ccbench data audit`, seen by eye; left out of training so that test and validation stay as published.
"""


def open_polyps(
    data_root: Path, split: str, image_size: int | None, limit: int | None = None, captioned: bool = True
) -> DataSplit:
    """Open a split of both data sets in one order by hash, so that any first N pairs hold some of each.

    1326 train, 116 validation, 162 test pairs, captioned by `MeasuredCaptioner` of version `CAPTIONS`. The splits are
    those of the package's files without `LEAKING`.

    Args:
        data_root: holds `Kvasir-SEG/` and `CVC-ClinicDB/` in any of their layouts.
        split: `train`, `validation` or `test`.
        image_size: side in pixels to which image (bicubic) and mask (nearest) are squashed; None = as they are.
        limit: keep the first `limit` pairs; None = all.
        captioned: whether pairs have their prompts, which take longer than reading them.

    Raises:
        DataError: a folder or file is missing, or files do not fit together. The manifest raises it where the content
            of a file is not what the package lists.
    """
    listed = [(pair, name) for pairs, name in _list_sets(data_root, split) for pair in pairs]
    found = [(pair, name) for pair, name in listed if pair.id not in LEAKING]
    files = sorted(found, key=lambda item: derive_seed("polyp-128", "order", item[0].id))[:limit]
    captioner = MeasuredCaptioner(CAPTIONS)

    def load(item: tuple[PairFiles, str]) -> RealPair:
        return read_pair(item[0], image_size, captioner if captioned else None, item[1])

    listed_as = {data_set.name: read_split(data_set.name) for data_set in _SETS}

    def lines() -> Iterator[str]:
        for pair, name in files:
            image, mask = pair.content_hashes()
            check_hashes(pair, (image, mask), listed_as[name][pair.id], name)
            yield f"{pair.id}\t{image}\t{mask}\t{captioner.id}"

    licence = "; ".join(f"{data_set.title}: {data_set.licence}" for data_set in _SETS)
    return DataSplit(split, LazyPairs(files, load), lines, licence)


def _list_sets(data_root: Path, split: str) -> Iterator[tuple[list[PairFiles], str]]:
    roots = {data_set.name: data_root / data_set.title for data_set in _SETS}
    for root in roots.values():
        if not root.is_dir():
            raise DataError(
                f"--data-root {data_root}: found no folder {root.name}/ there; give the folder that holds it"
            )
    for data_set in _SETS:
        root = roots[data_set.name]
        yield select_split(data_set.list_pairs(root), data_set.name, split, root), data_set.name


def read_pair(files: PairFiles, size: int | None, captioner: Captioner | None, source: str) -> RealPair:
    """Decode one pair and squash it to size x size, unless that is None; the caption is of the squashed image.

    Raises:
        DataError: as `ccbench.data.pair_files.open_pair`.
    """
    opened = open_pair(files)
    image, mask = opened.image.pixels, opened.mask.region
    if size is not None:
        image, mask = resize_image(image, size), resize_mask(mask, size)
    caption = captioner.caption(image, mask, files.id).text if captioner is not None else ""
    return RealPair(image, Condition(files.id, mask, caption, cluster=files.cluster), source)
