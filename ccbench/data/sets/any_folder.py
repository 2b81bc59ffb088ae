"""Any folder of images and masks, with captions where it has them.

`captions.jsonl` holds `{"id", "caption"}` with the image's name as its id; a folder that `ccbench data prepare` wrote
has `metadata.jsonl`, which also tells id, part, cluster and split (see `ccbench.data.captions.caption_files`).
"""

import re
from pathlib import Path

from ccbench.base.image_folders import list_entries
from ccbench.data.name_matching import FLAT
from ccbench.data.sets.data_set import DataSet, Layout, Part, first_folder

IMAGES = ("images", "image", "imgs", "img", "inputs", "input", "frames")
MASKS = ("masks", "mask", "labels", "label", "gt", "ground truth", "segmentations", "annotations", "targets")
_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_PATIENT = re.compile(r"(?:patient|case|video|seq|sequence|subject)[\s_-]*\w+", re.IGNORECASE)


def _parts_of_folders(root: Path) -> tuple[Part, ...]:
    """Return a part for each folder of images and masks: a split, a patient or video, or another part."""
    folders = [path.name for path in list_entries(root) if path.is_dir()]
    if len(folders) < 2:
        return ()
    return tuple(
        Part(
            images=tuple(f"{name}/{inner}" for inner in IMAGES),
            masks=tuple(f"{name}/{inner}" for inner in MASKS),
            name=name,
            split=_SPLITS.get(name.lower()),
            cluster=name if _PATIENT.fullmatch(name) else None,
        )
        for name in folders
    )


def _parts_inside(root: Path) -> tuple[Part, ...]:
    """Return a part for each split that is a folder of both the images' and the masks' folder, if all of both are."""
    images, masks = first_folder(root, IMAGES), first_folder(root, MASKS)
    if images is None or masks is None or images == masks:
        return ()
    names = [path.name for path in list_entries(images)]
    if names != [path.name for path in list_entries(masks)] or not all(name.lower() in _SPLITS for name in names):
        return ()
    return tuple(
        Part((f"{images.name}/{name}",), (f"{masks.name}/{name}",), name=name, split=_SPLITS[name.lower()])
        for name in names
    )


FOLDER = DataSet(
    name="folder",
    title="a plain folder",
    prefix="",
    url="",
    licence="not stated",
    layouts=(
        Layout("images/train/ + masks/train/, .../val/, .../test/", _parts_inside, telling=False),
        Layout("images/ + masks/ (+ captions.jsonl)", (Part(IMAGES, MASKS),), telling=False),
        Layout("train/images/ + masks/, val/..., test/..., or one folder a patient", _parts_of_folders, telling=False),
        Layout("NAME + NAME_mask in one folder", (Part((".",), (".",), FLAT),), telling=False),
    ),
    has_negatives=True,
)
