"""The runs of an ablation: every variant of every seed, trained, sampled and scored alike."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ccbench.base.workers import pick_devices, work_in_processes
from ccbench.pipeline.gallery import is_pictured
from ccbench.pipeline.make_run import make_run
from ccbench.pipeline.run_scorer import find_reference_segmenter
from ccbench.pipeline.session import Session
from ccbench.protocols.config import RunConfig
from ccbench.runs import RunFolder, default_run_folder
from ccbench.studies.ablation.variants import Ablation
from ccbench.tables.format import format_seconds
from ccbench.types import Progress

_COUNTED = ("training", "sampling")  # the long steps of a run; the bar counts these


class AblationRun(NamedTuple):
    """One variant of one seed, and where its run folder is or will be. `images`: test conditions."""

    variant: str
    config: RunConfig
    path: Path
    images: int

    @property
    def size(self) -> int:
        """Optimiser steps and images."""
        return self.config.training.max_steps + self.images


def plan_runs(plan: Ablation, root: Path, session: Session) -> list[AblationRun]:
    """Return the runs of a plan, variant by variant, in the folders that `ccbench run` gives them under `root`.

    Raises:
        UsageError: see `Ablation.configs`.
        DataError: the protocol's data is not under the session's data root.
    """
    configs = plan.configs()
    base = configs[plan.base][0]
    images = len(session.split(base.protocol, "test", base.limit_of("test")).pairs)
    return [
        AblationRun(variant, config, default_run_folder(config, root), images)
        for variant, variants in configs.items()
        for config in variants
    ]


def finish_runs(runs: Sequence[AblationRun], session: Session, workers: int = 1) -> None:
    """Make what is missing of the runs, see `make_run`; variant after variant of one seed, then the next.

    Raises:
        CcbenchError: what a run raised; the same call goes on.
    """
    missing = sorted((run for run in runs if not is_finished(run)), key=lambda run: run.config.seed)
    session.note(f"runs: {len(runs) - len(missing)} of {len(runs)} are there")
    if (
        missing
    ):  # the reference segmenter first, with all threads: else the others wait until one process has trained it
        find_reference_segmenter(missing[0].config, session)
        work_in_processes(
            partial(_finish_share, session.for_worker()),
            missing,
            lambda run: run.size,
            pick_devices(session.torch_device, workers),
            f"{len(missing)} runs",
            counted=_COUNTED,
            progress=session.progress,
            note=session.note,
        )


def is_finished(run: AblationRun) -> bool:
    """Return whether the folder holds this very run, complete, scored and drawn."""
    if not RunFolder.is_there(run.path):
        return False
    folder = RunFolder.read(run.path)
    if folder.record.config_hash != run.config.config_hash:  # as of an earlier revision; opening it says so
        return False
    return folder.record.status == "complete" and folder.scorecard() is not None and is_pictured(folder)


def _finish_share(
    session: Session, runs: Sequence[AblationRun], device: str, progress: Progress, note: Callable[[str], None]
) -> None:
    own = session.for_worker(device, progress, note)
    for one in runs:
        run = make_run(one.config, own, folder=one.path)
        note(f"{one.variant}, seed {one.config.seed}: done, {_took(run)}")


def _took(run: RunFolder) -> str:
    cost = run.record.cost
    sampled = f"{cost.images_sampled} images in {format_seconds(cost.sample_seconds)}"
    return f"trained in {format_seconds(cost.train_seconds or 0)}, {sampled}"
