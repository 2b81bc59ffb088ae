"""The data sets that ccbench reads as they lie on people's disks, one file each."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from ccbench.base.image_folders import list_entries, look_into
from ccbench.base.text import nearest, suggest
from ccbench.data.sets.any_folder import FOLDER
from ccbench.data.sets.bkai_igh import BKAI_IGH
from ccbench.data.sets.cvc_clinicdb import CVC_CLINICDB
from ccbench.data.sets.cvc_colondb import CVC_COLONDB
from ccbench.data.sets.data_set import DataSet, Layout, Listing, Part, plain
from ccbench.data.sets.endoscene import ENDOSCENE
from ccbench.data.sets.etis_larib import ETIS_LARIB
from ccbench.data.sets.foreign import name_layout
from ccbench.data.sets.kvasir_seg import KVASIR_SEG
from ccbench.data.sets.polypgen import POLYPGEN
from ccbench.data.sets.pranet_release import PRANET_RELEASE
from ccbench.errors import DataError, UsageError

__all__ = ["DATA_SETS", "DataSet", "Layout", "Listing", "Part", "find_data_set", "recognise"]

_ALL = (
    *(KVASIR_SEG, CVC_CLINICDB, ENDOSCENE, CVC_COLONDB, ETIS_LARIB, POLYPGEN, BKAI_IGH, PRANET_RELEASE),
    FOLDER,
)

DATA_SETS: Mapping[str, DataSet] = MappingProxyType({data_set.name: data_set for data_set in _ALL})


def find_data_set(name: str) -> DataSet:
    """Return the data set called `name`.

    Raises:
        UsageError: no such data set; says the nearest name.
    """
    if name in DATA_SETS:
        return DATA_SETS[name]
    by_plain = {plain(alias): data_set.name for data_set in _ALL for alias in _names(data_set)}
    near = nearest(plain(name), by_plain)
    raise UsageError(f"unknown data set {name!r}; {suggest(by_plain[near] if near else name, DATA_SETS)}")


def recognise(root: Path) -> DataSet:
    """Return the data set whose layout lies at `root`, or inside a lone folder there, as archives have it.

    A layout of folders called `images` and `masks` says little: then the folder's own name or the image names decide,
    and where they do not, it is a plain folder.

    Raises:
        DataError: no layout is there.
        UsageError: more than one data set could be meant.
    """
    if not root.is_dir():
        raise DataError(f"{root}: not a folder; give the folder of a data set")
    told = _told_by(root)
    if len(told) > 1:
        names = ", ".join(data_set.name for data_set in told)
        raise UsageError(f"{root}: could be {names}; say which with --name")
    split, own, *gathered = FOLDER.layouts
    if told or split.find(root) or own.find(root):
        return told[0] if told else FOLDER
    inside = [folder for folder in list_entries(root) if folder.is_dir()]
    if len(inside) == 1 and not any(layout.find(root) for layout in gathered):
        return recognise(inside[0])
    if several := [folder.name for folder in inside if _told_by(folder)]:
        raise UsageError(f"{root}: holds {', '.join(several)}; give one of these folders, or say which with --name")
    if any(layout.find(root) for layout in gathered):
        return FOLDER
    other = name_layout(root)
    raise DataError(
        f"{root}: found {other or f'no layout of a data set ({_what_lies_in(root)})'}; wanted one of those that "
        f"`ccbench data list` shows, such as {own.title}"
    )


def _what_lies_in(root: Path) -> str:
    found = look_into(root)
    folders = [f"{folder.name}/" for folder in found.folders]
    parts = [", ".join([*folders[:5], *(["..."] if len(folders) > 5 else [])])] if folders else []
    return " and ".join((*parts, f"{len(found.images)} images"))


def _told_by(root: Path) -> list[DataSet]:
    signed = [data_set for data_set in _ALL if data_set.is_told_by(root)]
    named = [
        data_set
        for data_set in _ALL
        if plain(root.resolve().name) in map(plain, _names(data_set))
        and any(layout.find(root) for layout in data_set.layouts)
    ]
    return signed or named


def _names(data_set: DataSet) -> tuple[str, ...]:
    return (data_set.name, data_set.title, *data_set.aliases)
