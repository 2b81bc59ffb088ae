"""Trains ControlNet."""

from ccbench.diffusion.trainer import train_branch
from ccbench.plugin import TrainContext, TrainReport
from ccbench_controlnet.config import ControlNetConfig
from ccbench_controlnet.model import build


def train(context: TrainContext[ControlNetConfig]) -> TrainReport:
    """Fill the checkpoint folder; see `train_branch`."""
    return train_branch(context, build)
