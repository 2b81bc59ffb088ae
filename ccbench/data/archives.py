"""Unpacks zip and tar archives without trusting them."""

import gzip
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from ccbench.errors import DataError
from ccbench.files import make_folder, new_file
from ccbench.text import one_line

MAX_BYTES = 32 * 2**30  # several times the largest release
MAX_MEMBERS = 200_000
_BLOCK = 2**20
_DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, lzma.LZMAError, zlib.error),
    *(EOFError, NotImplementedError, RuntimeError, ValueError),
)


@dataclass(frozen=True)
class Member:
    """A file inside an archive: its path below the archive's root, and how to open it."""

    path: PurePosixPath
    open: Callable[[], IO[bytes] | None]


def extract(archive: Path, folder: Path, max_bytes: int = MAX_BYTES, max_members: int = MAX_MEMBERS) -> None:
    """Unpack a zip or tar (gz, bz2, xz) into an empty folder; only plain files and folders are written.

    The names are looked at before anything is written, and sizes are counted as they are written, whatever the
    archive's headers say. macOS's `__MACOSX/` and `._*` entries are left out.

    Raises:
        DataError: not such an archive; it is damaged or encrypted; it holds a link or a device, a path that leads out
            of it, one path twice, or more than is allowed.
    """
    if not archive.is_file():
        raise DataError(f"{archive}: no such file; give a folder, a zip or a tar archive")
    try:
        if tarfile.is_tarfile(archive):
            with tarfile.open(archive) as tar:
                _write(archive, _list_tar(archive, tar, max_members), folder, max_bytes)
        elif zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                _write(archive, _list_zip(archive, opened, max_members), folder, max_bytes)
        else:
            raise DataError(f"{archive}: neither zip nor tar; unpack it with its own program and give the folder")
    except _DAMAGE as error:
        reason = one_line(error)
        raise DataError(f"{archive}: cannot be unpacked ({reason}); copy the archive again") from error


def _list_zip(archive: Path, opened: zipfile.ZipFile, max_members: int) -> list[Member]:
    members: list[Member] = []
    for number, info in enumerate(opened.infolist(), start=1):
        _check_count(archive, number, max_members)
        kind = (info.external_attr >> 16) & 0o170000
        if kind not in (0, 0o100000, 0o040000):
            raise DataError(f"{archive}: {info.filename!r} is a link or a device; such archives are not unpacked")
        path = _safe_path(archive, info.filename)
        if not info.is_dir() and path is not None:
            members.append(Member(path, lambda info=info: opened.open(info)))  # type: ignore[misc]
    return members


def _list_tar(archive: Path, tar: tarfile.TarFile, max_members: int) -> list[Member]:
    members: list[Member] = []
    for number, info in enumerate(tar, start=1):
        _check_count(archive, number, max_members)
        if not (info.isreg() or info.isdir()):
            raise DataError(f"{archive}: {info.name!r} is a link or a device; such archives are not unpacked")
        path = _safe_path(archive, info.name)
        if info.isreg() and path is not None:
            members.append(Member(path, lambda info=info: tar.extractfile(info)))  # type: ignore[misc]
    return members


def _safe_path(archive: Path, name: str) -> PurePosixPath | None:
    """Return the path of a member, None for one to leave out."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", name) or "\0" in name:
        raise DataError(f"{archive}: {name!r} leads out of the archive; such archives are not unpacked")
    is_junk = "__MACOSX" in path.parts or path.name.startswith("._")
    return None if is_junk or not path.parts else path


def _write(archive: Path, members: Iterable[Member], folder: Path, max_bytes: int) -> None:
    written, files, folders = 0, set[PurePosixPath](), set[PurePosixPath]()
    for member in members:
        target = folder.joinpath(*member.path.parts)
        if member.path in files or member.path in folders or not files.isdisjoint(member.path.parents):
            raise DataError(f"{archive}: holds {str(member.path)!r} twice; make the archive again")
        files.add(member.path)
        folders.update(member.path.parents)
        make_folder(target.parent)
        with new_file(target) as file:
            source = member.open()
            if source is None:
                raise DataError(f"{archive}: {member.path} holds no data; copy the archive again")
            with source:
                while block := source.read(_BLOCK):
                    written += len(block)
                    if written > max_bytes:
                        raise DataError(f"{archive}: holds more than {max_bytes:,} bytes; unpack it by hand")
                    file.write(block)


def _check_count(archive: Path, number: int, max_members: int) -> None:
    if number > max_members:
        raise DataError(f"{archive}: holds more than {max_members:,} files; unpack it by hand")
