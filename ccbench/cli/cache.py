"""`ccbench cache`: what the feature cache holds, and making it smaller."""

import re
import time
from typing import Annotated

import typer

from ccbench.cli import options
from ccbench.cli.output import Output
from ccbench.errors import UsageError
from ccbench.tables.format import format_bytes, format_seconds

_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
_DAY = 86_400

app = typer.Typer(help="Look at the feature cache, or make it smaller.")


def _size(text: str) -> int:
    """Return the bytes that `500MB` or `2G` names."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kMG]?)B?", text)
    if found is None:
        raise UsageError(f"--max-size: found {text!r}, wanted a size such as 500MB or 2GB")
    return int(float(found[1]) * _UNITS[found[2]])


@app.callback()
def cache() -> None:
    """Look at the feature cache, or make it smaller. Removing it as a whole is safe too."""


@app.command("info")
def info(as_json: options.Json = False) -> None:
    """Print where the cache lies, its size, and the entries of each encoder."""
    from ccbench.features.feature_cache import FILE, FeatureCache, default_folder

    out, folder = Output(as_json), default_folder()
    used = FeatureCache(folder, out.note).usage() if (folder / FILE).is_file() else []
    size = sum(path.stat().st_size for path in folder.glob(f"{FILE}*") if path.is_file())
    out.json({"folder": str(folder), "bytes": size, "encoders": [use._asdict() for use in used]})
    out.line(f"{folder}: {format_bytes(size)}")
    rows = [
        (
            use.encoder,
            str(use.entries),
            format_bytes(use.bytes),
            f"{format_seconds(max(0, time.time() - use.used))} ago",
        )
        for use in used
    ]
    out.table(("encoder", "entries", "size", "last used"), rows, right=(1, 2, 3))


@app.command("gc")
def gc(
    max_age: Annotated[
        float | None,
        typer.Option("--max-age", min=0, help="Remove what was not used for so many days.", metavar="DAYS"),
    ] = None,
    max_size: Annotated[
        str | None,
        typer.Option("--max-size", help="Then remove the longest unused above this, e.g. 2GB.", metavar="SIZE"),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Remove entries by age, to a size, or both. When an entry was last used is known to the day."""
    from ccbench.features.feature_cache import FILE, FeatureCache, default_folder

    if max_age is None and max_size is None:
        raise UsageError("cache gc: say what to remove with --max-age DAYS, --max-size SIZE or both")
    limit = None if max_size is None else _size(max_size)
    out, folder, removed = Output(as_json), default_folder(), 0
    if (folder / FILE).is_file():
        age = None if max_age is None else max_age * _DAY
        removed = FeatureCache(folder, out.note).collect(max_age=age, max_bytes=limit)
    out.json({"removed": removed})
    out.line(f"removed {removed} entries")
