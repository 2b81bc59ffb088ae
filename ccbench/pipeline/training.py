"""Trains the method of a run under its protocol, once."""

import math
import resource
import sys
import time
from pathlib import Path
from typing import Any

from ccbench.base.assets import backbone_kind, find_backbone
from ccbench.base.environment import collect_environment, source_state
from ccbench.base.files import make_folder
from ccbench.base.folder_files import share_folder
from ccbench.base.process_ranks import process_count
from ccbench.data.split import DataSplit
from ccbench.diffusion.launch_environment import ignored_variables, plain_environment
from ccbench.errors import DataError, UsageError, VerificationError
from ccbench.pipeline.session import Session
from ccbench.plugins.contract import TrainContext, TrainReport
from ccbench.plugins.registry import find_entry, find_method
from ccbench.protocols.config import RunConfig, config_of, require_current
from ccbench.runs import RunFolder
from ccbench.runs.record import BackboneRecord, ConditionsRecord, MethodRecord, OriginRecord, TrainingRecord
from ccbench.tables.format import format_seconds


def train_run(run: RunFolder, session: Session, checkpoint_from: Path | None = None) -> None:
    """Fill the run's checkpoint unless it is trained, and say what was done.

    An interrupted training goes on from the method's own last checkpoint when the call is repeated. The settings decide
    alone: what the environment asks of accelerate is not followed, and said by `session.warn`.

    Args:
        checkpoint_from: a complete run which was trained as this one would be; its checkpoint is copied. That is a run
            of the same configuration, or, for a control on another method, that method's own.

    Raises:
        UsageError: the method is not installed, or has another revision now, or a loss is not finite; or the run to
            copy from is another one.
        MissingError: the backbone is not there.
        DataError: see `open_split`; or the run to copy from was trained on other pairs.
        VerificationError: the weights of the run to copy from are not those that it recorded.
    """
    lacking = not run.is_trained()
    if lacking and checkpoint_from is not None:
        source = RunFolder.read(checkpoint_from)
        _copy_training(run, source, session)
        session.note(f"train: copied from {source.record.run_id}")
    elif find_method(run.config.method).train_ref is None:
        if lacking:
            _train(run, session, session.torch_device)
        session.note("train: skipped, a control with nothing to train")
    elif lacking:
        device = session.torch_device
        session.note(_budget(run.config))
        _train(run, session, device)
        session.note(f"train: done in {format_seconds(run.record.cost.train_seconds or 0)}")
    elif run.record.training is not None:
        session.note(f"train: skipped, the checkpoint is complete ({run.record.training.steps} steps)")


def _budget(config: RunConfig) -> str:
    """Say before training how long it is: a limit on the images does not shorten it."""
    training, limit = config.training, config.limit
    text = f"train: {training.max_steps:,} steps of {training.batch_size} images"
    if limit is None:
        return text
    passes = training.max_steps * training.batch_size / limit
    return (
        f"{text}; --limit {limit} does not shorten it, each of {limit} images is seen {passes:,.0f} times. "
        f"Less: {'' if config.quick else '--quick, or '}--set training.max_steps=N"
    )


def _train(run: RunFolder, session: Session, device: str) -> None:
    config = run.config
    require_current(config, run.path)
    with run.recording_status():
        split = session.split(config.protocol, "train", config.limit_of("train"))
        pairs = describe_split(split)  # refuses files that are not the listed ones before any step is made
        make_folder(run.checkpoint)
        run.update(
            status="running",
            error=None,
            finished=None,
            method=describe_method(config.method),
            env=collect_environment(device),
        )
        reference = session.backbone.reference or config.protocol.backbone
        context: TrainContext[Any] = TrainContext(
            pairs=split.pairs,
            config=config.settings,
            training=config.training,
            backbone=find_backbone(reference),
            image_size=config.protocol.image_size,
            checkpoint=run.checkpoint,
            seed=config.seed,
            device=device,
            progress=run.beating(session.progress),
            allow_pickle=session.backbone.allow_pickle,
            shared=None if session.shared is None else session.shared / split.manifest_sha256[:16],
            note=session.warn,
        )
        for line in ignored_variables(config.training):
            session.warn(line)
        _record_training(run, _train_and_count_cost(run, context), pairs, reference)
    if process_count() > 1:
        _part_company()


