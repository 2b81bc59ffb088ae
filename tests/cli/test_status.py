"""`ccbench status`: how far runs are, from outside."""

from pathlib import Path

import pytest

from calling import Call
from ccbench.runs import RunFolder
from ccbench.runs.record import StepRecord

RUN = ("run", "--method", "fake", "--protocol", "small", "--limit", "4")


def test_every_state_of_a_run_is_told_from_outside(
    call: Call, scored_images: list[list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call(*RUN, "--output", "runs/a").code == 0
    assert call("train", *RUN[1:], "--output", "runs/b").code == 0
    found = {one["path"]: one for one in call("status", "runs", "--json").json}
    assert (found["runs/a"]["state"], found["runs/a"]["done"], found["runs/a"]["total"]) == ("scored", 4, 4)
    assert found["runs/b"]["state"] == "started"

    doing = StepRecord(step="sampling", done=2, total=4, seconds_left=90.0)
    with RunFolder.open(Path("runs/b")) as run:
        run.update(status="running", doing=doing)
        (row,) = (line for line in call("status", "runs/b").out.splitlines() if "runs/b" in line)
        assert row.split()[:8] == ["runs/b", "running", "sampling", "2/4", "1", "min", "30", "s"]
        Path("runs/a/scores/scorecard.json").unlink()
        with RunFolder.open(Path("runs/a")):
            states = [one["state"] for one in call("status", "runs/a", "runs/b", "runs", "--json").json]
        assert states == ["scoring", "running"]  # a run that is named twice is one
    killed, unscored = call("status", "runs/b", "runs/a", "--json").json
    assert (killed["state"], killed["step"], killed["done"], killed["seconds_left"]) == (
        "interrupted",
        "sampling",
        2,
        None,
    )
    assert unscored["state"] == "not scored"


def test_a_run_that_failed_or_cannot_be_read_hides_no_other(call: Call, scored_images: list[list[Path]]) -> None:
    for name in "abc":
        assert call("train", *RUN[1:], "--output", f"runs/{name}").code == 0
    with RunFolder.open(Path("runs/a")) as run:
        run.fail(ValueError("no room"))
    Path("runs/b/run.json").write_text("{")
    done = call("status", "runs")
    assert done.code == 0
    states = {words[0]: words[1] for line in done.out.splitlines() if (words := line.split()) and "/" in words[0]}
    assert states["runs/a"] == "failed" and states["runs/b"] == "unreadable" and states["runs/c"] == "started"
    assert "runs/a: ValueError: no room" in done.out and "runs/b: runs/b/run.json: cannot be read as JSON" in done.out


def test_a_folder_without_runs_is_refused(call: Call) -> None:
    done = call("status", "nothing")
    assert done.code == 2 and done.err.startswith("error: nothing: found no run at or below it")
