"""The loss of trained runs on their protocol's validation images, for methods that extend a latent backbone.

    python recipes/held_out_loss.py RUN RUN ... [--passes 8] [--data-root DIR]

Squared error on epsilon with every prompt and mask kept; images, time steps and noise are the same for all runs. Runs
of one configuration are the seeds of a row; the first row is the one that others are compared with, by seed. Prints a
markdown table.
"""

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import t as student

from ccbench.base.assets import find_backbone
from ccbench.data.split import open_split
from ccbench.diffusion.backbone import load_backbone
from ccbench.diffusion.branch_training import BranchObjective, TrainingSet, encode_set, load_branch
from ccbench.diffusion.training_loop import Share
from ccbench.plugins.contract import TrainContext
from ccbench.protocols.config import require_current
from ccbench.protocols.row_names import row_name
from ccbench.runs import RunFolder
from ccbench.tables.markdown import markdown_table

BATCH = 20


def held_out_loss(run: RunFolder, passes: int, data_root: Path | None, encoded: dict[str, TrainingSet]) -> float:
    """Return the mean loss of a run's weights over `passes` times all validation images.

    Args:
        encoded: protocol -> its encoded images, filled where it is not there.
    """
    require_current(run.config, run.path)
    protocol, settings = run.config.protocol, run.config.settings
    pairs = open_split(protocol, "validation", data_root).pairs
    training = run.config.training.model_copy(update={"batch_size": BATCH, "prompt_drop": 0.0})
    folder = find_backbone(protocol.backbone)
    backbone = load_backbone(folder, "cpu")
    context: TrainContext[Any] = TrainContext(
        pairs=pairs,
        config=settings,
        training=training,
        backbone=folder,
        image_size=protocol.image_size,
        checkpoint=run.checkpoint,
        seed=0,
    )
    if protocol.name not in encoded:
        encoded[protocol.name] = encode_set(context, backbone)
    package = type(settings).__module__.partition(".")[0]
    branch = load_branch(run.checkpoint, backbone, settings, import_module(f"{package}.model").build)
    branch.mask_drop = 0.0
    objective = BranchObjective(context, backbone, branch, encoded[protocol.name])
    with torch.inference_mode():
        losses = [objective(step, Share(0, 1)).item() for step in range(passes * len(pairs) // BATCH)]
    return float(np.mean(losses))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--passes", type=int, default=8)
    parser.add_argument("--data-root", type=Path)
    args = parser.parse_args()
    runs, encoded = [RunFolder.read(path) for path in args.runs], dict[str, TrainingSet]()
    found: dict[str, dict[int, float]] = {}
    for run in runs:
        name, loss = row_name(run.config), held_out_loss(run, args.passes, args.data_root, encoded)
        found.setdefault(name, {})[run.config.seed] = loss
        print(f"{name}, seed {run.config.seed}: {loss:.5f}", file=sys.stderr, flush=True)
    first, rows = next(iter(found.values())), []
    for name, losses in found.items():
        values = np.array(list(losses.values()))
        spread = f" ± {values.std(ddof=1):.5f}" if len(values) > 1 else ""
        moved = np.array([losses[seed] - first[seed] for seed in losses.keys() & first.keys()])
        shown = "" if losses is first else f"{moved.mean():+.5f}"
        if losses is not first and len(moved) > 1:
            half = student.ppf(0.975, len(moved) - 1) * moved.std(ddof=1) / np.sqrt(len(moved))
            shown += f" ({moved.mean() - half:+.5f} to {moved.mean() + half:+.5f})"
        rows.append((name, ", ".join(map(str, losses)), f"{values.mean():.5f}{spread}", shown))
    print(markdown_table(("row", "seeds", "held-out loss", "difference (95 %)"), rows, right=(2, 3)), end="")


if __name__ == "__main__":
    main()
