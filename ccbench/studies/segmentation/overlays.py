"""Pictures of what segmenters saw: the worst and the median test images of each row, chosen by rule."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ccbench.data.segmentation_sets import SegmentationSets
from ccbench.metrics.images.maps import at_half
from ccbench.segmenters.cell_plan import Cell
from ccbench.segmenters.cells import CellFolder
from ccbench.studies.segmentation.map_folders import read_map
from ccbench.studies.segmentation.segmentation_results import PRIMARY
from ccbench.tables.pictures import PairCell, draw_outline, draw_pairs

_WORST = 1  # images, beside the median one


def draw_overlays(cells: Sequence[Cell], root: Path, sets: SegmentationSets, folder: Path) -> list[Path]:
    """Write one PNG for each segmenter: of every row's first seed the worst and the median image by Dice.

    Of the protocol's own test sets together; the mask's outline on the left, the prediction's at 0.5 on the right.
    """
    written = []
    for segmenter in dict.fromkeys(cell.segmenter.title for cell in cells):
        own = [cell for cell in cells if cell.segmenter.title == segmenter]
        firsts = [next(cell for cell in own if cell.row == row) for row in dict.fromkeys(cell.row for cell in own)]
        pictures = [picture for cell in firsts for picture in _pictures(cell, CellFolder(root, cell.plan), sets)]
        path = folder / f"overlays-{firsts[0].plan.folder.parent.name}.png"
        title = f"{segmenter}, seed {firsts[0].seed}: the worst and the median test image of each row by {PRIMARY}"
        draw_pairs(pictures, path, title, ("mask", "prediction"))
        written.append(path)
    return written


def _pictures(cell: Cell, folder: CellFolder, sets: SegmentationSets) -> list[PairCell]:
    ranked = sorted(
        (float(score), name, number) for name in sets.own for number, score in enumerate(folder.scores(name)[PRIMARY])
    )
    chosen = [("worst", one) for one in ranked[:_WORST]] + [("median", ranked[(len(ranked) - 1) // 2])]
    pictures = []
    for what, (score, name, number) in chosen:
        pair = sets.tests[name].pairs[number]
        seen = at_half(read_map(folder.map_file(name, pair.condition.id)))
        first, second = (np.ascontiguousarray(draw_outline(pair.image, mask)) for mask in (pair.condition.mask, seen))
        caption = f"{cell.row.name}, {what}: {score:.3f}, {pair.condition.id}"
        pictures.append(PairCell(first, second, caption))
    return pictures
