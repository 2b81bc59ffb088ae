"""Commands killed (SIGKILL) at random moments end as one that was not, byte for byte but for times."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
TINY = ("--protocol", "tiny", "--device", "cpu")
VARIED = ("--method", "ccis-diff", "--vary", "bmws=off", "--seeds", "0", "--jobs", "1", "--no-cache")
COMMANDS = {
    "train, synthesize and score": ("run", "--method", "ccis-diff", "--limit", "6", "--no-cache"),
    "segment": ("segment", "--rows", "real,copy-paste", "--seeds", "0", "--limit", "4", "--jobs", "1"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_killed_again_and_again_it_ends_the_same(name: str, tmp_path: Path) -> None:
    command = [sys.executable, str(TESTS / "killing.py"), str(tmp_path), "2", *COMMANDS[name], *TINY]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    found = json.loads(done.stdout.splitlines()[-1])
    assert "error" not in found, found
    assert found["differ"] == [] and found["kills"] >= 4 and found["files"] > 10
