"""Trains the method of a run under its protocol, once."""

import resource
import sys
import time
from pathlib import Path
from typing import Any

from ccbench.assets import find_backbone
from ccbench.data.sources import DataSplit, open_split
from ccbench.errors import UsageError
from ccbench.plugin import TrainContext
from ccbench.provenance import collect_environment, source_state
from ccbench.records import ConditionsRecord, MethodRecord, TrainingRecord
from ccbench.registry import find_entry, find_method
from ccbench.store import RunFolder
from ccbench.types import Progress, SilentProgress


def train(
    run: RunFolder, data_root: Path | None, *, device: str = "cpu", progress: Progress = SilentProgress()
) -> None:
    """Fill the run's checkpoint; nothing is done when the record says that training is finished.

    An interrupted training goes on from the method's own last checkpoint when the call is repeated.

    Raises:
        UsageError: the method is not installed. MissingError: the backbone is not there. DataError: see `open_split`.
    """
    if run.record.training is not None and run.checkpoint.is_dir():
        return
    config = run.config
    method = find_method(config.method)
    with run.recording_failure():
        split = open_split(config.protocol, "train", data_root, config.limit)
        run.checkpoint.mkdir(exist_ok=True)
        run.update(
            status="started",
            error=None,
            finished=None,
            method=describe_method(config.method),
            env=collect_environment(device),
        )
        context: TrainContext[Any] = TrainContext(
            pairs=split.pairs,
            config=config.settings,
            training=config.training,
            backbone=find_backbone(config.protocol.backbone),
            image_size=config.protocol.image_size,
            checkpoint=run.checkpoint,
            seed=config.seed,
            device=device,
            progress=progress,
        )
        begin = time.perf_counter()
        try:
            report = method.train(context)
        finally:  # an interrupted attempt has its cost too
            cost = run.record.cost
            seconds = (cost.train_seconds or 0.0) + time.perf_counter() - begin
            peak = max(cost.peak_memory_mb or 0.0, peak_memory_mb(device))
            run.update(cost=cost.model_copy(update={"train_seconds": seconds, "peak_memory_mb": peak}))
        if run.record.method is None or (method.train_ref is not None and not any(run.checkpoint.iterdir())):
            raise UsageError(f"method {config.method!r}: training left nothing in {run.checkpoint}; repair the plugin")
        run.update(
            method=run.record.method.model_copy(update={"weights_sha256": run.checkpoint_sha256()}),
            training=TrainingRecord(steps=report.steps, pairs=describe_split(split), loss=report.loss),
            cost=run.record.cost.model_copy(update={"parameters_trained": report.parameters_trained}),
        )


def describe_method(name: str) -> MethodRecord:
    """Return the record of an installed method, its source commit included."""
    entry = find_entry(name)
    if entry.method is None:
        raise UsageError(f"--method: {name!r} cannot be loaded: {entry.error}")
    package = sys.modules[entry.method.config.__module__.partition(".")[0]]
    source = source_state(Path(package.__file__).parent) if package.__file__ else {}
    return MethodRecord(
        name=name,
        title=entry.method.info.title,
        licence=entry.method.info.licence,
        distribution=entry.distribution,
        version=entry.version,
        **source,
    )


def describe_split(split: DataSplit) -> ConditionsRecord:
    """Return which pairs a split holds, for the record."""
    return ConditionsRecord(split=split.name, n=len(split.pairs), manifest_sha256=split.manifest_sha256)


def peak_memory_mb(device: str) -> float:
    """Return the peak memory so far in MiB: of the accelerator's allocator on CUDA, else of the process (resident)."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated(device) / 2**20
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
