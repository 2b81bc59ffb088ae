"""Trains CCIS-DIFF."""

from ccbench.diffusion.branch_training import train_branch
from ccbench.plugins.contract import TrainContext, TrainReport
from ccbench_ccis_diff.config import CcisDiffConfig
from ccbench_ccis_diff.model import build


def train(context: TrainContext[CcisDiffConfig]) -> TrainReport:
    """Fill the checkpoint folder; see `train_branch`."""
    return train_branch(context, build)
