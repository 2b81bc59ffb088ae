"""How numbers look in print: the only place where they are rounded."""

from collections.abc import Sequence

from ccbench.metrics import metric_info

_DIGITS = {"kid": 4}  # kernel distances are small; everything else is read to the second decimal, but
_SEGMENTATION_DIGITS = 3  # shares of segmenters, as in every table of them in print

_ARROWS = {"up": "↑", "down": "↓", "zero": "→0"}


def metric_heading(metric: str) -> str:
    """Return a metric's name with the arrow that points to better, such as `fd_lite0 ↓` or `seam_colour →0`."""
    return f"{metric} {_ARROWS[metric_info(metric).direction]}"


def format_value(metric: str, value: float | None) -> str:
    """Return a metric's value as tables show it, never as -0; `-` for one that could not be computed."""
    if value is None:
        return "-"
    info = metric_info(metric)
    digits = _DIGITS.get(metric.partition("_")[0], 2)
    if info.group == "segmentation" and info.unit == "share":
        digits = _SEGMENTATION_DIGITS
    return f"{value:z.{digits}f}"


def format_p(p: float) -> str:
    """Return a p-value as tables show it: `0.0123`, `< 0.0001`."""
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}"


def format_seconds(seconds: float) -> str:
    """Return a duration for people: `< 1 ms`, `0.42 s`, `38 s`, `4 min 10 s`, `2 h 05 min`."""
    if seconds < 0.001:
        return "< 1 ms"
    if seconds < 10:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def format_count(count: int) -> str:
    """Return a large count for people, such as `2.83 M`."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return str(count)


def format_bytes(size: int) -> str:
    """Return a size for people, such as `1.7 MB`."""
    return f"{format_count(size)}{'' if size >= 1000 else ' '}B"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Return a GitHub table; the columns numbered in `right` are aligned to the right."""
    rule = ["---:" if index in right else "---" for index in range(len(header))]
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (header, rule, *rows)]
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)
