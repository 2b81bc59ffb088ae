"""Two processes that train one segmenter: real ones, on the CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TRAIN = """
import hashlib, json, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import torch
from ccbench.segmenters import SEGMENTERS, segmenter_training
from ccbench.segmenters.segmenter_training import Budget, Exercise, train_segmenter
from tiny_segmenters import draw_discs, label, tiny
folder, measured = Path(sys.argv[1]), iter([(0.2, 0.1), (0.1, 0.2)][int(os.environ["RANK"])])
segmenter_training.mean_dice = lambda *rest: next(measured)
data, check, budget = label(draw_discs(8, 0)), draw_discs(3, 1), Budget(2, "validation")
network, trained = train_segmenter(Exercise(SEGMENTERS["pranet"], tiny(), data, check, budget, 0), folder / "training")
state = b"".join(tensor.numpy().tobytes() for tensor in network.state_dict().values())
found = [*trained.dice, trained.steps, trained.taken, hashlib.sha256(state).hexdigest()]
(folder / f"{os.environ['RANK']}.json").write_text(json.dumps(found))
"""


@pytest.mark.slow
def test_two_processes_share_each_batch_and_end_equal(tmp_path: Path) -> None:
    """As many steps as one process takes, and the first one's Dice decides: batch norm sees each its own half."""
    script = tmp_path / "train.py"
    script.write_text(TRAIN)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    ran = subprocess.run(
        [*launch, str(script), str(tmp_path), str(Path(__file__).parents[1])],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ran.returncode == 0, ran.stderr
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first == second and first[:4] == [0.2, 0.1, 4, 1]
    assert sorted(path.name for path in (tmp_path / "training").glob("*.safetensors")) == ["state.safetensors"]
