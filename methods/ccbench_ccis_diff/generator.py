"""Loads a trained CCIS-DIFF."""

from ccbench.diffusion.sampler import load_generator
from ccbench.plugins.contract import Generator, LoadContext
from ccbench_ccis_diff import METHOD
from ccbench_ccis_diff.config import CcisDiffConfig
from ccbench_ccis_diff.model import build


def load(context: LoadContext[CcisDiffConfig]) -> Generator:
    """Return the generator of a trained checkpoint."""
    return load_generator(METHOD.info, context, build)
