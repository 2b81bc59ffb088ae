"""Unpacks zip and tar archives without trusting them."""

import gzip
import lzma
import re
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from ccbench.base.files import make_folder, new_file
from ccbench.base.image_folders import is_junk
from ccbench.base.text import one_line
from ccbench.errors import DataError

MAX_BYTES = 32 * 2**30  # several times the largest release
MAX_MEMBERS = 200_000
_ENCRYPTED = 1  # a flag of a zip's member
_SPARE = 2**28  # bytes of the disk that are left free
_BLOCK = 2**20
_OTHER_ARCHIVES = {b"Rar!": "a RAR", b"7z\xbc\xaf": "a 7z", b"\x28\xb5\x2f\xfd": "a Zstandard"}
_DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, lzma.LZMAError, zlib.error),
    *(EOFError, NotImplementedError, RuntimeError, ValueError),
)


@dataclass(frozen=True)
class Member:
    """A file inside an archive: its path below the archive's root, the size it states, and how to open it."""

    path: PurePosixPath
    size: int
    open: Callable[[], IO[bytes] | None]


def extract(archive: Path, folder: Path, max_bytes: int = MAX_BYTES, max_members: int = MAX_MEMBERS) -> None:
    """Unpack a zip or tar (gz, bz2, xz) into an empty folder; only plain files and folders are written.

    Names and stated sizes are looked at before anything is written, and sizes are counted again as they are written,
    whatever the archive's headers say. Junk of systems and tools (`is_junk`) is left out.

    Raises:
        DataError: not such an archive; it is damaged or encrypted; it holds a link or a device, a path that leads out
            of it, one path twice, or more than is allowed or fits on the disk.
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
            with archive.open("rb") as file:
                start = file.read(4)
            found = _OTHER_ARCHIVES.get(start)
            what = f"{found} archive, which is not read" if found else "neither zip nor tar"
            raise DataError(f"{archive}: {what}; unpack it with its own program and give the folder")
    except _DAMAGE as error:
        raise DataError(f"{archive}: cannot be unpacked ({one_line(error)}); copy the archive again") from error


def _list_zip(archive: Path, opened: zipfile.ZipFile, max_members: int) -> list[Member]:
    members: list[Member] = []
    for number, info in enumerate(opened.infolist(), start=1):
        _check_count(archive, number, max_members)
        kind = (info.external_attr >> 16) & 0o170000
        if kind not in (0, 0o100000, 0o040000):
            raise DataError(f"{archive}: {info.filename!r} is a link or a device; such archives are not unpacked")
        path = _safe_path(archive, info.filename)
        is_folder = info.filename.endswith(("/", "\\"))  # the latter from PowerShell
        if is_folder or path is None:
            continue
        if info.flag_bits & _ENCRYPTED:
            raise DataError(f"{archive}: is encrypted; unpack it with its password and give the folder")
        members.append(Member(path, info.file_size, lambda info=info: opened.open(info)))  # type: ignore[misc]
    return members


def _list_tar(archive: Path, tar: tarfile.TarFile, max_members: int) -> list[Member]:
    members: list[Member] = []
    for number, info in enumerate(tar, start=1):
        _check_count(archive, number, max_members)
        if not (info.isreg() or info.isdir()):
            raise DataError(f"{archive}: {info.name!r} is a link or a device; such archives are not unpacked")
        path = _safe_path(archive, info.name)
        if info.isreg() and path is not None:
            members.append(Member(path, info.size, lambda info=info: tar.extractfile(info)))  # type: ignore[misc]
    return members


def _safe_path(archive: Path, name: str) -> PurePosixPath | None:
    """Return the path of a member, None for one to leave out."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", name) or "\0" in name:
        raise DataError(f"{archive}: {name!r} leads out of the archive; such archives are not unpacked")
    return None if not path.parts or any(map(is_junk, path.parts)) else path


def _write(archive: Path, members: Sequence[Member], folder: Path, max_bytes: int) -> None:
    free = max(shutil.disk_usage(make_folder(folder)).free - _SPARE, 0)
    _check_bytes(archive, sum(member.size for member in members), max_bytes, free)
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
                    _check_bytes(archive, written, max_bytes, free)
                    file.write(block)


def _check_bytes(archive: Path, size: int, most: int, free: int) -> None:
    if size > most:
        raise DataError(f"{archive}: holds more than {most:,} bytes; unpack it by hand")
    if size > free:
        raise DataError(f"{archive}: holds {size:,} bytes or more and {free:,} are free on the disk; free some")


def _check_count(archive: Path, number: int, max_members: int) -> None:
    if number > max_members:
        raise DataError(f"{archive}: holds more than {max_members:,} files; unpack it by hand")
