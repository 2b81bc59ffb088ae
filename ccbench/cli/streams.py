"""stdout and stderr of a command: they take any text, and one that cannot be written costs no result.

The only module of ccbench that prints.
"""

import codecs
import errno
import os
import sys
from typing import TextIO

from ccbench.base.text import printable
from ccbench.errors import UsageError

_PLAIN = {"→": "->", "↑": "(higher is better)", "↓": "(lower is better)", "±": "+-", "×": "x", "–": "-", "…": "..."}
"""What stands for a character that the terminal cannot show; others are shown as `\\xfc`."""


def prepare_streams() -> None:
    """Make both streams of this process replace what their encoding cannot hold."""
    codecs.register_error("ccbench", _replace)
    for stream in (sys.stdout, sys.stderr):
        if (reconfigure := getattr(stream, "reconfigure", None)) is not None:
            reconfigure(errors="ccbench")


def say(text: str, *, error: bool = False, end: str = "\n") -> None:
    """Print text; what would steer the terminal is shown, and a reader that has gone misses the rest.

    Raises:
        UsageError: the disk behind stdout is full.
    """
    _write(printable(text) + end, error=error)


def say_raw(text: str) -> None:
    """Print text of ours on stdout as it is: a drawn table may hold escape codes."""
    _write(text, error=False)


def is_utf8() -> bool:
    """Return whether stdout takes any character."""
    try:
        return sys.stdout is not None and codecs.lookup(sys.stdout.encoding or "ascii").name == "utf-8"
    except LookupError:
        return False


def finish_streams(code: int) -> int:
    """Flush stdout at the end of a command and return its exit code: another one if the output was not written."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError) as problem:
        message = _lost(sys.stdout, problem)
        if message is not None and code == 0:
            say(f"error: {message}", error=True)
            return UsageError.exit_code
    return code


def _write(text: str, *, error: bool) -> None:
    stream = sys.stderr if error else sys.stdout
    if stream is None:  # closed before this process began
        return
    try:
        stream.write(text)
        if error:
            stream.flush()
    except (OSError, ValueError) as problem:
        message = _lost(stream, problem)
        if message is not None and not error:
            raise UsageError(message) from problem


def _lost(stream: TextIO, problem: Exception) -> str | None:
    """Let what follows go nowhere, and return the message of a stream that should have been written."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # what is still in the buffer goes there too
    except (OSError, ValueError):
        if stream is sys.stdout:
            sys.stdout = None  # as in a process that began without it
        else:
            sys.stderr = None
    if isinstance(problem, BrokenPipeError) or not isinstance(problem, OSError) or problem.errno == errno.EBADF:
        return None  # a reader that has had enough, such as `head`, or nobody from the start
    return f"stdout: cannot be written ({problem.strerror}); free the disk or write elsewhere"


def _replace(problem: UnicodeError) -> tuple[str, int]:
    if not isinstance(problem, UnicodeEncodeError):
        raise problem
    lost = problem.object[problem.start : problem.end]
    shown = "".join(_PLAIN.get(char) or char.encode("ascii", "backslashreplace").decode() for char in lost)
    return shown, problem.end
