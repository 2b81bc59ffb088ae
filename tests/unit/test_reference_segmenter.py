"""The reference segmenter of mask fidelity: that it learns, is kept, and is the same when it is found again."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

import ccbench.scoring.reference_segmenter
from ccbench.data.pairs import DataSplit
from ccbench.data.split import Split, open_split
from ccbench.errors import UsageError
from ccbench.protocols.protocol import PROTOCOLS
from ccbench.scoring.reference_segmenter import (
    NETWORK,
    ReferenceSegmenter,
    open_reference_segmenter,
    reference_settings,
)
from ccbench.segmenters import SEGMENTERS, SegmenterSettings
from ccbench.types import Image, Mask
from hostile import Bomb
from tiny_segmenters import draw_discs

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
SETTINGS = NETWORK.mini.model_copy(update={"size": 64, "passes": 16, "batch_size": 4, "learning_rate": 4e-3})
SHORT = SETTINGS.model_copy(update={"passes": 1, "batch_size": 6})


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CCBENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def make_split(count: int, seed: int, size: int = 64) -> DataSplit:
    pairs = draw_discs(count, seed, size)
    return DataSplit("train", pairs, lambda: (hashlib.sha256(pair.image).hexdigest() for pair in pairs), "")


def open_one(
    seed: int = 1, note: list[str] | None = None, settings: SegmenterSettings = SETTINGS
) -> ReferenceSegmenter:
    kept = note if note is not None else []
    return open_reference_segmenter(make_split(12, seed), make_split(4, 9), "discs", settings, note=kept.append)


def overlap(a: Mask, b: Mask) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_it_learns_and_is_found_again(home: Path) -> None:
    segmenter, test = open_one(), make_split(4, 5).pairs
    images: list[Image] = [pair.image for pair in test]
    masks = segmenter.segment(images)
    assert np.mean([overlap(mask, pair.condition.mask) for mask, pair in zip(masks, test, strict=True)]) > 0.7
    assert segmenter.dice > 0.7
    files = {file.relative_to(home).as_posix(): file.stat().st_mtime_ns for file in home.rglob("*") if file.is_file()}
    files.pop(next(name for name in files if name.endswith(".lock")))
    again = open_one()
    now = {f.relative_to(home).as_posix(): f.stat().st_mtime_ns for f in home.rglob("*") if f.suffix and f.is_file()}
    assert now == files
    assert (again.signature, again.weights, again.dice) == (segmenter.signature, segmenter.weights, segmenter.dice)
    assert all(np.array_equal(a, b) for a, b in zip(again.segment(images), masks, strict=True))


def test_other_images_or_settings_make_another_one_and_damage_is_mended(home: Path) -> None:
    first, other = open_one(1, settings=SHORT), open_one(2, settings=SHORT)
    longer = open_one(1, settings=SHORT.model_copy(update={"passes": 2}))
    assert len({first.signature, other.signature, longer.signature}) == 3
    notes: list[str] = []
    recipe = first.signature.rpartition(":")[2]
    (file,) = home.rglob(f"*{recipe}/weights.safetensors")
    file.write_bytes(file.read_bytes()[:-10])
    assert open_one(1, notes, SHORT).weights == first.weights and "trained anew" in notes[0]
    assert open_one(1, notes, SHORT).weights == first.weights and len(notes) == 1


def test_masks_have_the_images_sizes_and_do_not_depend_on_the_batch() -> None:
    segmenter = open_one(settings=SHORT)
    images = [make_split(1, seed, size).pairs[0].image for seed, size in ((1, 64), (2, 100), (3, 40))]
    images.append(np.ascontiguousarray(images[1][:70]))
    masks = segmenter.segment(images)
    assert [mask.shape for mask in masks] == [(64, 64), (100, 100), (40, 40), (70, 100)]
    assert all(np.array_equal(segmenter.segment([image])[0], mask) for image, mask in zip(images, masks, strict=True))
    assert segmenter.segment([]) == []


def test_it_is_no_segmenter_of_a_table_and_takes_six_hundred_steps() -> None:
    assert NETWORK.name not in SEGMENTERS and NETWORK.build_ref not in {one.build_ref for one in SEGMENTERS.values()}
    for image_size, images, passes, size in ((128, 800, 12, 128), (128, 1326, 7, 128), (512, 1326, 7, 352)):
        settings = reference_settings(image_size, images)
        assert (settings.passes, settings.size) == (passes, size)


def test_a_home_that_cannot_be_written_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The segmenter is trained in a temporary folder; one that is there is read, as from a container's image."""
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("CCBENCH_HOME", str(tmp_path / "file"))
    notes: list[str] = []
    segmenter = open_one(1, notes, SHORT)
    assert "it is trained and not kept: set CCBENCH_HOME" in notes[0]
    monkeypatch.setenv("CCBENCH_HOME", str(tmp_path / "home"))
    assert open_one(1, notes, SHORT).weights == segmenter.weights

    def refuse(*_: object) -> None:
        raise UsageError("read-only")

    for name in ("ccbench.scoring.reference_segmenter.temporary_folder", "ccbench.segmenters.cells.lock_folder"):
        monkeypatch.setattr(name, refuse)
    assert open_one(1, notes, SHORT).weights == segmenter.weights and len(notes) == 1


def test_a_strangers_half_trained_one_is_not_unpickled(home: Path) -> None:
    notes: list[str] = []
    first = open_one(1, notes, SHORT)
    (folder,) = (home / "judges").rglob("*/weights.safetensors")
    folder = folder.parent
    (folder / "cell.json").unlink()
    (folder / "training").mkdir()
    mark = home / "ran"
    for name in ("epoch_1.pth", "latest.pth", "state.safetensors"):
        torch.save({"meta": Bomb(mark)}, folder / "training" / name)
    (folder / "training" / "last_checkpoint").write_text(str(folder / "training" / "epoch_1.pth"))
    assert open_one(1, notes, SHORT).weights == first.weights and not mark.exists()
    assert "set aside, and the training starts anew" in notes[-1]


def test_that_of_phantom_128_is_shipped(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(*args: object, **named: object) -> None:
        raise AssertionError("trained")

    monkeypatch.setattr(ccbench.scoring.reference_segmenter, "finish_cell", train)
    train_set, validation, test = (open_split(PROTOCOLS["phantom-128"], name, None) for name in SPLITS)
    settings = reference_settings(128, len(train_set.pairs))
    found = open_reference_segmenter(train_set, validation, "phantom-128", settings)
    assert (found.weights, round(found.dice, 3)) == ("5c5b7e14", 0.890) and not home.exists()
    pairs = [test.pairs[number] for number in range(8)]
    seen = found.segment([pair.image for pair in pairs])
    assert np.mean([overlap(mask, pair.condition.mask) for mask, pair in zip(seen, pairs, strict=True)]) > 0.85
    with pytest.raises(AssertionError, match="trained"):
        open_reference_segmenter(train_set, validation, "another", settings)