def _train_and_count_cost(run: RunFolder, context: TrainContext[Any]) -> TrainReport:
    begin = time.perf_counter()
    try:
        with plain_environment():
            return find_method(run.config.method).train(context)
    finally:  # an interrupted attempt has its cost too
        cost = run.record.cost
        seconds = (cost.train_seconds or 0.0) + time.perf_counter() - begin
        peak = max(cost.peak_memory_mb or 0.0, peak_memory_mb(context.device))
        run.update(cost=cost.model_copy(update={"train_seconds": seconds, "peak_memory_mb": peak}))


def _record_training(run: RunFolder, report: TrainReport, pairs: ConditionsRecord, backbone: str) -> None:
    """Check what training has left, and say in the record that it is finished."""
    name, method = run.config.method, run.record.method
    if method is None or (find_method(name).train_ref is not None and not any(run.checkpoint.iterdir())):
        raise UsageError(f"method {name!r}: training left nothing in {run.checkpoint}; repair the plugin")
    if bad := [step for step, loss in report.loss if not math.isfinite(loss)]:
        raise UsageError(
            f"method {name!r}: the loss of step {bad[0]:,} is not finite; lower the learning rate, "
            f"and remove {run.checkpoint} before the next try"
        )
    share_folder(run.checkpoint)
    run.update(
        method=method.model_copy(update={"weights_sha256": run.checkpoint_sha256()}),
        training=TrainingRecord(steps=report.steps, pairs=pairs, loss=report.loss),
        cost=run.record.cost.model_copy(update={"parameters_trained": report.parameters_trained}),
        backbone=report.backbone_sha256
        and BackboneRecord(kind=backbone_kind(backbone), weights_sha256=report.backbone_sha256),
    )


def _part_company() -> None:
    """End what bound several training processes together: the first goes on alone, the others leave."""
    import torch.distributed

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _copy_training(run: RunFolder, source: RunFolder, session: Session) -> None:
    """Replace the run's checkpoint by that of another run, see `train_run`."""
    device = session.torch_device
    if find_method(run.config.method).train_ref is None:
        raise UsageError(f"--checkpoint-from: {run.config.method} has nothing to train; leave the option out")
    wanted = {config.config_hash: config for config in (run.config, config_of(run.config)) if config is not None}
    record, where = source.record, f"--checkpoint-from {source.path}"
    if record.status != "complete" or record.training is None or record.method is None:
        raise UsageError(f"{where}: the run is {source.state}, not complete; finish it first")
    if record.config_hash not in wanted:
        differ = source.difference(list(wanted.values())[-1])
        raise UsageError(f"{where}: holds {differ}; leave the option out to train, or name a run of this configuration")
    pairs = describe_split(session.split(run.config.protocol, "train", run.config.limit_of("train")))
    if record.training.pairs != pairs:
        raise DataError(f"{where}: trained on other pairs than the training split holds now; leave the option out")
    if record.method.weights_sha256 is None or record.method.weights_sha256 != source.checkpoint_sha256():
        raise VerificationError(f"{where}: its checkpoint does not hold the weights that it recorded; train it again")
    with run.recording_status():
        run.copy_checkpoint(source)
        method = describe_method(run.config.method)
        run.update(
            status="running",
            error=None,
            finished=None,
            method=method.model_copy(update={"weights_sha256": record.method.weights_sha256}),
            training=record.training,
            backbone=record.backbone,
            checkpoint_from=OriginRecord(run_id=record.run_id, method=record.method),
            cost=run.record.cost.model_copy(
                update={
                    "train_seconds": record.cost.train_seconds,
                    "parameters_trained": record.cost.parameters_trained,
                }
            ),
            env=collect_environment(device),
        )


def describe_method(name: str) -> MethodRecord:
    """Return the record of an installed method, its source commit included."""
    entry = find_entry(name)
    if entry.method is None:
        raise UsageError(f"--method: {name!r} cannot be used: {entry.error}")
    package = sys.modules[entry.method.config.__module__.partition(".")[0]]
    source = source_state(Path(package.__file__).parent) if package.__file__ else {}
    return MethodRecord(
        name=name,
        title=entry.method.info.title,
        licence=entry.method.info.licence,
        distribution=entry.distribution,
        version=entry.version,
        control=entry.method.info.control,
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
