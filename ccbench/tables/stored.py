"""Tables that stand beside a board: written where they were made, kept with the board, read and checked there."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Generic, TypeVar

from ccbench.base.files import make_folder, write_atomic
from ccbench.base.text import one_line
from ccbench.errors import DataError, VerificationError
from ccbench.types import Record

T = TypeVar("T", bound=Record)

COMMAND = "ccbench leaderboard render"
"""What writes the generated pages again."""

RECORD = "table.json"
"""The file that the others of a table are made from."""

PAGE = "README.md"


def notice(command: str) -> str:
    """Return the line of a page that says where it comes from."""
    return f"*Generated from `{RECORD}` by `{command}` and `{COMMAND}`; edits are overwritten.*\n"


def put_text(file: Path, text: str, check: bool = False) -> None:
    """Write a generated file; with `check`, write nothing and compare what is there.

    Raises:
        VerificationError: with `check`, it differs or is missing; the first line that differs is named.
    """
    if not check:
        write_atomic(file, text.encode())
        return
    held = file.read_bytes() if file.is_file() else b""
    if held != text.encode():
        lines = zip_longest(held.decode(errors="replace").splitlines(), text.splitlines(), fillvalue="nothing")
        differ = ((number, *both) for number, both in enumerate(lines, start=1) if both[0] != both[1])
        line, old, new = next(differ, (1, "other line ends", "line feeds"))
        same = next((at for at, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), 0)
        begin = max(same - 30, 0)
        old, new = old[begin : begin + 60], new[begin : begin + 60]
        raise VerificationError(f"{file}:{line}: found {old!r}, its records give {new!r}; run `{COMMAND}`")


@dataclass(frozen=True)
class TableKind(Generic[T]):
    """One kind of table.

    Attributes:
        title: what it is, for messages.
        model: of its record.
        places: its folders in that of a board, as a pattern.
        render: the record -> the text of each file beside it, by name.
    """

    title: str
    model: type[T]
    places: str
    render: Callable[[T], dict[str, str]]

    def files(self, table: T) -> dict[str, str]:
        """Return what is written of a table: file name -> text."""
        return {RECORD: table.model_dump_json(indent=1) + "\n", **self.render(table)}

    def write(self, table: T, folder: Path) -> Path:
        """Write the files of a table into a folder, which is made, and return its page; what was there is replaced."""
        make_folder(folder)
        for name, text in self.files(table).items():
            put_text(folder / name, text)
        return folder / PAGE

    def read(self, folder: Path) -> T:
        """Return the table whose record lies in a folder.

        Raises:
            DataError: it cannot be read.
        """
        file = folder / RECORD
        try:
            return self.model.model_validate_json(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            reason = one_line(error, 120)
            raise DataError(f"{file}: not {self.title} ({reason}); restore the file") from error

    def check(self, folder: Path) -> None:
        """Compare the files of a table with what its record gives.

        Raises:
            VerificationError: one differs or is missing.
            DataError: as `read`.
        """
        for name, text in self.files(self.read(folder)).items():
            put_text(folder / name, text, check=True)

    def render_all(self, boards: Path, check: bool = False) -> list[Path]:
        """Write the files of every board's tables from their records, or compare them; return the pages.

        Raises:
            VerificationError: with `check`, a file differs.
            DataError: as `read`.
        """
        folders = sorted(file.parent for file in boards.glob(f"*/{self.places}/{RECORD}"))
        for folder in folders:
            if check:
                self.check(folder)
            else:
                self.write(self.read(folder), folder)
        return [folder / PAGE for folder in folders]
