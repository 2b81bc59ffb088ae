"""Layouts of other tools, which are not read: each is named with what makes masks of it."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from ccbench.base.image_folders import is_junk

_LOOKED_AT = 2000  # entries, at most three levels down: enough to know a layout


def name_layout(root: Path) -> str | None:
    """Return a clause that names the layout of another tool, and how it becomes masks; None where none is known."""
    entries = list(islice(_walk(root, 3), _LOOKED_AT))
    names = {path.name.lower() for path in entries}
    suffixes = {(path.parent.name.lower(), path.suffix.lower()) for path in entries}
    parents = {path.parent.name.lower() for path in entries}
    if any(name.startswith("instances_") or name.endswith("coco.json") for name in names) or (
        ("annotations", ".json") in suffixes
    ):
        return "COCO annotations in JSON; draw them as masks first (pycocotools: `coco.annToMask`)"
    if ("labels", ".txt") in suffixes or "data.yaml" in names:
        return (
            "YOLO labels in text files, which are boxes or polygons; draw polygons as masks first, boxes are no masks"
        )
    if {"jpegimages", "segmentationclass"} <= names | parents:
        return "the layout of Pascal VOC; give JPEGImages/ and SegmentationClass/ as images/ and masks/"
    if ("annotations", ".xml") in suffixes:
        return "Pascal VOC boxes in XML, which are no masks; use a data set with segmentation masks"
    if {"frame", "gt"} <= names | parents:
        return (
            "the layout of SUN-SEG; join Frame/CASE/ and GT/CASE/ as CASE/images/ and CASE/masks/, one folder a video"
        )
    if any(path.suffix == ".json" and path.with_suffix(".jpg").exists() for path in entries):
        return "LabelMe annotations in JSON; draw them as masks first (`labelme_export_json`)"
    return None


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    for path in folder.iterdir():
        if not is_junk(path.name):
            yield path
            if depth > 1 and path.is_dir():
                yield from _walk(path, depth - 1)
