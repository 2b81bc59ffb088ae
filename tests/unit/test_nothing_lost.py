"""Real processes that are killed at random moments, or meet a real full disk, end as one that was not, but for times.

test_write_points.py goes through every write of every command in one process; these show that processes do the same.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from forks import forked
from interrupting import interrupt

SCRIPT = Path(__file__).parents[1] / "interrupting.py"
ALONE = ("--jobs", "1", "--no-cache")
COMMANDS = {
    "train, synthesize and score": ("run", "--method", "ccis-diff", "--limit", "4", "--no-cache"),
    "ablate": ("ablate", "--method", "corrupted-real", "--vary", "noise=0.1", "--seeds", "0", *ALONE),
    "segment": ("segment", "--rows", "real,copy-paste", "--seeds", "0", "--limit", "4", *ALONE[:2]),
}
FOR = ("--protocol", "tiny", "--device", "cpu")


def check(said: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(said.read_text().splitlines()[-1])
    assert "error" not in found, found
    assert found["differ"] == [] and found["files"] > 10
    return found


def kill(times: int, name: str, folder: Path) -> int:
    """Return how often the command was killed."""
    out, err = (folder.with_suffix(suffix) for suffix in (".out", ".err"))
    with forked(interrupt, "kill", folder, times, [*COMMANDS[name], *FOR], out=out, err=err) as process:
        process.join(400)
        assert out.read_text(), err.read_text()[-2000:]
    return int(check(out)["interrupted"])


def test_a_run_that_was_killed_twice_ends_the_same(tmp_path: Path) -> None:
    assert kill(2, "train, synthesize and score", tmp_path) >= 1


@pytest.mark.slow
@pytest.mark.parametrize("name", list(COMMANDS))
def test_killed_again_and_again_it_ends_the_same(name: str, tmp_path: Path) -> None:
    assert kill(12, name, tmp_path) >= 4


@pytest.mark.slow
def test_a_full_disk_loses_nothing_that_was_complete(tmp_path: Path) -> None:
    """On disks of an eighth to seven eighths of what the run needs: it ends at a checkpoint, an image or a score."""
    words = ["full", str(tmp_path), "4", *COMMANDS["train, synthesize and score"], *FOR]
    with (out := tmp_path.with_suffix(".out")).open("w") as stream:
        subprocess.run(["unshare", "-rm", sys.executable, str(SCRIPT), *words], stdout=stream, timeout=400)
    found = check(out)
    assert len(found["said"]) == 4
    for said in found["said"]:
        assert said.startswith("2: error: ") and "No space left on device" in said
