"""Commands to type next, as a shell takes them."""

import shlex
import shutil
import sys
from pathlib import Path


def command(*words: object) -> str:
    """Return a command line of ccbench that works where this one was typed, every word quoted as it needs."""
    return shlex.join([*program(), *map(str, words)])


def program() -> list[str]:
    """Return how ccbench was called: by its name where the shell finds it, else by its path."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return [interpreter(), "-m", "ccbench"]
    return [_shortest(called)] if called.name == "ccbench" else ["ccbench"]  # the latter from Python


def interpreter() -> str:
    """Return how the Python of this environment is called."""
    return _shortest(Path(sys.executable))


def _shortest(file: Path) -> str:
    """Return the name of an executable if the shell finds this one by it, else its path as seen from here."""
    file = file.absolute()  # not resolved: the interpreter of a virtual environment is a link
    found = shutil.which(file.name)
    if found is not None and Path(found).absolute() == file:
        return file.name
    return str(file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file)
