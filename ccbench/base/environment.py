"""What a run was made with: interpreter, packages, device and source tree. Imports no heavy package on CPU."""

import importlib.metadata
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ccbench.base.process_ranks import process_count

PACKAGES = (
    "accelerate",
    "diffusers",
    "numpy",
    "onedl-mmengine",
    "onedl-mmsegmentation",
    "open-clip-torch",
    "pandas",
    "pillow",
    "pysodmetrics",
    "safetensors",
    "scikit-image",
    "scipy",
    "timm",
    "tokenizers",
    "torch",
    "torch-fidelity",
    "torchvision",
    "transformers",
)


def now() -> str:
    """Return the time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def package_version(name: str) -> str | None:
    """Return the installed version of a distribution, None when it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def collect_environment(device: str) -> dict[str, Any]:
    """Describe this machine and installation for a run record; nothing in it names the machine or its user."""
    return {
        "ccbench": package_version("ccbench"),
        "source": source_state(Path(__file__).parent.parent),
        "python": platform.python_version(),
        "platform": " ".join((platform.system(), platform.machine(), *platform.libc_ver())),
        "cpu_count": os.cpu_count(),
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),  # rounding of sums depends on it
        "processes": process_count(),
        "device": device,
        "device_name": _device_name(device),
        "packages": {name: package_version(name) for name in PACKAGES},
    }


def source_state(package: Path) -> dict[str, Any]:
    """Return the git `commit` of the tree that holds a package's source and whether the package is `dirty`.

    Both are None outside a git tree, without git, or when the folder is not tracked by the tree around it.
    """
    commit = _git(package, "rev-parse", "HEAD")
    tracked = commit and _git(package, "ls-files", "--", ".")
    if not tracked:
        return {"commit": None, "dirty": None}
    return {"commit": commit, "dirty": bool(_git(package, "status", "--porcelain", "--", "."))}


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _device_name(device: str) -> str | None:
    if not device.startswith("cuda"):
        info = Path("/proc/cpuinfo")  # platform.processor() is empty on Debian
        lines = info.read_text(errors="replace").splitlines() if info.is_file() else []
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        return names[0] if names else platform.processor() or None
    import torch

    return f"{torch.cuda.get_device_name(device)}, CUDA {torch.version.cuda}"
