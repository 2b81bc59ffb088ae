"""Loads a trained ControlNet."""

from ccbench.diffusion.sampler import load_generator
from ccbench.plugins.contract import Generator, LoadContext
from ccbench_controlnet import METHOD
from ccbench_controlnet.config import ControlNetConfig
from ccbench_controlnet.model import build


def load(context: LoadContext[ControlNetConfig]) -> Generator:
    """Return the generator of a trained checkpoint."""
    return load_generator(METHOD.info, context, build)
