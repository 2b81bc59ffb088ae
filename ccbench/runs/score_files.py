"""The scores in a run folder, tied by hash to the images and files that they were computed from."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ccbench.base.files import make_folder, read_data, read_json, write_atomic, write_json
from ccbench.base.images import sha256_file
from ccbench.base.model_errors import first_problem
from ccbench.base.text import one_line
from ccbench.errors import DataError, VerificationError
from ccbench.runs.inside import inside, is_there
from ccbench.runs.record_file import RECORD
from ccbench.runs.scorecard import SCORECARD_VERSION, Scorecard, ScoredImages, per_sample_table

if TYPE_CHECKING:
    import pandas as pd

_CARD, _TABLE = "scores/scorecard.json", "scores/per_sample.parquet"
_MOST_TABLE, _MOST_ROWS, _MOST_COLUMNS = 64 * 2**20, 10**6, 1000  # bytes; of the largest table that is read


def read_scorecard(run: Path, samples_sha256: str) -> Scorecard | None:
    """Return the scorecard; None when there is none, it is of an older version or of other images.

    Raises:
        DataError: the file cannot be read, or holds no scorecard.
    """
    stored = _read(run)
    scores = stored.get("scorecard")
    if stored.get("samples_sha256") != samples_sha256 or not isinstance(scores, dict):
        return None
    if scores.get("version") != SCORECARD_VERSION:
        return None
    try:
        return Scorecard.model_validate(scores)
    except ValueError as error:
        raise DataError(f"{run / _CARD}: not a scorecard ({first_problem(error)}); {_again(run)}") from error


def read_per_sample(run: Path) -> "pd.DataFrame":
    """Return the scorecard's table of one row an image, as it was when the scores were written.

    Raises:
        DataError: it is missing, or no table of scores.
        VerificationError: it is another one.
    """
    import pandas as pd
    import pyarrow.parquet

    found, recorded = scored_files(run).get(_TABLE, ("", ""))
    if found != recorded or not found:
        raise VerificationError(f"{run / _TABLE}: not the table that was written with the scores; {_again(run)}")
    data = read_data(inside(run, _TABLE), _MOST_TABLE)
    try:
        about = pyarrow.parquet.read_metadata(io.BytesIO(data))
        if about.num_rows > _MOST_ROWS or about.num_columns > _MOST_COLUMNS:
            raise ValueError(f"{about.num_rows} rows and {about.num_columns} columns")
        table = pd.read_parquet(io.BytesIO(data))
        wanted = per_sample_table([], {name: [] for name in table.columns[2:]})
        if list(table.columns) != list(wanted.columns) or not (table.dtypes[2:] == "float64").all():
            raise ValueError(f"columns {', '.join(map(str, table.columns[:5]))}")
        return table.astype({"index": "int64", "condition_id": "str"})
    except (OSError, ValueError, TypeError) as error:  # pyarrow's own errors are ValueErrors
        raise DataError(f"{run / _TABLE}: cannot be read ({one_line(error, 160)}); {_again(run)}") from error


def write_scorecard(run: Path, run_id: str, samples_sha256: str, scored: ScoredImages) -> None:
    """Write the scorecard and its per-sample table."""
    make_folder((run / _CARD).parent)
    write_atomic(run / _TABLE, scored.per_sample.to_parquet(index=False))
    stored = {
        "run_id": run_id,
        "samples_sha256": samples_sha256,
        "files": {name: sha256_file(run / name) for name in (RECORD, _TABLE)},
        "scorecard": scored.card.model_dump(mode="json"),
    }
    write_json(run / _CARD, stored)


def scored_files(run: Path) -> dict[str, tuple[str, str]]:
    """Return the sha256 of the files that the scores stand on: name -> what it is, and what it was when scored.

    Empty without scores. Which files these are is known, and none that a scorecard names besides is looked at.

    Raises:
        DataError: the scorecard cannot be read, or a file is missing.
    """
    if not (stored := _read(run)):
        return {}
    held = stored.get("files")
    if not isinstance(held, dict) or set(held) != {RECORD, _TABLE}:
        named = ", ".join(map(repr, held)) if isinstance(held, dict) else "none"
        raise DataError(
            f"{run / _CARD}: the scores stand on the files {one_line(named, 120)}, wanted {RECORD} and {_TABLE}; "
            f"{_again(run)}"
        )
    missing = [name for name in held if not is_there(run, name)]
    if missing:
        raise DataError(f"{run / missing[0]}: is missing; {_again(run)}")
    return {name: (sha256_file(run / name), one_line(recorded, 64)) for name, recorded in held.items()}


def _read(run: Path) -> dict[str, Any]:
    """Return what the file of the scores holds; nothing where it is not there."""
    if not is_there(run, _CARD):
        return {}
    try:
        return read_json(run / _CARD)
    except DataError as error:
        raise DataError(f"{error}, or {_again(run)}") from error


def _again(run: Path) -> str:
    return f"remove {run / _CARD} and run: ccbench score {run}"
