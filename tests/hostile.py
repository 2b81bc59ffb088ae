"""Files that somebody might hand over; what they would do leaves a mark, so that a test sees that it was not done."""

import os
from pathlib import Path
from typing import Any


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def no_plain_files(folder: Path, suffix: str) -> list[Path]:
    """What is no plain file under a plain name: a link to a device that never ends, a pipe that nobody writes to, a
    socket-like character device, a folder, a link that leads nowhere."""
    folder.mkdir(parents=True, exist_ok=True)
    found = [folder / f"{name}{suffix}" for name in ("zero", "pipe", "folder", "nowhere")]
    found[0].symlink_to("/dev/zero")
    os.mkfifo(found[1])
    found[2].mkdir()
    found[3].symlink_to(folder / "gone")
    return found
