"""The files of a segmentation table: written where it was made, kept with a board, read and checked there."""

from itertools import zip_longest
from pathlib import Path

from ccbench.board_page import COMMAND
from ccbench.downstream.rendering import RECORD, render_csv, render_latex, render_markdown
from ccbench.downstream.results import SegmentationTable
from ccbench.errors import DataError, VerificationError
from ccbench.folders import write_atomic

_FOLDER = "segmentation"  # of a board


def files_of(table: SegmentationTable) -> dict[str, str]:
    """Return what is written of a table: file name -> text."""
    return {
        RECORD: table.model_dump_json(indent=1) + "\n",
        "README.md": render_markdown(table),
        "table.tex": render_latex(table),
        "table.csv": render_csv(table),
    }


def write_table(table: SegmentationTable, folder: Path) -> None:
    """Write the files of a table into a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files_of(table).items():
        write_atomic(folder / name, text.encode())


def store_table(table: SegmentationTable, boards: Path) -> Path:
    """Keep a table with the board of its protocol, and return its page; one that was there is replaced."""
    folder = boards / table.protocol / _FOLDER
    write_table(table, folder)
    return folder / "README.md"


def read_table(folder: Path) -> SegmentationTable:
    """Return the table whose record lies in a folder.

    Raises:
        DataError: it cannot be read.
    """
    file = folder / RECORD
    try:
        return SegmentationTable.model_validate_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"{file}: not a table of segmenters ({reason}); restore the file") from error


def check_table(folder: Path) -> None:
    """Compare the files of a table with what its record gives.

    Raises:
        VerificationError: one differs or is missing. DataError: as `read_table`.
    """
    for name, text in files_of(read_table(folder)).items():
        file = folder / name
        held = file.read_bytes() if file.is_file() else b""
        if held != text.encode():
            lines = zip_longest(held.decode(errors="replace").splitlines(), text.splitlines())
            line = next((number for number, (old, new) in enumerate(lines, start=1) if old != new), 1)
            raise VerificationError(f"{file}:{line}: not what {RECORD} beside it gives; run `{COMMAND}`")


def render_tables(boards: Path, check: bool = False) -> list[Path]:
    """Write the files of every board's table of segmenters from its record, or compare them; return the pages.

    Raises:
        VerificationError: with `check`, a file differs. DataError: as `read_table`.
    """
    folders = sorted(file.parent for file in boards.glob(f"*/{_FOLDER}/{RECORD}"))
    for folder in folders:
        if check:
            check_table(folder)
            continue
        write_table(read_table(folder), folder)
    return [folder / "README.md" for folder in folders]
