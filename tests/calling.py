"""A command that was run, as the tests of the command line see it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple


class Finished(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.out)
        return value


Call = Callable[..., Finished]
Install = Callable[..., Path]
