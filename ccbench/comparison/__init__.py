"""Which of several scored runs is better, metric by metric, and how much of the difference chance explains."""

from ccbench.comparison.comparing import Compared, Comparison, compare_entries, to_json
from ccbench.comparison.data import ScoringData, open_scoring_data, read_scoring_data
from ccbench.comparison.runs import Entry, make_entry, read_entries

__all__ = [
    "Compared",
    "Comparison",
    "Entry",
    "ScoringData",
    "compare_entries",
    "make_entry",
    "open_scoring_data",
    "read_entries",
    "read_scoring_data",
    "to_json",
]
