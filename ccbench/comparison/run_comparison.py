"""Compares the runs of some folders, as `ccbench compare` does."""

from collections.abc import Sequence
from pathlib import Path

from ccbench.comparison.compared_features import open_scoring_data
from ccbench.comparison.compared_runs import Entry, read_entries
from ccbench.comparison.paired_comparison import Comparison, compare_entries
from ccbench.errors import DataError
from ccbench.pipeline.session import Session
from ccbench.runs import RunFolder


def compare_runs(paths: Sequence[Path], session: Session, against: str | None = None) -> Comparison:
    """Return the paired tests of complete, scored runs of one protocol in every metric they share.

    Args:
        paths: run folders; runs of one method are its seeds.
        session: gives the data that the runs were scored on, and the features.
        against: compare the others with this method only; None = every pair.

    Raises:
        UsageError: fewer than two runs, or one that is not complete or not scored.
        DataError: runs of other protocols or conditions, or scored on other data than the session's.
    """
    return compare_methods(read_entries([RunFolder.read(path) for path in paths]), session, against)


def compare_methods(entries: Sequence[Entry], session: Session, against: str | None = None) -> Comparison:
    """Return the paired tests of methods that `read_entries` has put together; see `compare_runs`."""
    run = entries[0].runs[0].folder
    config, conditions = run.config, run.record.conditions
    test = session.split(config.protocol, "test", config.limit_of("test"))
    wanted = conditions.manifest_sha256 if conditions else ""
    if test.manifest_sha256 != wanted:
        raise DataError(
            f"test data here have manifest {test.manifest_sha256[:12]}, the runs were scored on {wanted[:12]}; give "
            "the folder of the same data with --data-root"
        )
    data = open_scoring_data(config, session)
    return compare_entries(entries, data, against, session.cache, session.progress)
