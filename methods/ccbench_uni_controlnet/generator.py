"""Loads a trained Uni-ControlNet."""

from ccbench.diffusion.sampler import load_generator
from ccbench.plugins.contract import Generator, LoadContext
from ccbench_uni_controlnet import METHOD
from ccbench_uni_controlnet.config import UniControlNetConfig
from ccbench_uni_controlnet.global_adapter import open_global
from ccbench_uni_controlnet.model import build


def load(context: LoadContext[UniControlNetConfig]) -> Generator:
    """Return the generator of a trained checkpoint."""
    extra = open_global(context) if context.config.global_adapter.enabled else None
    return load_generator(METHOD.info, context, build, extra)
