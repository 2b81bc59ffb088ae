"""The cell folder: one trained segmenter and what it saw on the test sets. The only file that knows the names in it."""

import hashlib
import json
import re
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from ccbench.base.files import make_folder, read_json, write_atomic, write_json
from ccbench.base.folder_files import lock_folder
from ccbench.base.images import file_stem, write_grey
from ccbench.base.model_errors import first_problem
from ccbench.errors import DataError
from ccbench.types import Record

if TYPE_CHECKING:
    import pandas as pd

Select = Literal["validation", "last", "test"]

Count = Annotated[int, Field(ge=0, le=10**15)]
"""Bounded, since a record may come from anywhere: Python's own have no end, and no page can show them."""

CELL_VERSION = 1
"""Raised by every change of this package that moves a cell's numbers."""


class CellPlan(Record):
    """All that a training depends on; equal plans are one cell.

    Attributes:
        model: configuration for mmsegmentation.
        passes: over the images of the row.
        select: the images on which passes are compared.
        selecting: their manifests.
        train: manifest of the real training pairs, whose masks every row has.
        synthetic: sha256 over the images of the run, and its id; empty where the row has none.
    """

    version: int = CELL_VERSION
    protocol: str
    segmenter: str
    settings: dict[str, Any]
    model: dict[str, Any]
    row: str
    augment: bool
    passes: int
    seed: int
    select: Select
    selecting: tuple[str, ...]
    train: str
    synthetic: str
    synthetic_run: str

    @property
    def key(self) -> str:
        """Sixteen hex digits over every field."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def folder(self) -> Path:
        """Where the cell lies under the table's folder."""
        plain = [re.sub(r"[^\w.+-]+", "-", part) for part in (self.segmenter, self.row)]
        return Path("cells", plain[0], f"{plain[1]}-seed{self.seed}-{self.key[:8]}")


class TestRecord(Record):
    """One test set as a cell was tried on it: its manifest and the number of its images."""

    manifest_sha256: str
    n: Count


class CellRecord(Record):
    """What a cell holds as JSON.

    Attributes:
        images: trained on.
        steps: of the optimiser.
        dice: mean on the selecting images after each pass; empty where none were looked at.
        taken: the pass whose weights were kept, from 1.
        seconds: of training, interrupted attempts left out.
        parameters: of the network.
        tests: name -> set, those that the cell was tried on so far.
    """

    plan: CellPlan
    images: Count
    steps: Count
    dice: tuple[Annotated[float, Field(ge=0, le=1)], ...]
    taken: Count
    parameters: Count
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    weights_sha256: str
    env: dict[str, Any]
    finished: str
    tests: dict[str, TestRecord] = Field(default_factory=dict)

    def tried(self, test: str) -> str | None:
        """Return the manifest of a test set as the cell was tried on it; None when it was not."""
        return self.tests[test].manifest_sha256 if test in self.tests else None


class CellFolder:
    """One cell on disk.

    Attributes:
        path: the folder.
        training: what a training needs to be resumed, removed when it is done.
    """

    def __init__(self, root: Path, plan: CellPlan) -> None:
        self.path = root / plan.folder
        self.training = self.path / "training"
        self._plan = plan

    def lock(self, wait: bool = False) -> IO[bytes]:
        """Make the folder and hold it until the returned file is closed; see `lock_folder`.

        Raises:
            DataError: something in it is a link: the folder may come from anywhere.
        """
        if found := next((one for one in (self.path, *self.path.rglob("*")) if one.is_symlink()), None):
            raise DataError(f"{found}: is a link, and what is written into a cell would follow it; remove it")
        return lock_folder(self.path, wait)

    def record(self) -> CellRecord | None:
        """Return the record of a finished training; None when it is not finished.

        Raises:
            DataError: it cannot be read, or is of another plan.
        """
        file = self.path / "cell.json"
        if not file.is_file():
            return None
        try:
            found = CellRecord.model_validate(read_json(file))
        except ValidationError as error:
            raise DataError(f"{file}: not a cell ({first_problem(error)}); remove the folder") from error
        if found.dice and not 1 <= found.taken <= len(found.dice):
            raise DataError(f"{file}: took pass {found.taken} of {len(found.dice)}; remove the folder")
        if found.plan != self._plan:
            raise DataError(f"{file}: holds another training than its folder is named for; remove the folder")
        return found

    def write_record(self, record: CellRecord) -> None:
        """Write the record: from now on the cell is finished."""
        write_json(self.path / "cell.json", record.model_dump(mode="json"))

    @property
    def weights(self) -> Path:
        """Where the weights lie, safetensors."""
        return self.path / "weights.safetensors"

    def write_map(self, test: str, image_id: str, seen: NDArray[np.uint8]) -> None:
        """Write one map (H, W), 255 = polyp for certain."""
        file = self.map_file(test, image_id)
        make_folder(file.parent)
        write_grey(file, seen)

    def map_file(self, test: str, image_id: str) -> Path:
        """Return where the map of one test image belongs."""
        return self.path / "maps" / test / f"{file_stem(image_id)}.png"

    def write_scores(self, test: str, table: "pd.DataFrame") -> None:
        """Write the scores of one test set, a row an image."""
        file = self._scores(test)
        make_folder(file.parent)
        write_atomic(file, table.to_parquet(index=False))

    def scores(self, test: str) -> "pd.DataFrame":
        """Return the scores of one test set.

        Raises:
            DataError: they cannot be read.
        """
        import pandas as pd

        try:
            return pd.read_parquet(self._scores(test))
        except (OSError, ValueError) as error:
            raise DataError(f"{self._scores(test)}: cannot be read ({error}); remove {self.path}") from error

    def _scores(self, test: str) -> Path:
        return self.path / "scores" / f"{test}.parquet"
