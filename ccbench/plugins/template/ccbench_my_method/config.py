"""My Method's settings: `--set edge=3` changes one, and an unknown key is an error."""

from ccbench.plugins.contract import MethodConfig
from pydantic import Field


class MyMethodConfig(MethodConfig):
    """A method without a sampler ignores the two fields that every configuration has."""

    edge: int = Field(2, ge=0, le=32, description="pixels over which the polyp fades into the mucosa, on either side")
    grain: int = Field(4, ge=1, le=64, description="pixels of one grain of the noise")
