"""Scored runs with real phantoms, masks and losses, as a report shows them; a second's work each."""

from pathlib import Path

import numpy as np

import fake_methods
from board_runs import TRAINED_ON
from ccbench.data.split import open_split
from ccbench.pipeline.training import describe_split
from ccbench.protocols.config import resolve_config
from ccbench.protocols.protocol import Protocol
from ccbench.runs import RunFolder
from ccbench.runs.record import BackboneRecord, MethodRecord, TrainingRecord
from ccbench.runs.scorecard import NearPair, Notes, Scorecard, ScoredImages, per_sample_table
from ccbench.types import Interval, Score

N = 24


def write_scored_run(path: Path, protocol: Protocol, *, seed: int = 0, tint: float = 0.5, shift: float = 0.0) -> Path:
    """Write a complete run of the fake method on the first test conditions; `shift` moves its scores."""
    config = resolve_config(fake_methods.METHOD, protocol, sets=[f"tint={tint}"], seed=seed, limit=N)
    test, train = (open_split(protocol, name, Path(), N) for name in ("test", "train"))
    rng, n = np.random.default_rng(seed + int(10 * tint)), N
    with RunFolder.open(path, config) as run:
        ids = []
        for number in range(n):
            condition = test.pairs[number].condition
            image = np.full((16, 16, 3), 90 + 60 * tint, dtype=np.float64)
            image[condition.mask] += 60
            noisy = (image + rng.normal(0, 12, image.shape)).clip(0, 255).astype(np.uint8)
            run.add_sample(number, condition.id, seed, noisy)
            ids.append(condition.id)
        run.update(
            method=MethodRecord(
                name="fake",
                title="Fake <b>&</b>",
                licence="Apache-2.0",
                distribution="fake",
                version="1.2",
                weights_sha256="e" * 64,
            ),
            backbone=BackboneRecord(kind="shipped", weights_sha256="f" * 64),
            conditions=describe_split(test),
            training=TrainingRecord(
                steps=30, pairs=TRAINED_ON, loss=[(step, 1 / step + 0.1 * tint) for step in range(1, 31)]
            ),
            env={"device": "cpu", "device_name": "a processor", "packages": {"torch": "2"}},
        )
        run.complete()
        dice = np.linspace(0.2 + shift, 0.8 + shift, n)
        fd = 50 - 40 * shift + seed
        near = NearPair(
            index=3,
            condition_id=ids[3],
            training_index=5,
            training_id=train.pairs[5].condition.id,
            distance=0.125,
        )
        card = Scorecard(
            scores=[
                Score("fd_lite0", "fd_lite0|v:1", fd, n, 800, interval=Interval(fd - 4, fd + 4, 0.95, "jackknife")),
                Score("mask_dice", "mask_dice|v:2", float(dice.mean()), n),
                Score("seam_colour", "seam_colour|v:1", -0.3 + shift, n),
                Score("text_fidelity", "text_fidelity|v:1", None, n, reason="no attributes"),
            ],
            controls={"real-split": [Score("fd_lite0", "fd_lite0|v:1", 30.0, n, 800)]},
            failures={"nan": 2},
            notes=Notes(memorisation="look" if shift else "none"),
            near_pairs=[near],
        )
        run.write_scorecard(ScoredImages(card, per_sample_table(ids, {"mask_dice": dice.tolist()})))
    return path
