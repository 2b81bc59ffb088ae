"""The judge of mask fidelity: that it learns, is kept, and is the same when it is found again."""

from pathlib import Path

import numpy as np
import pytest

from ccbench.downstream.judge import Judge, JudgeSettings, open_judge
from ccbench.types import Condition, Image, Mask, RealPair

SETTINGS = JudgeSettings(size=64, width=8, steps=25, batch_size=4, learning_rate=2e-3)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CCBENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def make_pairs(count: int, seed: int, size: int = 64) -> list[RealPair]:
    """Red discs on pale noise."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size]
    pairs = []
    for number in range(count):
        (y, x), radius = rng.uniform(0.3, 0.7, 2) * size, rng.uniform(0.12, 0.25) * size
        mask = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
        image = rng.normal([190, 160, 150], 12, (size, size, 3))
        image[mask] = rng.normal([170, 60, 60], 12, (int(mask.sum()), 3))
        pairs.append(RealPair(image.clip(0, 255).astype(np.uint8), Condition(f"{seed}-{number}", mask, "")))
    return pairs


def open_one(seed: int = 1, note: list[str] | None = None, settings: JudgeSettings = SETTINGS) -> Judge:
    kept = note if note is not None else []
    return open_judge(make_pairs(12, seed), make_pairs(4, 9), f"train {seed}", settings, note=kept.append)


def overlap(a: Mask, b: Mask) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_it_learns_and_is_found_again(home: Path) -> None:
    judge, test = open_one(), make_pairs(4, 5)
    images: list[Image] = [pair.image for pair in test]
    masks = judge.segment(images)
    assert np.mean([overlap(mask, pair.condition.mask) for mask, pair in zip(masks, test, strict=True)]) > 0.7
    assert judge.notes() == {"judge_weights": judge.weights, "judge_dice_validation": judge.dice}
    assert judge.dice > 0.7
    files = {file.relative_to(home).as_posix(): file.stat().st_mtime_ns for file in home.rglob("*") if file.is_file()}
    again = open_one()
    assert {f.relative_to(home).as_posix(): f.stat().st_mtime_ns for f in home.rglob("*") if f.is_file()} == files
    assert (again.signature, again.notes()) == (judge.signature, judge.notes())
    assert all(np.array_equal(a, b) for a, b in zip(again.segment(images), masks, strict=True))


def test_other_images_or_settings_make_another_judge_and_damage_is_mended(home: Path) -> None:
    short = JudgeSettings(size=64, width=8, steps=2, batch_size=2)
    first, other = open_one(1, settings=short), open_one(2, settings=short)
    longer = open_one(1, settings=JudgeSettings(size=64, width=8, steps=3, batch_size=2))
    assert len({first.signature, other.signature, longer.signature}) == 3
    notes: list[str] = []
    (file,) = home.rglob(f"{first.weights}.safetensors")
    file.write_bytes(file.read_bytes()[:-10])
    assert open_one(1, notes, short).weights == first.weights and "trained anew" in notes[0]
    assert open_one(1, notes, short).weights == first.weights and len(notes) == 1


def test_masks_have_the_images_sizes_and_do_not_depend_on_the_batch() -> None:
    judge = open_one(settings=JudgeSettings(size=64, width=8, steps=2, batch_size=2))
    images = [make_pairs(1, seed, size)[0].image for seed, size in ((1, 64), (2, 100), (3, 40))]
    images.append(np.ascontiguousarray(images[1][:70]))
    masks = judge.segment(images)
    assert [mask.shape for mask in masks] == [(64, 64), (100, 100), (40, 40), (70, 100)]
    assert all(np.array_equal(judge.segment([image])[0], mask) for image, mask in zip(images, masks, strict=True))
    assert judge.segment([]) == []
