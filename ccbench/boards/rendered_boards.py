"""Writes the page and the tables of every board from its records, or finds where they differ."""

from pathlib import Path

from ccbench.base.files import write_atomic
from ccbench.boards.board_files import Board, list_boards, read_board
from ccbench.boards.board_page import render_index, render_page
from ccbench.boards.score_table import render_csv, render_json, render_latex, score_frame
from ccbench.errors import VerificationError
from ccbench.tables.stored import COMMAND


def render_boards(boards: Path, check: bool = False) -> list[Path]:
    """Write the page of every board and the index, and return these files; with `check`, write nothing and compare.

    Raises:
        VerificationError: with `check`, a page differs from its records; else as `read_board`.
    """
    found = [read_board(path) for path in list_boards(boards)]
    for board in found:
        render_board(board, check)
    index = boards / "README.md"
    if found or boards.is_dir():
        _put(index, render_index(found), check)
    return [*(board.path / "README.md" for board in found), *([index] if index.is_file() else [])]


def render_board(board: Board, check: bool = False) -> None:
    """Write the page and the tables of one board, or compare them; see `render_boards`."""
    for name, text in render_files(board).items():
        _put(board.path / name, text, check)


def render_files(board: Board) -> dict[str, str]:
    """Return the page and the tables of one board: file name -> text."""
    frame = score_frame(board)
    files = {"README.md": render_page(board, frame)}
    if board.results:
        files |= {"table.csv": render_csv(frame), "table.json": render_json(frame)}
        files["table.tex"] = render_latex(board, frame)
    return files


def _put(file: Path, text: str, check: bool) -> None:
    if not check:
        write_atomic(file, text.encode())
        return
    held = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    wanted = text.splitlines()
    if held == wanted:
        return
    differ = [number for number, (old, new) in enumerate(zip(held, wanted, strict=False)) if old != new]
    line = differ[0] if differ else min(len(held), len(wanted))
    old, new = ((lines[line][:60] if line < len(lines) else "nothing") for lines in (held, wanted))
    raise VerificationError(f"{file}:{line + 1}: found {old!r}, its records give {new!r}; run `{COMMAND}`")
