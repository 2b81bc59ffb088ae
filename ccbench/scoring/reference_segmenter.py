"""The reference segmenter of mask fidelity: it has seen a protocol's real training images and nothing else.

It is a cell of the segmentation protocol, of the row `classic`, named by what it depends on. That of `phantom-128` is
shipped, so that every machine scores with the same one; others are trained and kept under `CCBENCH_HOME`. Its network,
Semantic FPN, is none of those that a method or a table of segmenters is trained with.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ccbench.base.assets import home, shipped_weights
from ccbench.base.folder_files import remove_folder, temporary_folder
from ccbench.base.text import one_line
from ccbench.data.pairs import DataSplit
from ccbench.data.segmentation_sets import SegmentationSets
from ccbench.errors import DataError, UsageError, VerificationError
from ccbench.features.encoder import exact_arithmetic
from ccbench.metrics.images.maps import at_half
from ccbench.segmenters import Segmenter, SegmenterSettings
from ccbench.segmenters.cell_plan import Cell, finish_cell, load_cell, plan_cell
from ccbench.segmenters.cells import CellFolder, CellRecord
from ccbench.segmenters.material import Material
from ccbench.segmenters.prediction import segment_images
from ccbench.segmenters.table_rows import Row
from ccbench.types import Image, Mask, Progress, SilentProgress

SHIPPED = "reference-segmenter"
"""The folder of shipped weights; cells lie in it as in every other folder of cells."""

_STEPS = 600  # of the optimiser, about: five minutes on one core

_SETTINGS = SegmenterSettings(
    backbone="lite0",
    weights="package",
    size=128,
    ratios=(1.0,),
    optimizer="adamw",
    learning_rate=1.5e-3,
    weight_decay=1e-2,
    schedule="one-cycle",
    batch_size=16,
)

NETWORK = Segmenter(
    "semantic-fpn",
    "Semantic FPN",
    "Kirillov et al., Panoptic Feature Pyramid Networks, CVPR 2019",
    _SETTINGS.model_copy(update={"size": 352}),
    _SETTINGS,
    "ccbench.segmenters.networks.mmseg_configs:semantic_fpn",
)


class ReferenceSegmenter:
    """A trained reference segmenter.

    Attributes:
        signature: how and on which images it was trained. Machines that train it anew get weights that differ by float
            rounding, and scores that differ little (docs/metrics.md), so the weights are not in it.
        weights: first 8 hex digits of their sha256.
        dice: mean Dice on the real validation images.
    """

    def __init__(self, network: Any, record: CellRecord, size: int, device: str) -> None:
        self.signature = f"judge:{NETWORK.name}{size}|recipe:{record.plan.key[:8]}"
        self.weights, self.dice = record.weights_sha256[:8], record.dice[record.taken - 1]
        self._network, self._size, self._device = network, size, device

    def segment(self, images: Sequence[Image]) -> list[Mask]:
        """Return the mask (H, W) that the reference segmenter sees in each image (H, W, 3), of any sizes."""
        with exact_arithmetic(self._device):
            return [at_half(seen) for seen in segment_images(self._network, images, self._size)]


def reference_settings(image_size: int, images: int) -> SegmenterSettings:
    """Return the settings of the reference segmenter for images of a side, with so many of them to train on."""
    base = NETWORK.mini if image_size <= NETWORK.mini.size else NETWORK.published
    return base.model_copy(update={"passes": max(1, round(_STEPS * base.batch_size / images))})


def plan_reference(
    train: DataSplit, validation: DataSplit, protocol: str, settings: SegmenterSettings
) -> tuple[Cell, SegmentationSets]:
    """Return the training that gives the reference segmenter of a protocol's images, and the sets that it reads."""
    sets = SegmentationSets(train, validation, {}, (), None)
    return plan_cell(NETWORK, settings, Row("classic"), 0, None, sets, protocol, "validation"), sets


def open_reference_segmenter(
    train: DataSplit,
    validation: DataSplit,
    protocol: str,
    settings: SegmenterSettings,
    *,
    device: str = "cpu",
    note: Callable[[str], None] = lambda text: None,
    progress: Progress = SilentProgress(),
) -> ReferenceSegmenter:
    """Return the reference segmenter of a protocol's training images: shipped, from the cache, or trained now.

    Args:
        train, validation: real images; the second tell which pass is taken and how good it is.

    Raises:
        MissingError: the shipped weights are not there.
        VerificationError: they are not those of their card.
    """
    cell, sets = plan_reference(train, validation, protocol, settings)

    def read(root: Path, record: CellRecord) -> ReferenceSegmenter:
        network = load_cell(cell, CellFolder(root, cell.plan), record, device)
        return ReferenceSegmenter(network, record, settings.size, device)

    if (record := CellFolder(shipped := shipped_weights(SHIPPED), cell.plan).record()) is not None:
        return read(shipped, record)
    root, own = home() / "judges", CellFolder(home() / "judges", cell.plan)
    try:
        if (record := own.record()) is not None:
            return read(root, record)
    except (DataError, VerificationError) as error:
        note(f"reference segmenter: {one_line(error, 120)}; it is trained anew")
        remove_folder(own.path)
    with _writable(root, note) as folder:
        record = finish_cell(cell, folder, Material(sets, settings.size), device, progress, note=note, wait=True)
        return read(folder, record)


@contextmanager
def _writable(root: Path, note: Callable[[str], None]) -> Iterator[Path]:
    """Give a folder for what is trained: `root`, or one that is removed at the end where that cannot be written."""
    try:
        with temporary_folder(root / "any"):
            pass
    except UsageError as error:
        said = one_line(error, 120)
        note(f"reference segmenter: {said}; it is trained and not kept: set CCBENCH_HOME to a folder of yours")
        with TemporaryDirectory() as folder:
            yield Path(folder)
        return
    yield root
