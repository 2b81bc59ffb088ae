"""Two processes that train together do what one does alone: real ones, on the CPU."""

import socket
from contextlib import ExitStack
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
from forks import forked, run_ccbench

STEPS = 4


def command(backbone: Path, output: Path) -> list[str]:
    """Steps of batch 2 on four phantoms, two passes, with text-aware attention and blur."""
    settings = [f"training.max_steps={STEPS}", "training.batch_size=2", "training.learning_rate=1e-3"]
    options = ["--backbone", str(backbone), "--limit", "4", "--device", "cpu", "--output", str(output)]
    return ["train", "--method", METHOD.info.name, *options, *(part for text in settings for part in ("--set", text))]


def test_two_processes_train_as_one(backbone_folder: Path, tmp_path: Path) -> None:
    """Within rounding, for sums are taken in another order: loss 1e-5 relative, and 999 of 1,000 weights 1e-4.

    4 steps of rate 1e-3 move a weight by up to 4e-3; where a gradient is next to nothing, AdamW divides rounding by
    rounding.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    told = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    out, err = tmp_path / "out", tmp_path / "err"
    with ExitStack() as stack:
        both = [
            stack.enter_context(
                forked(
                    *(run_ccbench, *command(backbone_folder, tmp_path / "two")),
                    out=out,
                    err=err,
                    environment={**told, "RANK": rank, "LOCAL_RANK": rank},
                )
            )
            for rank in "01"
        ]
        for process in both:
            process.join(120)
        assert [process.exitcode for process in both] == [0, 0], err.read_text()
    assert out.read_text().count("checkpoint: ") == 1 and err.read_text().count("train: done") == 1
    assert execute(command(backbone_folder, tmp_path / "one")) == 0
    one, two = (RunFolder.read(tmp_path / name) for name in ("one", "two"))
    assert one.record.training is not None and two.record.training is not None
    assert [step for step, _ in two.record.training.loss] == [STEPS]
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
