"""The controls' settings."""

from pydantic import Field

from ccbench.plugins.contract import OfMethodConfig, Settings


class NoSettings(Settings):
    """A control that nothing can be set of."""


class CorruptedRealConfig(Settings):
    """How much is done to a real image. The defaults are plain to see and leave polyp and folds where they are."""

    blur: float = Field(1.5, ge=0, description="standard deviation of the Gaussian blur, in pixels")
    noise: float = Field(10.0, ge=0, description="standard deviation of the Gaussian noise, in grey levels")


class ShuffledConfig(OfMethodConfig):
    """`of`: the method whose conditions are shuffled."""
