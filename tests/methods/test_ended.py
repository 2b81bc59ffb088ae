"""A real training that Slurm preempts or `docker stop` ends: SIGTERM to its process."""

import json
import time
from pathlib import Path

from ccbench.diffusion.training_loop import STATE, WEIGHTS
from forks import forked, run_ccbench

STEPS = 100_000


def test_sigterm_keeps_the_step_and_says_so(backbone_folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    settings = [f"training.max_steps={STEPS}", "training.batch_size=2", "training.checkpoint_every=2"]
    sets = [part for text in settings for part in ("--set", text)]
    options = ["--backbone", str(backbone_folder), "--limit", "4", "--device", "cpu", "--output", str(run)]
    command = ("train", "--method", "controlnet", *options, *sets)
    with forked(run_ccbench, *command, out=tmp_path / "out", err=tmp_path / "err") as process:
        end = time.monotonic() + 120
        while not (run / "checkpoint" / STATE).exists():
            assert process.is_alive() and time.monotonic() < end
            time.sleep(0.05)
        working = json.loads((run / "run.json").read_text())
        process.terminate()
        process.join(60)
        said = (tmp_path / "err").read_text()
        assert process.exitcode == 143, said
    last = said.rstrip().splitlines()[-1]
    assert last.startswith("error: ended by SIGTERM; training: step ")
    assert last.endswith(f" of {STEPS:,} is kept; the same command goes on")
    assert working["status"] == "running" and working["heartbeat"] is not None
    left = json.loads((run / "run.json").read_text())
    assert (left["status"], left["heartbeat"], left["error"]) == ("interrupted", None, None)
    assert (run / "checkpoint" / STATE).exists() and not (run / "checkpoint" / WEIGHTS).exists()
    assert [path.name for path in run.rglob("*.tmp")] == []
