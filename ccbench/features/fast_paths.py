"""How an encoder's image tower is computed: plainly, or on a faster path that was seen to give the same features.

The environment variable `CCBENCH_ENCODER_PATH` asks for a path; without it, or with `auto`, that is `fused` on the CPU
and `eager` elsewhere. What happens to be installed changes no number.

The gate: when an encoder is opened, a few made images go through the plain float32 network and through the fast one.
The largest difference of their features, over the plain features' root mean square, is the path's error; above `BOUND`
the plain network is used. The verdict is kept under `CCBENCH_HOME`, for measuring takes longer than opening.
"""

import contextlib
import functools
import hashlib
import math
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Lock

import numpy as np
import torch

from ccbench.base.assets import home
from ccbench.base.environment import package_version
from ccbench.base.files import make_folder, read_json, write_json
from ccbench.errors import CcbenchError, MissingError, UsageError
from ccbench.features.fused import fuse
from ccbench.types import Image

VARIABLE = "CCBENCH_ENCODER_PATH"
PATHS = ("auto", "eager", "fused", "openvino", "tf32", "bf16")
BOUND = 1e-4  # float32 in another order gives 3e-6 to 3e-5 and moves no printed digit; TF32 and bf16 start near 1e-3
_PROBES = ((61, 47), (224, 224), (288, 352))  # (H, W): below, at and above what networks read
_VERSION = 1  # raise it when a path or the probes change

Network = Callable[[torch.Tensor], torch.Tensor]


class Tower:
    """An image tower as it will be run.

    Attributes:
        path: such as `fused cpu`. error: what the gate measured, 0.0 if plain.
        split: whether a batch may be cut into pieces that run side by side.
    """

    def __init__(self, make: Callable[[], Network], path: str, error: float, split: bool) -> None:
        self._make, self.path, self.error, self.split = make, path, error, split

    @functools.cached_property
    def run(self) -> Network:
        """Features (B, D) of a prepared batch."""
        return self._make()


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
        prepare: makes the network's batch of images. signature: of the encoder, it names the verdict.
        fuse: makes the network of the path `fused`.

    Raises:
        UsageError: an unknown path, or one that the device does not have. MissingError: OpenVINO is not installed.
    """
    name, split = _wanted(device), device == "cpu"
    if name == "eager":
        network = load()
        return Tower(lambda: network, f"eager {device}", 0.0, split)
    _check_installed(name)

    def build(network: torch.nn.Module) -> Network:
        if name == "fused":
            return fuse(network)
        return {"openvino": _openvino, "tf32": _tf32, "bf16": _bf16}[name](network, probes())

    def probes() -> torch.Tensor:
        return prepare(probe_images()).to(device)

    key = _key(signature, f"{name} {device}")
    error, make = _kept_verdict(key), lambda: build(load())
    if error is None:
        plain = load()
        fast = build(plain)
        error = _measure(plain, fast, probes())
        _keep_verdict(key, error)
        load, make = lambda: plain, lambda: fast
    if not error <= BOUND:  # or not a number
        return Tower(load, f"eager {device}", 0.0, split)
    return Tower(make, f"{name} {device}", error, split and name != "openvino")


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
    if (name == "openvino" and device != "cpu") or (name == "tf32" and not device.startswith("cuda")):
        raise UsageError(f"{VARIABLE} is {name!r}, which there is not on {device}; unset it, or choose another device")
    if name == "auto":
        return "fused" if device == "cpu" else "eager"
    return name


def _check_installed(name: str) -> None:
    if name == "openvino" and package_version("openvino") is None:
        raise MissingError(f"{VARIABLE}: openvino is not installed; run: pip install 'ccbench[openvino]'")


def _openvino(network: torch.nn.Module, probes: torch.Tensor) -> Network:
    try:
        import openvino
        from openvino.frontend import FrontEndManager
        from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
    except ImportError as error:
        raise MissingError(
            f"{VARIABLE} is 'openvino'; it is not installed, run: pip install 'ccbench[openvino]'"
        ) from error
    # Not through openvino.convert_model, which reports its use over the network unless the user has opted out.
    frontend = FrontEndManager().load_by_framework("pytorch")
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it traces with torch.jit, which is deprecated
        decoder = TorchScriptPythonDecoder(network, example_input=probes)  # must outlive the conversion
        model = frontend.convert(frontend.load(decoder))
    model.reshape([-1, *probes.shape[1:]])
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    compiled, lock = openvino.Core().compile_model(model, "CPU", settings), Lock()

    def run(batch: torch.Tensor) -> torch.Tensor:
        with lock:  # it has one request, whose memory the next one overwrites
            return torch.from_numpy(compiled(batch.contiguous().numpy())[0].copy())

    return run


def _tf32(network: torch.nn.Module, probes: torch.Tensor) -> Network:
    def run(batch: torch.Tensor) -> torch.Tensor:
        cudnn = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=True)
        with cudnn, _matmul_precision("high"):
            features: torch.Tensor = network(batch)
        return features

    return run


def _bf16(network: torch.nn.Module, probes: torch.Tensor) -> Network:
    def run(batch: torch.Tensor) -> torch.Tensor:
        with torch.autocast(batch.device.type, torch.bfloat16):
            features: torch.Tensor = network(batch)
        return features.float()

    return run


@contextlib.contextmanager
def _matmul_precision(name: str) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(name)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _measure(network: Network, fast: Network, probes: torch.Tensor) -> float:
    with torch.inference_mode():
        plain, other = network(probes).double(), fast(probes).double()
    return float((plain - other).abs().max() / plain.square().mean().sqrt().clamp_min(torch.finfo(torch.float32).tiny))


def _key(signature: str, path: str) -> str:
    libraries = "|".join(f"{name}:{package_version(name)}" for name in ("torch", "openvino", "timm", "open_clip_torch"))
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
