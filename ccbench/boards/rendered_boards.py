"""Writes the page and the tables of every board from its records, or finds where they differ."""

from pathlib import Path

from ccbench.boards.board_files import Board, list_boards, read_board
from ccbench.boards.board_page import render_index, render_page
from ccbench.boards.score_table import render_csv, render_json, render_latex, score_table
from ccbench.tables.stored import put_text


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
        put_text(index, render_index(found), check)
    return [*(board.path / "README.md" for board in found), *([index] if index.is_file() else [])]


def render_board(board: Board, check: bool = False) -> None:
    """Write the page and the tables of one board, or compare them; see `render_boards`."""
    for name, text in render_files(board).items():
        put_text(board.path / name, text, check)


def render_files(board: Board) -> dict[str, str]:
    """Return the page and the tables of one board: file name -> text."""
    lines = score_table(board)
    files = {"README.md": render_page(board, lines)}
    if board.results:
        files |= {"table.csv": render_csv(lines), "table.json": render_json(lines)}
        files["table.tex"] = render_latex(board, lines)
    return files
