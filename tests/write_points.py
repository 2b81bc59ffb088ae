"""Makes the k-th write of a command under a folder fail: as on a full disk, or as if the process were killed there.

A write point is a file opened for writing, content half written, a folder made, and a name or permission changed,
whoever does it in Python; content that compiled code writes is none. An audit hook sees them all.
"""

import errno
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest

import ccbench.base.files
import ccbench.base.folder_files

WRITERS = {ccbench.base.files.__file__, ccbench.base.folder_files.__file__}
"""The modules of the package that write."""

How = Literal["count", "full", "kill"]

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_TAKING_ROOM = ("open", "os.mkdir", "os.rename")
_OTHERS = ("os.remove", "os.rmdir", "os.chmod", "os.truncate", "os.link", "os.symlink")


class Killed(BaseException):
    """The process ends here: nothing catches it, and nothing is written any more."""


class Writes:
    """Counts the writes under a folder, and lets the one with number `at` and what follows fail.

    `full`: from there on everything that takes room on the disk fails, what removes or renames works.
    `kill`: from there on nothing works, so that no clean-up runs, as after a SIGKILL.

    Attributes:
        functions: of the modules that write, those that have.
        failed: whether the write with number `at` was reached.
    """

    def __init__(self, folder: Path, how: How = "count", at: int = 0) -> None:
        self.functions: set[str] = set()
        self.count, self.failed = 0, False
        self._folder, self._how, self._at = os.path.realpath(folder), how, at
        self._lock = threading.Lock()

    def reach(self, takes_room: bool) -> None:
        """Note a write.

        Raises:
            Killed, OSError: it fails.
        """
        with self._lock:
            if not self.failed and (takes_room or self._how != "full"):
                self.count += 1
                self.functions |= _functions_on_stack()
                self.failed = self.count == self._at
            failing = self.failed
        if failing and self._how == "kill":
            raise Killed
        if failing and takes_room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

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
            if not (isinstance(target, Path) and not self.concerns(target)):
                before = self.failed
                try:
                    self.reach(takes_room=True)
                except (OSError, Killed):
                    if not before:  # nothing is written by a process that is no more
                        with unwatched():
                            write(target, data[: len(data) // 2])
                    raise
            return write(target, data)

        return write_half


_watching: Writes | None = None


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if _watching is not None:
        _watching.seen(event, args)


@contextmanager
def unwatched() -> Iterator[None]:
    """Let writes go through."""
    global _watching
    before, _watching = _watching, None
    try:
        yield
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
