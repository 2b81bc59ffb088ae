"""Plots of a report as SVG text; colours are classes that the page's style gives, for light and dark."""

import html
import math
from collections.abc import Sequence
from typing import NamedTuple

from ccbench.tables.format import format_value

_WIDTH, _LINE, _LABEL, _LEFT, _RIGHT, _TOP = 420, 26, 13, 132, 14, 12
_LOSS_HEIGHT = 240


class Dot(NamedTuple):
    """One run's value with its interval; `low` and `high` are the value's own where there is none."""

    value: float
    low: float
    high: float


class DotRow(NamedTuple):
    """A method: its colour's number, and a dot for each seed."""

    name: str
    colour: int
    dots: Sequence[Dot]


class Curve(NamedTuple):
    """A run's training loss: (step, loss) points."""

    name: str
    colour: int
    points: Sequence[tuple[int, float]]


def draw_dots(metric: str, rows: Sequence[DotRow], controls: Sequence[tuple[str, float]]) -> str:
    """Return a plot of one metric: a line a method, a dot with its interval a seed, dashed lines for the controls."""
    values = [end for row in rows for dot in row.dots for end in (dot.low, dot.high)]
    low, high = min(values), max(values)
    reach = (high - low) or abs(high) or 1.0
    for _, value in controls:  # one that would squeeze the methods into a corner is left to the table
        if low - 2 * reach <= value <= high + 2 * reach:
            low, high = min(low, value), max(high, value)
    pad = 0.06 * (high - low or reach)
    low, high = low - pad, high + pad
    drawn = [(name, value) for name, value in controls if low <= value <= high]
    height = _TOP + _LINE * len(rows) + 28 + _LABEL * len(drawn)

    def across(value: float) -> float:
        return _LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    parts = [_svg_head(_WIDTH, height, f"{metric}: " + "; ".join(_said(metric, row) for row in rows))]
    bottom = _TOP + _LINE * len(rows)
    for tick in _ticks(low, high):
        x = across(tick)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 4}" y2="{bottom}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 14}" text-anchor="middle">{tick:g}</text>')
    for number, (name, value) in enumerate(drawn, 1):  # a line of text each: two may stand side by side
        x, foot, anchor = across(value), bottom + 18 + _LABEL * number, "start" if value < (low + high) / 2 else "end"
        parts.append(f'<line class="control" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 4}" y2="{bottom + 20}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{foot}" text-anchor="{anchor}">{html.escape(name)}</text>')
    for number, row in enumerate(rows):
        middle = _TOP + _LINE * (number + 0.5)
        name = html.escape(row.name if len(row.name) < 22 else f"{row.name[:20]}…")
        parts.append(f'<text class="label" x="{_LEFT - 10}" y="{middle + 4:.1f}" text-anchor="end">{name}</text>')
        for place, dot in enumerate(row.dots):
            y = middle + (place - (len(row.dots) - 1) / 2) * min(6.0, 16 / len(row.dots))
            ends = f'x1="{across(dot.low):.1f}" x2="{across(dot.high):.1f}" y1="{y:.1f}" y2="{y:.1f}"'
            parts.append(f'<line class="span c{row.colour}" {ends}/>')
            told = html.escape(f"{row.name}: {format_value(metric, dot.value)}")
            spot = f'cx="{across(dot.value):.1f}" cy="{y:.1f}" r="3.5"'
            parts.append(f'<circle class="dot c{row.colour}" {spot}><title>{told}</title></circle>')
    return "".join([*parts, "</svg>"])


def draw_losses(curves: Sequence[Curve]) -> str:
    """Return a plot of training losses over steps, on a logarithmic scale where all are above 0."""
    width, height = 2 * _WIDTH, _LOSS_HEIGHT
    steps = max(step for curve in curves for step, _ in curve.points)
    values = [loss for curve in curves for _, loss in curve.points]
    scale = math.log10 if min(values) > 0 else float
    low, high = scale(min(values)), scale(max(values))
    high += 0.05 * (high - low or 1)

    def place(step: int, loss: float) -> str:
        x = 60 + step / steps * (width - 80)
        return f"{x:.1f},{10 + (high - scale(loss)) / (high - low) * (height - 50):.1f}"

    names = ", ".join(dict.fromkeys(curve.name for curve in curves))
    parts = [_svg_head(width, height, f"training loss over {steps} steps: {names}")]
    for tick in _ticks(low, high):
        y = 10 + (high - tick) / (high - low) * (height - 50)
        shown = f"{10**tick:.2g}" if scale is math.log10 else f"{tick:g}"
        parts.append(f'<line class="grid" x1="60" x2="{width - 20}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="54" y="{y + 4:.1f}" text-anchor="end">{shown}</text>')
    for step in _ticks(0, steps):
        x = 60 + step / steps * (width - 80)
        parts.append(f'<text class="tick" x="{x:.1f}" y="{height - 22}" text-anchor="middle">{step:g}</text>')
    parts.append(f'<text class="tick" x="{width / 2}" y="{height - 4}" text-anchor="middle">step</text>')
    for curve in curves:
        points = " ".join(place(step, loss) for step, loss in curve.points)
        told = f"<title>{html.escape(curve.name)}</title>"
        parts.append(f'<polyline class="loss c{curve.colour}" points="{points}">{told}</polyline>')
    return "".join([*parts, "</svg>"])


def _said(metric: str, row: DotRow) -> str:
    return f"{row.name} {', '.join(format_value(metric, dot.value) for dot in row.dots)}"


def _svg_head(width: int, height: int, label: str) -> str:
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{html.escape(label)}">'


def _ticks(low: float, high: float) -> list[float]:
    """Return about four round numbers between two."""
    rough = (high - low) / 4
    size = 10 ** math.floor(math.log10(rough))
    step = next(factor * size for factor in (1, 2, 5, 10) if factor * size >= rough)
    first = math.ceil(low / step)
    return [round(number * step, 12) for number in range(first, math.floor(high / step) + 1)]
