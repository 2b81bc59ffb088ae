"""Reading and writing files on a user's disk: whole or not at all, through no link that somebody planted.

With `folder_files` the only module under `ccbench/` that makes, writes or removes anything at a path from outside.
"""

import errno
import json
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, NoReturn

from ccbench.base.text import escape_json, json_line, one_line
from ccbench.errors import DataError, UsageError

MOST_TEXT = 256 * 2**20
"""Bytes of the largest text or JSON file that is read."""

TEMPORARY = re.compile(r"\.[0-9a-f]{12}\.tmp|\.tmp[A-Za-z0-9]{6}")
"""Names of files that a killed writer has left: ours, and those that safetensors writes beside its own."""

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


# Writing


def make_folder(path: Path) -> Path:
    """Make a folder and those above it, unless it is there; return it.

    Raises:
        UsageError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        refuse(path, "cannot be written", error)
    return path


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file of ours so that a reader sees the old one or the new one whole. A link at `path` is replaced.

    Raises:
        UsageError: it cannot be written.
    """
    with whole_file(path) as temporary:
        temporary.write_bytes(data)


def write_output(path: Path, data: bytes) -> None:
    """Write a file that the user named, and make the folders above it.

    A link is followed and stays, a device or pipe is written to, a file on which something is mounted is filled in
    place; any other file is written as `write_atomic` does.

    Raises:
        UsageError: it cannot be written.
    """
    make_folder(path.parent)
    try:
        target = Path(os.path.realpath(path, strict=False))
        if target.is_dir():
            raise UsageError(f"{path}: is a folder; name a file in it")
        if target.exists() and not target.is_file():
            with target.open("wb", buffering=0) as stream:
                _write_all(stream, data)
            return
        make_folder(target.parent)
        if target.is_mount():
            target.write_bytes(data)
        else:
            write_atomic(target, data)
    except OSError as error:
        refuse(path, "cannot be written", error)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a new empty file beside `path`, which takes its name when all went well, and is removed otherwise.

    Its permissions are those of any new file of the user, whatever the writer sets.

    Raises:
        UsageError: it cannot be written.
    """
    temporary = path.parent / temporary_name()
    try:
        handle = os.open(temporary, _NEW, 0o666)
        mode = stat.S_IMODE(os.fstat(handle).st_mode)
        os.close(handle)
    except OSError as error:
        refuse(path, "cannot be written", error)
    try:
        yield temporary
        temporary.chmod(mode)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        refuse(path, "cannot be written", error)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """Give a file to be written that was not there before.

    Raises:
        UsageError: something is at `path`, or it cannot be written.
    """
    try:
        with os.fdopen(os.open(path, _NEW, 0o666), "wb") as stream:
            yield stream
    except OSError as error:
        refuse(path, "cannot be written", error)


def append_line(path: Path, line: str) -> None:
    """Append one line to a file of ours; a link is not followed.

    Raises:
        UsageError: it cannot be written.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(path, flags, 0o666), "wb", buffering=0) as stream:
            _write_all(stream, f"{line}\n".encode())
    except OSError as error:
        refuse(path, "cannot be written", error)


def remove_file(path: Path) -> None:
    """Remove a file or link, if it is there.

    Raises:
        UsageError: it cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        refuse(path, "cannot be removed", error)


def set_aside(path: Path) -> Path:
    """Give a damaged file of ours another name beside it, in place of one set aside before, and return that.

    Raises:
        UsageError: it cannot be renamed.
    """
    try:
        return path.replace(path.with_name(f"{path.name}.damaged"))
    except OSError as error:
        refuse(path, "cannot be renamed", error)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON object, as `write_atomic`."""
    write_atomic(path, (escape_json(json.dumps(content, indent=2, allow_nan=False)) + "\n").encode())


# Reading


def read_data(path: Path, most: int = MOST_TEXT) -> bytes:
    """Return the content of a plain file of at most `most` bytes.

    Raises:
        DataError: as `open_plain`, or it is larger.
    """
    try:
        with open_plain(path) as stream:
            size = os.fstat(stream.fileno()).st_size
            if size > most:
                raise DataError(f"{path}: holds {size:,} bytes, wanted at most {most:,}; give another file")
            return stream.read(most)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give a file that can be read") from error


