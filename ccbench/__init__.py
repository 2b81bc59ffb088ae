"""ccbench: the referee for controlled colonoscopy image generation.

The public names of the package. Importing it does not import torch.
"""

from ccbench.errors import CcbenchError
from ccbench.plugin import Generator, Method, MethodConfig, MethodInfo
from ccbench.types import Condition, Image, Mask, Score

__version__ = "0.1.0"

__all__ = [
    "CcbenchError",
    "Condition",
    "Generator",
    "Image",
    "Mask",
    "Method",
    "MethodConfig",
    "MethodInfo",
    "Score",
    "__version__",
]
