"""Where the tests find the real data sets."""

import os
from pathlib import Path


def real_data() -> Path | None:
    """The real data sets: where `CCBENCH_TEST_DATA` says, or `shared/data` beside the repository; None without them."""
    named = os.environ.get("CCBENCH_TEST_DATA")
    beside = Path(__file__).parents[2] / "shared" / "data"
    return Path(named) if named else beside if (beside / "Kvasir-SEG").is_dir() else None
