"""Text and tables in markdown; text of a record is escaped for it here alone."""

import re
from collections.abc import Iterable, Sequence

from ccbench.tables.format import plain_line

_MARKDOWN_SPECIAL = re.compile(
    r"[\\`*$~]"  # `|` is escaped by `markdown_table`
    r"|\](?=[(\[:]|$)"  # ends the text of a link or an image, or the name of one
    r"|(?<!\w)_|_(?!\w)"  # inside a word it is no emphasis
    r"|^(?:>|#(?=#*\s)|[+-](?=\s)|-(?=--)|\d+(?=[.)]\s))"  # begins a quotation, a heading, a list, a line
)
_PIPE = re.compile(r"\\*\|")
_HTML_SPECIAL = re.compile(r"<(?=[A-Za-z/!?])|&(?=#?\w+;)")


def escape_markdown(text: str) -> str:
    """Return text of a record as markdown shows it: no markup, link, image, HTML or formula in it takes effect.

    Text that has none of these stays as it is. A `|` is left to `markdown_table`, and is harmless outside of tables.
    """
    line = _MARKDOWN_SPECIAL.sub(
        lambda found: f"{found[0]}\\" if found[0].isdigit() else f"\\{found[0]}", plain_line(text).strip()
    )
    return _HTML_SPECIAL.sub(lambda found: {"<": "&lt;", "&": "&amp;"}[found[0]], line)


def escape_cells(rows: Iterable[Sequence[str]]) -> list[tuple[str, ...]]:
    """Return the rows of a table, every cell of which is text and no markdown, through `escape_markdown`."""
    return [tuple(map(escape_markdown, row)) for row in rows]


def markdown_code(text: str) -> str:
    """Return text of a record as inline code, its backticks included."""
    line = plain_line(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    return f"{fence} {line} {fence}" if len(fence) > 1 or not line.strip() else f"{fence}{line}{fence}"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Return a GitHub table; the columns numbered in `right` are aligned to the right.

    Cells are markdown, of `escape_markdown` where they come from a record; whatever is in them, each stays one cell.
    """
    rule = ["---:" if index in right else "---" for index in range(len(header))]
    cells = [[_PIPE.sub(_escape_pipe, plain_line(cell)) for cell in row] for row in (header, rule, *rows)]
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)


def _escape_pipe(found: re.Match[str]) -> str:
    """Return a pipe behind an odd number of backslashes, which every reader of tables takes for an escaped one."""
    return found[0] if len(found[0]) % 2 == 0 else f"{found[0][:-1]}\\|"


def facts_table(lines: Sequence[tuple[str, str]], notes: Sequence[str] = ()) -> str:
    """Return what is frozen for a page, as (name, value) in markdown, and notes of plain text under it."""
    said = "".join(f"- {escape_markdown(note)}\n" for note in notes)
    return markdown_table(("frozen", "value"), lines) + (f"\n{said}" if said else "")
