"""Trains Uni-ControlNet: the local adapter, and where it is on the global one in a stage of its own."""

from ccbench.diffusion.branch_training import train_branch
from ccbench.plugins.contract import TrainContext, TrainReport
from ccbench_uni_controlnet.config import UniControlNetConfig
from ccbench_uni_controlnet.global_adapter import add_reports, train_global
from ccbench_uni_controlnet.model import build


def train(context: TrainContext[UniControlNetConfig]) -> TrainReport:
    """Fill the checkpoint folder; see `train_branch` and `train_global`."""
    report = train_branch(context, build)
    if not context.config.global_adapter.enabled:
        return report
    return add_reports(report, train_global(context))
