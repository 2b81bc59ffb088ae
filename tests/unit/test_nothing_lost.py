"""Real processes that are killed at random moments, or meet a real full disk, end as one that was not, but for times.

test_write_points.py goes through every write of every command in one process; these show that processes do the same.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[1] / "interrupting.py"
COMMANDS = {
    "train, synthesize and score": ("run", "--method", "ccis-diff", "--limit", "6", "--no-cache"),
    "ablate": ("ablate", "--method", "ccis-diff", "--vary", "bmws=off", "--seeds", "0", "--jobs", "1", "--no-cache"),
    "segment": ("segment", "--rows", "real,copy-paste", "--seeds", "0", "--limit", "4", "--jobs", "1"),
}


def interrupt(how: str, times: int, name: str, folder: Path, before: tuple[str, ...] = ()) -> dict[str, Any]:
    words = [how, str(folder), str(times), *COMMANDS[name], "--protocol", "tiny", "--device", "cpu"]
    done = subprocess.run([*before, sys.executable, str(SCRIPT), *words], capture_output=True, text=True, timeout=400)
    assert done.stdout, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert "error" not in found, found
    assert found["differ"] == [] and found["files"] > 10
    return found


def test_a_run_that_was_killed_twice_ends_the_same(tmp_path: Path) -> None:
    assert interrupt("kill", 2, "train, synthesize and score", tmp_path)["interrupted"] >= 1


@pytest.mark.slow
@pytest.mark.parametrize("name", list(COMMANDS))
def test_killed_again_and_again_it_ends_the_same(name: str, tmp_path: Path) -> None:
    assert interrupt("kill", 60, name, tmp_path)["interrupted"] >= 4


@pytest.mark.slow
def test_a_full_disk_loses_nothing_that_was_complete(tmp_path: Path) -> None:
    """On disks of an eighth to seven eighths of what the run needs: it ends at a checkpoint, an image or a score."""
    found = interrupt("full", 4, "train, synthesize and score", tmp_path, ("unshare", "-rm"))
    assert len(found["said"]) == 4
    for said in found["said"]:
        assert said.startswith("2: error: ") and "No space left on device" in said
