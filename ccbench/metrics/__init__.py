"""Metrics: the table of their cards, names and signatures. The functions beside it are pure functions of arrays."""

from ccbench.metrics.cards import (
    METRICS,
    Direction,
    Group,
    MetricInfo,
    SetFamily,
    badness,
    metric_info,
    set_metric_name,
    sign,
)

__all__ = [
    "METRICS",
    "Direction",
    "Group",
    "MetricInfo",
    "SetFamily",
    "badness",
    "metric_info",
    "set_metric_name",
    "sign",
]
