"""What boards keep of tests: each stored file, read and written again, has the bytes that it had."""

from pathlib import Path

import pytest

from ccbench.boards.comparison_file import BoardComparison
from ccbench.studies.ablation.variant_scores import AblationTable
from ccbench.studies.segmentation.segmentation_results import SegmentationTable
from ccbench.types import Record

BOARDS = Path(__file__).parents[2] / "leaderboards"
KINDS: dict[str, type[Record]] = {
    "*/comparison.json": BoardComparison,
    "*/ablations/*/table.json": AblationTable,
    "*/segmentation/table.json": SegmentationTable,
}
FILES = [(file, model) for pattern, model in KINDS.items() for file in sorted(BOARDS.glob(pattern))]


def test_there_are_files_of_each_kind() -> None:
    assert {model for _, model in FILES} == set(KINDS.values()) and len(FILES) >= 8


@pytest.mark.parametrize(("file", "model"), FILES, ids=[str(file.relative_to(BOARDS)) for file, _ in FILES])
def test_a_stored_file_keeps_its_bytes(file: Path, model: type[Record]) -> None:
    held = file.read_bytes()
    assert model.model_validate_json(held).model_dump_json(indent=1).encode() + b"\n" == held
