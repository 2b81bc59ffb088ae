"""Files in a run folder, which may come from anybody: a name leads nowhere else, and no link is followed.

The run folder itself may be reached through links; what counts is what it holds.
"""

import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from ccbench.errors import DataError


def inside(folder: Path, name: str) -> Path:
    """Return where a name, with `/`, leads in a folder. Nothing need be there.

    Raises:
        DataError: it leads outside, or something on the way is a link, or it is there and no plain file or folder.
    """
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts or "\0" in name:
        raise DataError(f"{folder}: names {name!r}, which lies outside; wanted files of the run folder only")
    path = folder
    for part in parts.parts:
        path /= part
        _refuse_link(path)
    return path


def is_there(folder: Path, name: str) -> bool:
    """Return whether a folder holds a plain file of a name; see `inside` for what is refused."""
    return inside(folder, name).is_file()


def plain_files(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder and of those in it, sorted; none where there is no folder.

    Raises:
        DataError: there is a link or a device.
    """
    _refuse_link(folder)
    for path in sorted(folder.rglob("*")):
        _refuse_link(path)
        if path.is_file():
            yield path


def _refuse_link(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); restore it") from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        kind = "a link" if stat.S_ISLNK(mode) else "no plain file"
        raise DataError(f"{path}: is {kind}; wanted plain files in a run folder, put the file itself there")
