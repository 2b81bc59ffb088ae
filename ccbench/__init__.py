"""ccbench: the referee for controlled colonoscopy image generation.

The public names of the package. Each is imported when it is first asked for, so that `ccbench --help` waits for none.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ccbench.errors import CcbenchError
    from ccbench.plugins.contract import Generator, Method, MethodConfig, MethodInfo
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

_PLACES = {
    "ccbench.errors": ("CcbenchError",),
    "ccbench.plugins.contract": ("Generator", "Method", "MethodConfig", "MethodInfo"),
    "ccbench.types": ("Condition", "Image", "Mask", "Score"),
}


def __getattr__(name: str) -> Any:
    for place, names in _PLACES.items():
        if name in names:
            return getattr(importlib.import_module(place), name)
    raise AttributeError(f"module 'ccbench' has no attribute {name!r}")
