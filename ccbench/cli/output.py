"""What a command shows: results and tables on stdout, progress and notes on stderr."""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TextIO

from ccbench.base.process_ranks import process_rank
from ccbench.base.text import escape_json, printable
from ccbench.cli.streams import is_utf8, say, say_raw

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from ccbench.types import Progress

_PIPE_WIDTH = 160  # columns of a table that is not shown on a terminal
_WRAPPED = 24  # columns of the terminal that a cell which may be broken into lines needs, at most


class Output:
    """Where one command prints. `as_json` turns tables off; `quiet` turns progress and notes off.

    Of several processes that run one command the first alone prints.
    """

    def __init__(self, as_json: bool = False, quiet: bool = False) -> None:
        self.silent = process_rank() > 0
        self.as_json = as_json
        self.quiet = quiet or self.silent

    def note(self, text: str) -> None:
        """Say one line on stderr."""
        if not self.quiet:
            say(text, error=True)

    def warn(self, text: str) -> None:
        """Say one line on stderr that `quiet` does not turn off."""
        if not self.silent:
            say(text, error=True)

    def line(self, text: str = "") -> None:
        """Say one line of the result on stdout, unless the result is JSON."""
        if not self.as_json and not self.silent:
            say(text)

    def json(self, value: Any) -> None:
        """Print the result as one JSON document, when it was asked for."""
        if self.as_json and not self.silent:
            text = json.dumps(value, indent=2, ensure_ascii=not is_utf8(), allow_nan=False)
            say(escape_json(text))

    def table(
        self, header: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = (), wrap: Sequence[int] = ()
    ) -> None:
        """Print a table on stdout, unless the result is JSON.

        The columns numbered in `right` hold numbers, those in `wrap` may be broken into lines; no header, no heading.
        What is too wide for the terminal goes on below, beside the first column again: no cell is cut.
        """
        if self.as_json or self.silent:
            return
        held = [tuple(map(printable, row)) for row in rows]
        cut = [tuple(cell[:_WRAPPED] if at in wrap else cell for at, cell in enumerate(row)) for row in held]
        start, count = 1, len(header)
        console = _console(stderr=False)
        while start < max(2, count):
            stop = min(start + 1, count)
            while stop < count and _least(console, _table(header, cut, right, wrap, start, stop + 1)) <= console.width:
                stop += 1
            wide = _console(stderr=False, least=_least(console, _table(header, cut, right, wrap, start, stop)))
            with wide.capture() as drawn:
                wide.print(_table(header, held, right, wrap, start, stop))
            say_raw(drawn.get())
            start = max(stop, 2)

    def progress(self) -> "Progress":
        """Return what library code reports its progress to."""
        if self.quiet:
            from ccbench.types import SilentProgress

            return SilentProgress()
        from ccbench.cli.progress_display import BarProgress, LineProgress

        return BarProgress(_console(stderr=True)) if _is_terminal(sys.stderr) else LineProgress()


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()  # None: closed before this process began


def _console(stderr: bool, least: int = 0) -> "Console":
    """Return the terminal, at least so many columns wide: a line that is longer than it goes on in the next."""
    from rich.console import Console

    terminal = _is_terminal(sys.stderr if stderr else sys.stdout)
    width = None if terminal or "COLUMNS" in os.environ else _PIPE_WIDTH
    open_console = partial(Console, stderr=stderr, highlight=False, force_terminal=None if terminal else False)
    console = open_console(width=width)
    return console if console.width >= least else open_console(width=least)


def _table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: Sequence[int],
    wrap: Sequence[int],
    start: int,
    stop: int,
) -> "Table":
    """Return the first column and those from `start` up to `stop`."""
    from rich import box
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    shown = any(header)
    table = Table(box=box.SIMPLE_HEAD if shown else None, pad_edge=False, padding=(0, 1, 0, 0), show_header=shown)
    columns = (0, *range(start, stop))
    for index in columns:
        justify: Literal["left", "right"] = "right" if index in right else "left"
        least = 8 if index in wrap else max(cell_len(text) for text in (header[index], *(row[index] for row in rows)))
        table.add_column(header[index], justify=justify, no_wrap=index not in wrap, overflow="fold", min_width=least)
    for row in rows:
        table.add_row(*(Text(row[index]) for index in columns))
    return table


def _least(console: "Console", table: "Table") -> int:
    """Return the columns of the terminal that a table needs for its cells to be whole."""
    from rich.measure import Measurement

    return Measurement.get(console, console.options.update(width=10_000), table).minimum
