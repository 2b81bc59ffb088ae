"""The runs of an ablation: every variant of every seed, trained, sampled and scored alike."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ccbench.base.assets import BackboneSource
from ccbench.base.workers import pick_devices, work_in_processes
from ccbench.data.split import open_split
from ccbench.features.feature_cache import FeatureCache
from ccbench.pipeline.synthesis import synthesize
from ccbench.pipeline.training import train
from ccbench.protocols.config import RunConfig
from ccbench.runs import RunFolder, default_run_folder
from ccbench.scoring.run_scorer import RunScorer, find_judge, keep_scorecard
from ccbench.studies.ablation.variants import Ablation
from ccbench.tables.format import format_seconds
from ccbench.types import Progress, SilentProgress

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


@dataclass(frozen=True)
class RunPlace:
    """Where runs find data, backbone and features, and where what they share is kept while they are made."""

    data_root: Path | None
    backbone: BackboneSource
    cache: Path | None
    shared: Path


def plan_runs(plan: Ablation, root: Path, data_root: Path | None) -> list[AblationRun]:
    """Return the runs of a plan, variant by variant, in the folders that `ccbench run` gives them under `root`.

    Raises:
        UsageError: see `Ablation.configs`. DataError: the protocol's data is not under `data_root`.
    """
    configs = plan.configs()
    protocol = configs[plan.base][0].protocol
    images = len(open_split(protocol, "test", data_root).pairs)
    return [
        AblationRun(variant, config, default_run_folder(config, root), images)
        for variant, variants in configs.items()
        for config in variants
    ]


def finish_runs(
    runs: Sequence[AblationRun],
    place: RunPlace,
    device: str,
    workers: int = 1,
    progress: Progress = SilentProgress(),
    note: Callable[[str], None] = lambda text: None,
) -> None:
    """Train, sample and score what is missing, see `finish_run`; variant after variant of one seed, then the next.

    Raises:
        CcbenchError: what a run raised; the same call goes on.
    """
    missing = sorted((run for run in runs if not is_finished(run)), key=lambda run: run.config.seed)
    note(f"runs: {len(runs) - len(missing)} of {len(runs)} are there")
    if missing:  # the judge first, with all threads: else the others wait until one process has trained it
        find_judge(missing[0].config, place.data_root, pick_devices(device, 1)[0], progress, note)
        work_in_processes(
            partial(_finish_share, place),
            missing,
            lambda run: run.size,
            pick_devices(device, workers),
            f"{len(missing)} runs",
            counted=_COUNTED,
            progress=progress,
            note=note,
        )


def is_finished(run: AblationRun) -> bool:
    """Return whether the folder holds this very run, complete and scored."""
    if not RunFolder.is_there(run.path):
        return False
    folder = RunFolder.read(run.path)
    if folder.record.config_hash != run.config.config_hash:  # as of an earlier revision; opening it says so
        return False
    return folder.record.status == "complete" and folder.scorecard() is not None


def _finish_share(
    place: RunPlace, runs: Sequence[AblationRun], device: str, progress: Progress, note: Callable[[str], None]
) -> None:
    cache = None if place.cache is None else FeatureCache(place.cache, note)
    scorer = RunScorer(
        place.data_root, device=device, backbone=place.backbone, cache=cache, progress=progress, note=note
    )
    for one in runs:
        with RunFolder.open(one.path, one.config) as run:
            train(
                run,
                place.data_root,
                device=device,
                backbone=place.backbone,
                shared=place.shared,
                progress=progress,
                note=note,
            )
            synthesize(run, place.data_root, device=device, backbone=place.backbone, progress=progress)
            if run.scorecard() is None:
                keep_scorecard(run, scorer.score(run), place.data_root)
            note(f"{one.variant}, seed {one.config.seed}: done, {_took(run)}")


def _took(run: RunFolder) -> str:
    cost = run.record.cost
    sampled = f"{cost.images_sampled} images in {format_seconds(cost.sample_seconds)}"
    return f"trained in {format_seconds(cost.train_seconds or 0)}, {sampled}"
