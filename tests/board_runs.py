"""Complete runs made by hand: a run folder with three images and a scorecard, no training and no encoder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ccbench.boards.additions
import fake_methods
from ccbench.boards.copies import RealThumbnails
from ccbench.pipeline.session import Session
from ccbench.pipeline.verification import Verification
from ccbench.plugins.contract import Method
from ccbench.protocols.config import resolve_config
from ccbench.protocols.protocol import PROTOCOLS
from ccbench.runs import RunFolder
from ccbench.runs.record import ConditionsRecord, CostRecord, MethodRecord, TrainingRecord
from ccbench.runs.scorecard import Notes, Scorecard, ScoredImages, per_sample_table
from ccbench.types import Interval, Score

N = 3
CONDITIONS = ConditionsRecord(split="test", n=N, manifest_sha256="c" * 64)
TRAINED_ON = ConditionsRecord(split="train", n=5, manifest_sha256="d" * 64)


def make_card(fd: float, clip: float, n: int = N, signature: str = "fd_lite0|enc:lite0") -> ScoredImages:
    """A scorecard of two metrics, one with better down and one with better up, and the control of both."""
    card = Scorecard(
        scores=[
            Score("fd_lite0", signature, fd, n, 5, interval=Interval(fd - 1, fd + 1, 0.95, "jackknife")),
            Score("clip_score", "clip_score|enc:mini-clip", clip, n),
            Score("clip_image", "clip_image|enc:none", None, n, reason="the encoder is missing"),
        ],
        controls={
            "real-split": [
                Score("fd_lite0", signature, 10.125, n, 5),
                Score("clip_score", "clip_score|enc:mini-clip", 31.5, n),
            ]
        },
        failures={"decode": 0},
        notes=Notes(prompts_truncated_share=0.0),
    )
    return ScoredImages(card, per_sample_table([f"c{i}" for i in range(n)], {"clip_score": [clip] * n}))


def with_scores(scored: ScoredImages, scores: list[Score]) -> ScoredImages:
    """The same images with other scores."""
    return scored._replace(card=scored.card.model_copy(update={"scores": scores}))


def make_run(
    path: Path,
    protocol: str,
    scored: ScoredImages,
    *,
    seed: int = 0,
    sets: tuple[str, ...] = (),
    conditions: ConditionsRecord = CONDITIONS,
    train_seconds: float = 61.0,
    images: int | None = None,
    method: Method[Any] = fake_methods.METHOD,
) -> Path:
    """Write a complete, scored run of the fake method, or of another one; it must be installed.

    Its images are noise, drawn by its configuration, or by `images`, where equal numbers are equal images.
    """
    config = resolve_config(method, PROTOCOLS[protocol], sets=sets, seed=seed)
    rng = np.random.default_rng(int(config.config_hash, 16) if images is None else images)
    info, trained = method.info, method.train_ref is not None
    with RunFolder.open(path, config) as run:
        run.update(
            method=MethodRecord(
                name=info.name,
                title=info.title,
                licence="Apache-2.0",
                distribution="fake-plugin",
                version="1.2.3",
                control=info.control,
            ),
            conditions=conditions,
            training=TrainingRecord(
                steps=config.training.max_steps if trained else 0, pairs=TRAINED_ON, loss=[(1, 0.5)] if trained else []
            ),
            cost=CostRecord(
                train_seconds=train_seconds,
                parameters_trained=2_830_000 if trained else 0,
                seconds_per_image=0.125,
                peak_memory_mb=812.0,
            ),
            env={"device": "cpu", "device_name": "a processor"},
        )
        for index in range(conditions.n):
            coarse = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
            image = np.kron(coarse, np.ones((4, 4, 1), dtype=np.uint8))
            run.add_sample(index, f"c{index}", seed, image)
        run.complete()
        run.write_scorecard(scored)
    return path


def add_unverified(
    run: Path, boards: Path, real: Callable[[str], RealThumbnails] | None = None, replace: bool = False
) -> Path:
    """Put a run on its board without scoring it again: these scores are made up."""
    return add_verified(run, boards, Verification(run_id=run.name, checks=[]), real, replace)


def add_verified(
    run: Path,
    boards: Path,
    found: Verification,
    real: Callable[[str], RealThumbnails] | None = None,
    replace: bool = False,
) -> Path:
    """Put a run on its board, of which verifying has found this."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ccbench.boards.additions, "verify_run", lambda *_: found)
        return ccbench.boards.additions.add_run(run, boards, Session(), real, replace).file
