"""The image files of a folder: what is read, what every command passes over, and what is left out, which is said."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ccbench.errors import DataError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
OTHER_SUFFIXES = (
    *(".gif", ".jfif", ".jpe", ".jp2", ".j2k", ".jxl", ".heic", ".avif", ".ppm", ".pgm", ".pbm", ".tga", ".psd"),
    *(".svg", ".eps", ".dcm", ".nii", ".nrrd", ".mha", ".npy", ".npz", ".mat"),
)
"""Suffixes of pictures that are not read; a folder that holds such files is told of, since they may be data."""

_JUNK = frozenset(
    ("__macosx", "@eadir", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "$recycle.bin", "lost+found")
)


@dataclass(frozen=True)
class ImageFolder:
    """What lies directly in a folder.

    Attributes:
        images: the files that are read as images, sorted by name; a link that leads nowhere is among them.
        others: pictures whose suffix is not read.
        folders: the folders in it that are no junk.
    """

    path: Path
    images: list[Path]
    others: list[Path]
    folders: list[Path]

    @cached_property
    def deeper(self) -> list[Path]:
        """The images in the folders of the folder, at any depth."""
        return [path for folder in self.folders for path in _walk(folder)]

    def left_out(self) -> str | None:
        """Return what a reader of `images` does not see, as a clause; None where that is nothing."""
        parts = []
        if self.others:
            parts.append(
                f"{_count(self.others, 'file')} of kinds that are not read, such as {self.others[0].name} "
                f"(read are {', '.join(IMAGE_SUFFIXES)})"
            )
        if self.deeper:
            parts.append(
                f"{_count(self.deeper, 'image')} in subfolders, such as {self.deeper[0].relative_to(self.path.parent)}"
            )
        return " and ".join(parts) or None

    def note(self) -> str | None:
        """Return one line that says what is left out; None where that is nothing."""
        left_out = self.left_out()
        return None if left_out is None else f"{self.path}: left out {left_out}"


def is_junk(name: str) -> bool:
    """Return whether systems and tools leave files or folders of this name beside data; nothing in them is read.

    Hidden ones (`.DS_Store`, `._NAME`, `.git`, `.ipynb_checkpoints`), those of macOS, Windows and network storage.
    """
    return name.startswith(".") or name.lower() in _JUNK


def is_image_name(path: Path) -> bool:
    """Return whether a file of this name is read as an image."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not is_junk(path.name)


def look_into(folder: Path) -> ImageFolder:
    """List what lies directly in a folder; links are followed.

    Raises:
        DataError: the folder is not there or cannot be read, or a name in it cannot be written into a record.
    """
    entries = list_entries(folder)
    files = [path for path in entries if not path.is_dir()]
    return ImageFolder(
        folder,
        images=[path for path in files if is_image_name(path)],
        others=[path for path in files if path.suffix.lower() in OTHER_SUFFIXES],
        folders=[path for path in entries if path.is_dir()],
    )


def list_images(folder: Path) -> list[Path]:
    """Return the image files lying directly in `folder`, sorted by name.

    Raises:
        DataError: as `look_into`; or it holds no image, and where images lie instead.
    """
    found = look_into(folder)
    if not found.images:
        raise DataError(no_images(found))
    return found.images


def no_images(found: ImageFolder) -> str:
    """Return the message of a folder without an image, which says what is there instead."""
    left_out = found.left_out()
    if left_out is None:
        return f"{found.path}: holds no image; wanted files ending in {', '.join(IMAGE_SUFFIXES)}"
    holder = found.deeper[0].parent if found.deeper else None
    advice = f"give {holder}, or move the images up" if holder else "convert them to PNG"
    return f"{found.path}: holds no image itself, but {left_out}; {advice}"


def list_entries(folder: Path) -> list[Path]:
    """Return what lies in a folder but for junk, sorted by name.

    Raises:
        DataError: as `look_into`.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: not a folder; give a folder of images")
    try:
        entries = sorted((path for path in folder.iterdir() if not is_junk(path.name)), key=lambda path: path.name)
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror}); give a folder that can be read") from error
    if odd := [os.fsencode(path.name) for path in entries if any("\ud800" <= sign <= "\udfff" for sign in path.name)]:
        raise DataError(f"{folder}: {len(odd)} file names are not UTF-8, such as {odd[0]!r}; rename them")
    return entries


def _walk(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not is_junk(name))
        yield from (path for name in sorted(names) if is_image_name(path := Path(place, name)))


def _count(paths: list[Path], noun: str) -> str:
    return f"{len(paths):,} {noun}{'' if len(paths) == 1 else 's'}"
