"""Loads a trained My Method and samples it."""

from collections.abc import Sequence

from ccbench.plugins.contract import Generator, LoadContext, require_parts
from ccbench.types import Condition, Image
from safetensors.numpy import load_file

from ccbench_my_method import METHOD
from ccbench_my_method.config import MyMethodConfig
from ccbench_my_method.model import Colours, draw
from ccbench_my_method.train import CHECKPOINT


class MyMethodGenerator:
    """Draws an image from its mask and its seed, and from nothing else."""

    def __init__(self, colours: Colours, config: MyMethodConfig) -> None:
        self.colours, self.config = colours, config

    def generate(self, conditions: Sequence[Condition], seeds: Sequence[int]) -> list[Image]:
        """Return one image a condition, in order."""
        require_parts(METHOD.info, conditions)
        return [draw(self.colours, c.mask, seed, self.config) for c, seed in zip(conditions, seeds, strict=True)]


def load(context: LoadContext[MyMethodConfig]) -> Generator:
    """Return the generator of a trained checkpoint."""
    held = load_file(context.checkpoint / CHECKPOINT)
    return MyMethodGenerator(Colours(held["mean"], held["spread"]), context.config)
