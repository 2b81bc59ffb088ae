"""Tables as CSV."""

import re
from typing import TYPE_CHECKING

from ccbench.tables.format import plain_line

if TYPE_CHECKING:
    import pandas as pd

_FORMULA = re.compile(r"\s*(?:[=@]|[-+](?![\w .±%-]*$))")  # a number or a name behind a sign does nothing


def csv_table(frame: "pd.DataFrame") -> str:
    """Return a table as CSV, numbers unrounded; text that a spreadsheet would compute begins with an apostrophe."""
    shown = frame.copy()
    for name in shown.columns:
        if any(isinstance(cell, str) for cell in frame[name]):
            shown[name] = [_csv_cell(cell) if isinstance(cell, str) else cell for cell in frame[name]]
    return shown.to_csv(index=False, lineterminator="\n")


def _csv_cell(text: str) -> str:
    line = plain_line(text)
    return f"'{line}" if _FORMULA.match(line) else line
