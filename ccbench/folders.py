"""New folders, written whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ccbench.errors import UsageError


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
