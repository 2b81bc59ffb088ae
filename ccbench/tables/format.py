"""How numbers look in print: the only place where they are rounded; text is brought on one line for its page."""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from ccbench.base.text import printable
from ccbench.metrics import metric_info

_DIGITS = {"kid": 4}  # kernel distances are small; everything else is read to the second decimal, but
_SEGMENTATION_DIGITS = 3  # shares of segmenters, as in every table of them in print

Outcome = Literal["better", "worse", "not significant"]
"""What a corrected test at 5 % says of a row against the one that it is compared with."""

MARKS: dict[str | None, str] = {"better": " ▲", "worse": " ▼"}
"""Outcome -> what stands behind a number; nothing where nothing is known."""

METRIC_GROUPS = {
    "main": "",
    "realism": "Realism, diversity and memorisation",
    "mask": "Mask and seam",
    "prompt": "Prompt",
}
"""Groups of the metrics of images, in the order of a page's tables, and their titles."""

_ARROWS = {"up": "↑", "down": "↓", "zero": "→0"}


def metric_heading(metric: str) -> str:
    """Return a metric's name with the arrow that points to better, such as `fd_lite0 ↓` or `seam_colour →0`."""
    return f"{metric} {_ARROWS[metric_info(metric).direction]}"


def format_value(metric: str, value: float | None) -> str:
    """Return a metric's value as tables show it, never as -0; `-` for one that could not be computed."""
    if value is None:
        return "-"
    return f"{value:z.{_digits(metric)}f}"


def format_mean(metric: str, mean: float | None, spread: float | None) -> str:
    """Return a mean with its spread over the seeds, such as `52.00 ± 2.00`; no spread where there is none."""
    shown = format_value(metric, mean)
    return f"{shown} ± {format_value(metric, spread)}" if spread else shown


def _digits(metric: str) -> int:
    info = metric_info(metric)
    if info.group == "segmentation" and info.unit == "share":
        return _SEGMENTATION_DIGITS
    return _DIGITS.get(metric.partition("_")[0], 2)


def format_difference(metric: str, value: float | None) -> str:
    """Return a difference of a metric's values as tables show it, with its sign; `-` where there is none."""
    return "-" if value is None else f"{value:+z.{_digits(metric)}f}"


def format_span(metric: str, low: float | None, high: float | None) -> str:
    """Return the interval of a metric's value; `-` where there is none."""
    return "-" if low is None or high is None else f"{format_value(metric, low)} to {format_value(metric, high)}"


def format_difference_span(metric: str, low: float | None, high: float | None) -> str:
    """Return the interval of a difference of a metric's values; `-` where there is none."""
    if low is None or high is None:
        return "-"
    return f"{format_difference(metric, low)} to {format_difference(metric, high)}"


def format_effect(effect: float | None) -> str:
    """Return a standardised difference, with its sign; `-` where there is none."""
    return "-" if effect is None else f"{effect:+z.2f}"


def format_p(p: float | None) -> str:
    """Return a p-value as tables show it: `0.0123`, `< 0.0001`; `-` where there is none."""
    return "-" if p is None else "< 0.0001" if p < 0.0001 else f"{p:.4f}"


def interval_notes(reasons: Sequence[tuple[str, str | None]]) -> list[str]:
    """Return one line for each reason why numbers have no interval, from (name, reason) pairs; one without has one."""
    named: dict[str, list[str]] = {}
    for name, reason in reasons:
        if reason:
            named.setdefault(reason, []).append(name)
    return [f"no interval of {', '.join(dict.fromkeys(names))}: {reason}" for reason, names in named.items()]


def format_seeds(pairs: Sequence[tuple[int, int]]) -> str:
    """Return the seeds of paired runs: `0, 1`, and `0 - 3` where the two are not equal; `-` for none."""
    return ", ".join(str(a) if a == b else f"{a} - {b}" for a, b in pairs) or "-"


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


def format_settings(settings: Mapping[str, object]) -> str:
    """Return settings as `key value` pairs; a group's are in brackets."""
    parts = []
    for key, value in settings.items():
        inner = f"({format_settings(value)})" if isinstance(value, Mapping) else str(value)
        parts.append(f"{key} {inner}")
    return ", ".join(parts)


_LINES = re.compile(r"\s*[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]\s*")


def plain_line(text: str) -> str:
    """Return text on one line, with control characters shown as `\\x1b`."""
    return printable(_LINES.sub(" ", text).replace("\t", " "))
