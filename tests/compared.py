"""Scored runs made by hand for comparisons: random images, an encoder of colour means, one pair metric."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

import fake_methods
from ccbench.metrics.sets.set_scores import mean_entry, set_scores
from ccbench.protocols.config import resolve_config
from ccbench.protocols.protocol import PROTOCOLS
from ccbench.runs import RunFolder
from ccbench.runs.record import ConditionsRecord, MethodRecord
from ccbench.runs.scorecard import Scorecard, ScoredImages, per_sample_table
from ccbench.scoring.encoder_scores import NETWORK_FAMILIES
from ccbench.types import Condition, Image, RealPair, Score

N = 12
CONDITIONS = ConditionsRecord(split="test", n=N, manifest_sha256="c" * 64)
REFERENCE_ID = "small-train@dddddddddddd"
METHOD = MethodRecord(name="fake", title="Fake", licence="Apache-2.0", distribution="fake-plugin", version="1.2.3")
CLIP = f"clip_score|enc:mini-clip|n:{N}|ref:prompts@1|v:1"


class ColourEncoder:
    """Mean colours of the four quarters: 12 features."""

    id = "lite0"
    signature = "enc:lite0|w:00000000|resize:none"
    path = "eager cpu"
    dim = 12

    def encode_images(self, images: list[Image]) -> np.ndarray:
        cells = [image.astype(np.float32).reshape(2, 8, 2, 8, 3).mean(axis=(1, 3)).ravel() for image in images]
        return np.array(cells, dtype=np.float32).reshape(len(images), 12)


def draw_images(seed: int, count: int = N, shift: float = 0.0) -> list[Image]:
    rng = np.random.default_rng(seed)
    cells = rng.normal(120 + shift, 20, (count, 2, 1, 2, 1, 3)) + np.zeros((1, 1, 8, 1, 8, 1))
    return [cell.reshape(16, 16, 3).clip(0, 255).astype(np.uint8) for cell in cells]


def pairs_of(images: Sequence[Image], name: str, clusters: bool = False) -> list[RealPair]:
    mask = np.ones((16, 16), dtype=bool)
    return [
        RealPair(image, Condition(f"{name}{i}", mask, "a polyp", cluster=f"video {i // 2}" if clusters else None))
        for i, image in enumerate(images)
    ]


def write_run(
    path: Path,
    images: Sequence[Image],
    clip: Sequence[float],
    *,
    seed: int = 0,
    sets: tuple[str, ...] = (),
    reference: Sequence[Image] = (),
    clip_signature: str = CLIP,
    conditions: ConditionsRecord = CONDITIONS,
    order: Sequence[int] = tuple(range(N)),
    seam: Sequence[float] | None = None,
) -> RunFolder:
    """Write a complete, scored run; rows of its per-sample table are in `order`. `seam`: values of `seam_colour`."""
    encoder, protocol = ColourEncoder(), PROTOCOLS["small"]
    features = encoder.encode_images(list(images)), encoder.encode_images(list(reference or draw_images(99, 20)))
    scores = set_scores(*features, encoder.id, encoder.signature, REFERENCE_ID, NETWORK_FAMILIES)
    values = np.asarray(clip, dtype=np.float64)
    mean = mean_entry("clip_score", clip_signature, values, None, None)
    ids = [f"c{i}" for i in order]
    near = Score("memorised_near", "memorised_near|enc:lite0|v:1", 0.05, N, 20)
    columns = {"clip_score": values[list(order)].tolist()}
    if seam is not None:
        zero = np.asarray(seam, dtype=np.float64)
        columns["seam_colour"] = zero[list(order)].tolist()
        scores.append(mean_entry("seam_colour", f"seam_colour|seam:lab|n:{N}|v:1", zero, None, None))
    card = Scorecard(scores=[*scores, mean, near], controls={}, failures={})
    with RunFolder.open(path, resolve_config(fake_methods.METHOD, protocol, sets=sets, seed=seed)) as run:
        run.update(conditions=conditions, method=METHOD)
        for index, image in enumerate(images):
            run.add_sample(index, f"c{index}", seed, image)
        run.complete()
        run.write_scorecard(ScoredImages(card, per_sample_table(ids, columns)))
    return RunFolder.read(path)
