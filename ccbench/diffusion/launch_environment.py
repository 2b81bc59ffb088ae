"""What the environment asks of a training beside its settings: set aside, said or refused. Imports no torch.

accelerate takes settings from `ACCELERATE_*`, which `accelerate launch` sets from the user's default configuration;
kernels take theirs from variables that were read when torch was loaded.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from ccbench.errors import UsageError
from ccbench.plugins.contract import TrainingSettings

_PREFIX = "ACCELERATE_"
_SHARDING = (  # they share out weights, and the loop shares out batches
    "ACCELERATE_USE_DEEPSPEED",
    "ACCELERATE_USE_FSDP",
    "ACCELERATE_USE_MEGATRON_LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG",
    "ACCELERATE_USE_SAGEMAKER",
)
_ARITHMETIC = {  # of kernels, whatever torch is told later -> the values that change nothing
    "DNNL_DEFAULT_FPMATH_MODE": ("STRICT",),
    "ONEDNN_DEFAULT_FPMATH_MODE": ("STRICT",),
    "NVIDIA_TF32_OVERRIDE": (),
}
_HARMLESS = ("ACCELERATE_CPU_AFFINITY",)
_OFF = ("", "0", "false", "no", "off")


@contextmanager
def plain_environment() -> Iterator[None]:
    """Hide accelerate's variables within the block, so that a training follows its settings alone.

    Raises:
        UsageError: a variable asks for what no setting can undo.
    """
    for name in _SHARDING:
        if os.environ.get(name, "").lower() not in _OFF:
            raise UsageError(
                f"{name}={os.environ[name]}: shares out weights, and ccbench shares out batches; start it with "
                "torchrun or with plain `accelerate launch --multi_gpu`"
            )
    for name, plain in _ARITHMETIC.items():
        if os.environ.get(name) and os.environ[name].upper() not in plain:
            raise UsageError(
                f"{name}={os.environ[name]}: changes the arithmetic of a training behind its record; unset it, "
                "training.precision decides"
            )
    held = {name: value for name, value in os.environ.items() if name.startswith(_PREFIX) and name not in _HARMLESS}
    for name in held:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(held)


def ignored_variables(training: TrainingSettings) -> list[str]:
    """Return a line for each variable of accelerate that asks for another training than the settings."""
    precision = f"training.precision={training.precision}"
    parts = f"training.gradient_accumulation={training.gradient_accumulation}"
    settings = {  # what decides, and the values that ask for nothing else
        "ACCELERATE_MIXED_PRECISION": (precision, training.precision),
        "ACCELERATE_DOWNCAST_BF16": (precision,),
        "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": (parts, "1", str(training.gradient_accumulation)),
        "ACCELERATE_DYNAMO_BACKEND": ("steps are not compiled",),
    }
    asked = {name: os.environ.get(name, "") for name in settings}
    return [
        f"{name}={asked[name]} is ignored: {said}"
        for name, (said, *same) in settings.items()
        if asked[name].lower() not in (*_OFF, *same)
    ]
