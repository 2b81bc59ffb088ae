"""Which of several scored runs is better, metric by metric, and how much of the difference chance explains."""

from ccbench.comparison.compared_features import ScoringData, open_scoring_data, read_scoring_data
from ccbench.comparison.compared_runs import Entry, make_entry, read_entries
from ccbench.comparison.paired_comparison import Comparison, compare_entries, to_json
from ccbench.comparison.paired_test import PairedTest, Rank
from ccbench.comparison.run_comparison import compare_methods, compare_runs

__all__ = [
    "Comparison",
    "Entry",
    "PairedTest",
    "Rank",
    "ScoringData",
    "compare_entries",
    "compare_methods",
    "compare_runs",
    "make_entry",
    "open_scoring_data",
    "read_entries",
    "read_scoring_data",
    "to_json",
]
