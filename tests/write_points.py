"""Makes the k-th write of a command under a folder fail as on a full disk, or keeps what a kill at each would leave.

A write point is a file opened for writing, content half written, a folder made, and a name or permission changed,
whoever does it in Python; content that compiled code writes is none. An audit hook sees them all.
"""

import errno
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import ccbench.base.files
import ccbench.base.folder_files

WRITERS = {ccbench.base.files.__file__, ccbench.base.folder_files.__file__}
"""The modules of the package that write."""

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_TAKING_ROOM = ("open", "os.mkdir", "os.rename")
_OTHERS = ("os.remove", "os.rmdir", "os.chmod", "os.truncate", "os.link", "os.symlink")


class Writes:
    """Counts the writes under a folder; a disk may be full from one of them on, or each may be one at which to kill.

    Args:
        folder: what else is written goes through uncounted.
        full_at: number of the write from which on everything that takes room fails; what removes still works, and is
            not counted. 0 = none.
        keep: a new folder to hold a copy of `folder` as a SIGKILL at each write would leave it, with half of the
            content that was being written.

    Attributes:
        functions: of the modules that write, those that have.
        failed: whether the write with number `full_at` was reached.
        left: the copies, in the order of the writes.
    """

    def __init__(self, folder: Path, full_at: int = 0, keep: Path | None = None) -> None:
        self.functions: set[str] = set()
        self.failed, self.left = False, list[Path]()
        self._folder, self._full_at, self._keep, self._count = Path(os.path.realpath(folder)), full_at, keep, 0
        self._lock = threading.Lock()

    def reach(self, takes_room: bool) -> Path | None:
        """Note a write; return the copy of the folder as it is before it.

        Raises:
            OSError: the disk is full.
        """
        with self._lock:
            if takes_room or not self._full_at:
                self._count += 1
                self.functions |= _functions_on_stack()
                self.failed = self.failed or self._count == self._full_at
            if self.failed and takes_room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if self._keep is None:
                return None
            self.left.append(self._keep / str(self._count))
            shutil.copytree(self._folder, self.left[-1], symlinks=True)
            return self.left[-1]

    def concerns(self, path: Any) -> bool:
        """Return whether a path lies under the folder; one relative to an open folder counts as such."""
        if not isinstance(path, str | os.PathLike):
            return False
        return Path(os.path.normpath(Path.cwd() / path)).is_relative_to(self._folder)

    def seen(self, event: str, args: tuple[Any, ...]) -> None:
        """Take what the audit hook is told."""
        if event == "open" and not (isinstance(args[2], int) and args[2] & _WRITING):
            return
        if (event in _TAKING_ROOM or event in _OTHERS) and self.concerns(args[0]):
            self.reach(event in _TAKING_ROOM)

    def halved(self, write: Callable[[Any, bytes], Any]) -> Callable[[Any, bytes], Any]:
        """Return a function that writes half of the content where its write fails."""

        def write_half(target: Any, data: bytes) -> Any:
            half, before = data[: len(data) // 2], self.failed
            if not isinstance(target, Path):
                if not before:
                    write(target, half)
                self.reach(takes_room=True)
                return write(target, data[len(half) :])
            if self.concerns(target):
                try:
                    copy = self.reach(takes_room=True)
                except OSError:
                    if not before:
                        _write_unwatched(write, target, half)
                    raise
                if copy is not None:
                    place = Path(os.path.realpath(target)).relative_to(self._folder)
                    _write_unwatched(write, copy / place, half)
            return write(target, data)

        return write_half


_watching: Writes | None = None


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if _watching is not None:
        _watching.seen(event, args)


def _write_unwatched(write: Callable[[Any, bytes], Any], target: Path, data: bytes) -> None:
    global _watching
    before, _watching = _watching, None
    try:
        write(target, data)
    finally:
        _watching = before


@contextmanager
def watched(writes: Writes) -> Iterator[None]:
    """Watch the writes of this process, all its threads."""
    global _watching
    if not getattr(sys, "_writes_are_audited", False):  # a hook stays until the process ends
        sys.addaudithook(_hook)
        sys._writes_are_audited = True  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "write_bytes", writes.halved(Path.write_bytes))
        patch.setattr(ccbench.base.files, "_write_all", writes.halved(ccbench.base.files._write_all))
        _watching = writes
        try:
            yield
        finally:
            _watching = None


def _functions_on_stack() -> set[str]:
    found, frame = set(), sys._getframe()
    while frame is not None:
        if frame.f_code.co_filename in WRITERS:
            found.add(frame.f_code.co_name)
        frame = frame.f_back  # type: ignore[assignment]
    return found
