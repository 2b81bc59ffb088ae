"""ccbench: the referee for controlled colonoscopy image generation.

The public names of the package. Each is imported when it is first asked for, so that `ccbench --help` waits for none;
none imports torch before it computes something.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ccbench.comparison.run_comparison import compare_runs
    from ccbench.errors import CcbenchError
    from ccbench.pipeline.make_run import make_run, run_config
    from ccbench.pipeline.run_scorer import score_run
    from ccbench.pipeline.session import Session
    from ccbench.pipeline.verification.run_verification import verify_run
    from ccbench.plugins.contract import Generator, Method, MethodConfig, MethodInfo
    from ccbench.scoring.two_folders import score_folders
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
    "Session",
    "__version__",
    "compare_runs",
    "make_run",
    "run_config",
    "score_folders",
    "score_run",
    "verify_run",
]

_PLACES = {
    "ccbench.comparison.run_comparison": ("compare_runs",),
    "ccbench.errors": ("CcbenchError",),
    "ccbench.pipeline.make_run": ("make_run", "run_config"),
    "ccbench.pipeline.run_scorer": ("score_run",),
    "ccbench.pipeline.session": ("Session",),
    "ccbench.pipeline.verification.run_verification": ("verify_run",),
    "ccbench.plugins.contract": ("Generator", "Method", "MethodConfig", "MethodInfo"),
    "ccbench.scoring.two_folders": ("score_folders",),
    "ccbench.types": ("Condition", "Image", "Mask", "Score"),
}


def __getattr__(name: str) -> Any:
    for place, names in _PLACES.items():
        if name in names:
            return getattr(importlib.import_module(place), name)
    raise AttributeError(f"module 'ccbench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
