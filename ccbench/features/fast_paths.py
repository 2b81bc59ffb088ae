"""How an encoder's image tower is computed: plainly, or fused where that was seen to give the same features.

The environment variable `CCBENCH_ENCODER_PATH` asks for a path; without it, or with `auto`, that is `fused` on the CPU
and `eager` elsewhere.

The gate: when an encoder is opened, a few made images go through the plain float32 network and through the fused one.
The largest difference of their features, over the plain features' root mean square, is the path's error; above `BOUND`
the plain network is used. The verdict is kept under `CCBENCH_HOME`, for measuring takes longer than opening.
"""

import contextlib
import functools
import hashlib
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ccbench.base.assets import home
from ccbench.base.environment import package_version
from ccbench.base.files import make_folder, read_json, write_json
from ccbench.errors import CcbenchError, UsageError
from ccbench.features.encoder import check_images, run_batches
from ccbench.features.fused import fuse
from ccbench.types import Image

VARIABLE = "CCBENCH_ENCODER_PATH"
PATHS = ("auto", "eager", "fused")
BOUND = 1e-4  # float32 in another order gives 3e-6 to 3e-5 and moves no printed digit
_PROBES = ((61, 47), (224, 224), (288, 352))  # (H, W): below, at and above what networks read
_VERSION = 1  # raise it when the path or the probes change

Network = Callable[[torch.Tensor], torch.Tensor]


class Tower:
    """An image tower as it will be run.

    Attributes:
        path: such as `fused cpu`.
        error: what the gate measured, 0.0 if plain.
    """

    def __init__(self, make: Callable[[], Network], path: str, error: float) -> None:
        self._make, self.path, self.error = make, path, error

    @functools.cached_property
    def run(self) -> Network:
        """Features (B, D) of a prepared batch."""
        return self._make()


class TowerEncoder:
    """An encoder whose images are prepared one by one and go through an image tower.

    Args:
        name: the encoder's name in the table of encoders.
        load, prepare, fuse: as `open_tower` takes them.
        verdict: names the kept verdict where `signature` does not name all that the network depends on.
    """

    def __init__(
        self,
        name: str,
        signature: str,
        dim: int,
        device: str,
        load: Callable[[], torch.nn.Module],
        prepare: Callable[[Sequence[Image]], torch.Tensor],
        fuse: Callable[[torch.nn.Module], torch.nn.Module] = fuse,
        verdict: str = "",
    ) -> None:
        self.id, self.signature, self.dim = name, signature, dim
        self._device, self._prepare = device, prepare
        self._tower = open_tower(load, prepare, verdict or signature, device, fuse)
        self.path, self.path_error = self._tower.path, self._tower.error

    def encode_images(self, images: Sequence[Image]) -> NDArray[np.float32]:
        """Return (N, D) features, in order."""
        check_images(images, self.id)
        return run_batches(images, self._prepare, self._tower.run, self.dim, self._device)


def open_tower(
    load: Callable[[], torch.nn.Module],
    prepare: Callable[[Sequence[Image]], torch.Tensor],
    signature: str,
    device: str,
    fuse: Callable[[torch.nn.Module], torch.nn.Module] = fuse,
) -> Tower:
    """Return the tower on the path asked for if that passes the gate, else as it is.

    Args:
        load: gives the plain network on `device`. Where a verdict on these weights is kept, it is not called before
            the tower runs: a set whose features are all in the cache needs no network.
        prepare: makes the network's batch of images.
        signature: of the encoder, it names the verdict.
        fuse: makes the network of the path `fused`.

    Raises:
        UsageError: an unknown path.
    """
    if _wanted(device) == "eager":
        network = load()
        return Tower(lambda: network, f"eager {device}", 0.0)
    key = _key(signature, f"fused {device}")
    error, make = _kept_verdict(key), lambda: fuse(load())
    if error is None:
        plain = load()
        fused = fuse(plain)
        error = _measure(plain, fused, prepare(probe_images()).to(device))
        _keep_verdict(key, error)
        load, make = lambda: plain, lambda: fused
    if not error <= BOUND:  # or not a number
        return Tower(load, f"eager {device}", 0.0)
    return Tower(make, f"fused {device}", error)


def probe_images() -> list[Image]:
    """Return the images that the gate measures on: blocks of colour under noise, always the same."""
    rng = np.random.default_rng(0)
    images = []
    for height, width in _PROBES:
        blocks = rng.integers(0, 200, (-(-height // 16), -(-width // 16), 3)).repeat(16, axis=0).repeat(16, axis=1)
        images.append((blocks[:height, :width] + rng.integers(0, 56, (height, width, 3))).astype(np.uint8))
    return images


def _wanted(device: str) -> str:
    name = os.environ.get(VARIABLE) or "auto"
    if name not in PATHS:
        raise UsageError(f"{VARIABLE} is {name!r}; wanted one of {', '.join(PATHS)}")
    if name == "auto":
        return "fused" if device == "cpu" else "eager"
    return name


def _measure(network: Network, fast: Network, probes: torch.Tensor) -> float:
    with torch.inference_mode():
        plain, other = network(probes).double(), fast(probes).double()
    return float((plain - other).abs().max() / plain.square().mean().sqrt().clamp_min(torch.finfo(torch.float32).tiny))


def _key(signature: str, path: str) -> str:
    libraries = "|".join(f"{name}:{package_version(name)}" for name in ("torch", "timm", "open_clip_torch"))
    return f"{signature}|path:{path}|{libraries}|cpu:{torch.backends.cpu.get_cpu_capability()}|v:{_VERSION}"


def _kept_verdict(key: str) -> float | None:
    with contextlib.suppress(CcbenchError, ValueError, KeyError, TypeError):
        kept = read_json(_verdict_file(key))
        return (math.nan if kept["error"] is None else float(kept["error"])) if kept["of"] == key else None
    return None


def _keep_verdict(key: str, error: float) -> None:
    file = _verdict_file(key)
    with contextlib.suppress(CcbenchError):  # then it is measured again next time
        make_folder(file.parent)
        write_json(file, {"of": key, "error": error if math.isfinite(error) else None})


def _verdict_file(key: str) -> Path:
    return home() / "encoder-paths" / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
