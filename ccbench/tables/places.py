"""Which rows of a table are best and second in a metric, one rule for boards and reports."""

from collections.abc import Sequence

from ccbench.metrics import badness, metric_info
from ccbench.tables.format import format_value


def places(metric: str, means: Sequence[float | None], complete: Sequence[bool]) -> list[int]:
    """Return the place of each row in a metric: 1 = best, 2 = second, 0 = none.

    Values count as printed, and equal prints share a place. Beside a shared first place there is no second, nor where
    fewer than three rows have a value; with one there is no place at all. Metrics of which no value is better
    have none.

    Args:
        metric: its name.
        means: of each row, None where it has no value.
        complete: whether a row may have a place: a method, and no control, with all seeds that its protocol asks for.
    """
    known = sorted((mean for mean, whole in zip(means, complete, strict=True) if whole and mean is not None),
                   key=lambda mean: badness(metric, mean))  # fmt: skip
    if len(known) < 2 or not metric_info(metric).ranked:
        return [0] * len(means)
    prints = [format_value(metric, mean) for mean in known]
    first, *others = dict.fromkeys(prints)
    second = others[0] if others and len(known) > 2 and prints.count(first) == 1 else None
    found = {second: 2, first: 1}
    return [
        found.get(format_value(metric, mean), 0) if whole and mean is not None else 0
        for mean, whole in zip(means, complete, strict=True)
    ]
