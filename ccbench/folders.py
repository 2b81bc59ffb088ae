"""Files and folders that are written whole or not at all, and a folder that one command holds."""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ccbench.errors import DataError, UsageError


def check_new_folder(output: Path) -> None:
    """Raise `UsageError` unless nothing, or an empty folder, is there."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(f"{output}: exists and is not empty; choose a new folder")


@contextmanager
def whole_folder(output: Path) -> Iterator[Path]:
    """Give a new folder that takes the name `output` when all went well, and is removed otherwise."""
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    temporary.mkdir()
    try:
        yield temporary
        if output.exists():
            output.rmdir()
        temporary.replace(output)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file through a temporary one in the same folder, so that a reader never sees half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UsageError(f"{path}: cannot be written ({error.strerror}); choose another output folder") from error


def lock_folder(path: Path, wait: bool = False) -> IO[str]:
    """Make a folder and hold it until the returned file is closed; the system lets go of a process that was killed.

    Args:
        wait: until another command lets go of it.

    Raises:
        UsageError: it cannot be written, or another command holds it.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = (path / ".lock").open("w")
    except OSError as error:
        raise UsageError(f"--output {path}: cannot be written ({error.strerror}); choose another folder") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError as error:
        lock.close()
        raise UsageError(
            f"--output {path}: another command is working in this folder; wait for it or choose another folder"
        ) from error
    return lock


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object of a file.

    Raises:
        DataError: it cannot be read, or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error}); restore the file or start a new run") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: found a {type(content).__name__}, wanted a JSON object; start a new run")
    return content


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON object, as `write_atomic`."""
    write_atomic(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())
