"""Tables in LaTeX (booktabs)."""

import re
from collections.abc import Sequence

from ccbench.tables.format import plain_line

_TEX = {
    **{plain: f"\\{plain}" for plain in "{}$&#%_"},
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "±": "$\\pm$",
    "↑": "$\\uparrow$",
    "↓": "$\\downarrow$",
    "→0": "$\\to 0$",
}
_TEX_SPECIAL = re.compile("|".join(map(re.escape, _TEX)))


def escape_tex(text: str) -> str:
    """Return text as LaTeX shows it, on one line."""
    return _TEX_SPECIAL.sub(lambda found: _TEX[found[0]], plain_line(text))


def latex_table(columns: str, header: Sequence[Sequence[str]], groups: Sequence[Sequence[Sequence[str]]]) -> str:
    """Return a table of cells that are LaTeX already, a rule above each group of rows.

    Args:
        columns: one letter a column, as `tabular` takes them.
        header: lines of the heading.
        groups: rows of each group, all without an empty one.
    """
    lines = [f"\\begin{{tabular}}{{{columns}}}", "\\toprule", *map(_line, header)]
    for group in groups:
        lines += ["\\midrule", *map(_line, group)]
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def _line(cells: Sequence[str]) -> str:
    return f"{' & '.join(cells)} \\\\"