def open_plain(path: Path) -> BufferedReader:
    """Open a plain file for reading; what a link leads to counts.

    Raises:
        DataError: it is missing, is a folder or a device, which may never end, or may not be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        lost = path.is_symlink() and not path.exists()
        what = "it is a link to a file that is not there" if lost else error.strerror
        raise DataError(f"{path}: cannot be read ({what}); give a file that can be read") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise DataError(f"{path}: is a folder or a device; give a plain file")
    return os.fdopen(handle, "rb")


def check_plain(path: Path) -> None:
    """Raise `DataError` unless a file, or all that is in a folder, are plain files and folders, also behind links.

    For libraries that open what they are given themselves.
    """
    for entry in [path, *path.rglob("*")] if path.is_dir() else [path]:
        if not (entry.is_file() or entry.is_dir()):
            raise DataError(f"{entry}: is {'no plain file' if entry.exists() else 'not there'}; give another")


def read_text(path: Path, most: int = MOST_TEXT) -> str:
    """Return a UTF-8 file's text; a byte order mark is left out, line ends stay as they are.

    Raises:
        DataError: it cannot be read as `read_data` does, or is in another encoding.
    """
    data = read_data(path, most)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
        found = "UTF-16 text" if wide else f"byte {data[error.start]:#04x} at {error.start:,}, which is no UTF-8"
        raise DataError(f"{path}: found {found}; save it as UTF-8") from error


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object of a file.

    Raises:
        DataError: it cannot be read, or holds something else.
    """
    try:
        content = _parse(read_text(path))
    except ValueError as error:
        raise DataError(f"{path}: cannot be read as JSON ({one_line(error)}); restore the file") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: found a {type(content).__name__}, wanted a JSON object; restore the file")
    return content


def read_json_lines(path: Path, wanted: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Give the number and the object of each line of a JSON Lines file that is not blank.

    Args:
        path: UTF-8; lines end in a line feed, with or without a carriage return.
        wanted: an example of a line, for the message: `{"id": ..., "prompt": ...}`.

    Raises:
        DataError: the file cannot be read, or a line is no JSON object.
    """
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            content = _parse(line)
        except ValueError as error:
            kind = " (the file is one JSON document, not JSON Lines)" if number == 1 and line.strip() in "[{" else ""
            raise DataError(f"{path}:{number}: {one_line(error)}{kind}; wanted one line each: {wanted}") from error
        if not isinstance(content, dict):
            raise DataError(f"{path}:{number}: found a {type(content).__name__}; wanted one line each: {wanted}")
        yield number, content


def json_lines(objects: Iterable[Mapping[str, Any]]) -> bytes:
    """Return objects as a JSON Lines file."""
    return "".join(f"{json_line(value)}\n" for value in objects).encode()


def _parse(text: str) -> Any:
    """Return parsed JSON; what is nested too deeply or holds a number that is not finite is a `ValueError`."""

    def refuse(word: str) -> NoReturn:
        raise ValueError(f"{word} is no JSON number")

    try:
        return json.loads(text, parse_constant=refuse)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def temporary_name() -> str:
    """Return a short name that nobody can foresee, hidden from listings; it fits wherever the final name fits."""
    return f".{secrets.token_hex(6)}.tmp"


def _write_all(stream: IO[bytes], data: bytes) -> None:
    """Write to an unbuffered stream, which may take less than it is given."""
    left = memoryview(data)
    while left:
        left = left[stream.write(left) or 0 :]


def refuse(path: Path, what: str, error: OSError) -> NoReturn:
    """Raise the `UsageError` of a path that cannot be used, with what to do."""
    reason = error.strerror or one_line(error)
    advice = "free the disk, and the same command goes on" if error.errno == errno.ENOSPC else "choose another folder"
    raise UsageError(f"{path}: {what} ({reason}); {advice}") from error
