"""The scores in a run folder, tied by hash to the images and files that they were computed from."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ccbench.errors import DataError
from ccbench.files import make_folder, read_json, write_atomic, write_json
from ccbench.images import sha256_file
from ccbench.scorecard import SCORECARD_VERSION, Scorecard
from ccbench.store.record_file import RECORD

if TYPE_CHECKING:
    import pandas as pd

_CARD, _TABLE = "scores/scorecard.json", "scores/per_sample.parquet"


def read_scorecard(run: Path, samples_sha256: str) -> dict[str, Any] | None:
    """Return what `Scorecard.to_json` gave; None when there is none, it is of an older version or of other images.

    Raises:
        DataError: the file cannot be read.
    """
    if not (run / _CARD).is_file():
        return None
    stored = read_json(run / _CARD)
    scores = stored.get("scorecard")
    if stored.get("samples_sha256") != samples_sha256 or not isinstance(scores, dict):
        return None
    return scores if scores.get("version") == SCORECARD_VERSION else None


def read_per_sample(run: Path) -> "pd.DataFrame":
    """Return the scorecard's table of one row an image.

    Raises:
        DataError: it is missing or cannot be read.
    """
    import pandas as pd

    try:
        return pd.read_parquet(run / _TABLE)
    except (OSError, ValueError) as error:  # pyarrow's own errors are ValueErrors
        raise DataError(f"{run / _TABLE}: cannot be read ({error}); score the run again") from error


def write_scorecard(run: Path, run_id: str, samples_sha256: str, scorecard: Scorecard) -> None:
    """Write the scorecard and its per-sample table."""
    make_folder((run / _CARD).parent)
    write_atomic(run / _TABLE, scorecard.per_sample.to_parquet(index=False))
    stored = {
        "run_id": run_id,
        "samples_sha256": samples_sha256,
        "files": {name: sha256_file(run / name) for name in (RECORD, _TABLE)},
        "scorecard": scorecard.to_json(),
    }
    write_json(run / _CARD, stored)


def scored_files(run: Path) -> dict[str, tuple[str, str]]:
    """Return the sha256 of the files that the scores stand on: name -> what it is, and what it was when scored.

    Raises:
        DataError: the scorecard cannot be read.
    """
    held = read_json(run / _CARD).get("files", {}) if (run / _CARD).is_file() else {}
    return {name: (sha256_file(run / name), str(recorded)) for name, recorded in held.items()}
