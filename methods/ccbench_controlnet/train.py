"""Trains ControlNet."""

from ccbench.diffusion.backbone import Backbone
from ccbench.diffusion.branch_training import train_branch
from ccbench.plugins.contract import TrainContext, TrainReport
from ccbench_controlnet.config import ControlNetConfig
from ccbench_controlnet.model import ControlNetBranch, build, load_pretrained


def train(context: TrainContext[ControlNetConfig]) -> TrainReport:
    """Fill the checkpoint folder; see `train_branch`. `pretrained` weights without a step stay as they are."""

    def start(backbone: Backbone, config: ControlNetConfig) -> ControlNetBranch:
        branch = build(backbone, config)
        if config.pretrained is not None:
            load_pretrained(branch.control, config.pretrained, context.allow_pickle)
        return branch

    return train_branch(context, start)
