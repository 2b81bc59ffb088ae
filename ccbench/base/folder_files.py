"""Whole folders on a user's disk: made at once or not at all, removed, and held by one command at a time."""

import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ccbench.base.files import TEMPORARY, make_folder, refuse, remove_file, temporary_name
from ccbench.errors import DataError, UsageError


def check_new_folder(output: Path) -> None:
    """Raise `UsageError` unless nothing, or an empty folder, is there."""
    try:
        taken = os.path.lexists(output) and (not output.is_dir() or any(output.iterdir()))
    except OSError as error:
        refuse(output, "cannot be used as a folder", error)
    if taken:
        raise UsageError(f"{output}: exists and is not empty; choose a new folder")


@contextmanager
def whole_folder(output: Path) -> Iterator[Path]:
    """Give a new folder whose content stands at `output` when all went well, and is removed otherwise.

    A folder that is there is kept and filled at the end: it may be the current one, a link, or a mounted disk.

    Raises:
        UsageError: `output` is not new or empty, or cannot be written.
    """
    check_new_folder(output)
    there = output.is_dir()
    temporary = (output if there else make_folder(output.resolve().parent)) / temporary_name()
    try:
        temporary.mkdir()
    except OSError as error:
        refuse(output, "cannot be written", error)
    try:
        yield temporary
        if there:
            for entry in sorted(temporary.iterdir()):
                entry.rename(output / entry.name)
            temporary.rmdir()
        else:
            temporary.rename(output)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        refuse(output, "cannot be written", error)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


@contextmanager
def temporary_folder(beside: Path) -> Iterator[Path]:
    """Give a new folder on the disk of `beside`, which is removed at the end.

    Raises:
        UsageError: it cannot be made.
    """
    folder = make_folder(beside.resolve().parent) / temporary_name()
    try:
        yield make_folder(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def copy_folder(source: Path, target: Path) -> None:
    """Put a copy of a folder of plain files in the place of another, whole or not at all.

    Raises:
        DataError: it holds a link or a device.
        UsageError: it cannot be written.
    """
    for entry in sorted(source.rglob("*")):
        if entry.is_symlink() or not (entry.is_file() or entry.is_dir()):
            raise DataError(f"{entry}: is a link or a device; wanted plain files only")
    temporary = target.parent / temporary_name()
    try:
        shutil.copytree(source, temporary, symlinks=True)
        remove_folder(target)
        temporary.rename(target)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        refuse(target, "cannot be written", error)


def remove_folder(path: Path) -> None:
    """Remove a folder of ours with all that is in it, if it is there; a link is removed, not what it leads to."""
    if path.is_symlink():
        remove_file(path)
    else:
        shutil.rmtree(path, ignore_errors=True)


def remove_temporaries(folder: Path) -> None:
    """Remove what writers that were killed have left under a folder of ours that nobody else writes in now."""
    for parent, folders, files in os.walk(folder):
        for name in filter(TEMPORARY.fullmatch, (*folders, *files)):
            path = Path(parent, name)
            if path.is_dir():
                remove_folder(path)
            else:
                remove_file(path)
        folders[:] = [name for name in folders if not TEMPORARY.fullmatch(name)]


def share_folder(folder: Path) -> None:
    """Give plain files under a folder of ours its permissions: some libraries write for one user only."""
    mode = stat.S_IMODE(folder.stat().st_mode) & 0o666
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.chmod(mode)


def lock_folder(path: Path, wait: bool = False) -> IO[bytes]:
    """Make a folder and hold it until the returned file is closed; the system lets go of a process that was killed.

    Args:
        path: the folder.
        wait: until another command lets go of it.

    Raises:
        UsageError: it cannot be written, or another command holds it.
    """
    make_folder(path)
    try:
        handle = os.open(path / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    except OSError as error:
        refuse(path / ".lock", "cannot be opened", error)
    lock = os.fdopen(handle, "r+b")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError as error:
        lock.close()
        raise UsageError(
            f"--output {path}: another command is working in this folder; wait for it or choose another folder"
        ) from error
    return lock


def is_locked(path: Path) -> bool:
    """Return whether a command holds a folder now; where the lock cannot be looked at, none does."""
    try:
        handle = os.open(path / ".lock", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    with os.fdopen(handle, "rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            return isinstance(error, BlockingIOError)
    return False
