"""Two processes that train together do what one does alone: real ones, on the CPU."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ccbench.cli import execute
from ccbench.diffusion.training_loop import WEIGHTS
from ccbench.errors import UsageError
from ccbench.runs import RunFolder
from ccbench_ccis_diff import METHOD

STEPS = 12
# torchrun: without MPI, `accelerate launch --cpu` starts one process whatever it is asked for.
LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]


def command(backbone: Path, output: Path) -> list[str]:
    """A few steps of batch 2 on four phantoms, with text-aware attention and blur."""
    settings = [f"training.max_steps={STEPS}", "training.batch_size=2", "training.learning_rate=1e-3"]
    options = ["--backbone", str(backbone), "--limit", "4", "--device", "cpu", "--output", str(output)]
    return ["train", "--method", METHOD.info.name, *options, *(part for text in settings for part in ("--set", text))]


def test_two_processes_train_as_one(backbone_folder: Path, tmp_path: Path) -> None:
    """Within rounding, for sums are taken in another order: loss 1e-5 relative, and 999 of 1,000 weights 1e-4.

    12 steps of rate 1e-3 move a weight by up to 1.2e-2; where a gradient is next to nothing, AdamW divides rounding by
    rounding.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    both = subprocess.run(
        [*LAUNCH, "-m", "ccbench", *command(backbone_folder, tmp_path / "two")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert both.returncode == 0, both.stderr
    assert both.stdout.count("checkpoint: ") == 1 and both.stderr.count("train: done") == 1
    assert execute(command(backbone_folder, tmp_path / "one")) == 0
    one, two = (RunFolder.read(tmp_path / name) for name in ("one", "two"))
    assert one.record.training is not None and two.record.training is not None
    assert [step for step, _ in two.record.training.loss] == [10, 12]
    np.testing.assert_allclose(two.record.training.loss, one.record.training.loss, rtol=1e-5)
    a, b = (load_file(run.checkpoint / WEIGHTS) for run in (one, two))
    assert a.keys() == b.keys()
    one_row, two_row = (torch.cat([tensors[key].flatten() for key in sorted(tensors)]) for tensors in (a, b))
    apart = (one_row - two_row).abs()
    assert apart.norm() < 1e-4 * one_row.norm() and (apart > 1e-4).float().mean() < 1e-3
    assert (one.record.env["processes"], two.record.env["processes"]) == (1, 2)


def test_a_follower_waits_writes_nothing_and_prints_nothing(
    backbone_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ccbench.runs.record_file._PATIENCE", 0.2)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    path = tmp_path / "run"
    assert execute(command(backbone_folder, path)) == UsageError.exit_code
    assert "process 1: error: " in capsys.readouterr().err and not path.exists()
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(UsageError):
        RunFolder.open(path)
