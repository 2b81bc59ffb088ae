"""The cell folder and what a cell is trained on: nothing of another plan, nothing that was not recorded."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ccbench.base.images import write_png
from ccbench.data.pairs import DataSplit
from ccbench.data.segmentation_sets import SegmentationSets
from ccbench.data.split import open_split
from ccbench.errors import DataError, UsageError, VerificationError
from ccbench.pipeline.session import Session
from ccbench.pipeline.synthesis import add_training_images
from ccbench.pipeline.training import train_run
from ccbench.plugins.registry import find_method
from ccbench.protocols.config import RunConfig, resolve_config
from ccbench.protocols.given_settings import override_settings
from ccbench.protocols.protocol import Protocol
from ccbench.runs import RunFolder
from ccbench.segmenters import SEGMENTERS, cells
from ccbench.segmenters.cell_plan import plan_cell
from ccbench.segmenters.cells import CellFolder, CellPlan, CellRecord
from ccbench.segmenters.material import Material
from ccbench.segmenters.table_rows import Row
from ccbench.studies.segmentation.map_folders import read_map
from tiny_segmenters import draw_discs, tiny

PLAN: dict[str, Any] = {
    "protocol": "p",
    "segmenter": "PraNet",
    "settings": {"size": 32},
    "model": {"type": "PraNet"},
    "row": "real+a (x=1)",
    "augment": False,
    "passes": 2,
    "seed": 3,
    "select": "validation",
    "selecting": ("m",),
    "train": "t",
    "synthetic": "s",
    "synthetic_run": "a-seed0",
}
CHANGED: dict[str, Any] = {
    **dict.fromkeys(("protocol", "segmenter", "row", "train", "synthetic", "synthetic_run"), "other"),
    **{"settings": {"size": 64}, "model": {}, "augment": True, "passes": 3, "seed": 4, "select": "test"},
    **{"selecting": ("m", "n"), "version": 2},
}


def record(plan: CellPlan) -> CellRecord:
    return CellRecord(
        plan=plan,
        images=2,
        steps=4,
        dice=(0.5, 0.25),
        taken=1,
        parameters=7,
        seconds=1.5,
        weights_sha256="0",
        env={"torch": "2"},
        finished="now",
        tests={"b": cells.TestRecord(manifest_sha256="x", n=2)},
    )


def test_every_field_is_in_the_key() -> None:
    assert set(CHANGED) == set(CellPlan.model_fields)
    plan = CellPlan(**PLAN)
    keys = {CellPlan(**{**PLAN, name: value}).key for name, value in CHANGED.items()}
    assert len(keys | {plan.key}) == len(CHANGED) + 1
    assert CellPlan(**PLAN).key == plan.key and len(plan.key) == 16
    assert plan.folder.as_posix() == f"cells/PraNet/real+a-x-1--seed3-{plan.key[:8]}"


def test_a_cell_is_what_was_written(tmp_path: Path) -> None:
    plan = CellPlan(**PLAN)
    folder = CellFolder(tmp_path, plan)
    assert folder.record() is None
    with folder.lock():
        folder.write_record(record(plan))
        seen = np.random.default_rng(0).integers(0, 256, (9, 7), dtype=np.uint8)
        folder.write_map("b", "an id/with signs", seen)
        table = pd.DataFrame(
            {"image_id": ["x", "y"], "cluster": [None, "c"], "share": [0.1, 0.2], "mDice_256": [0.5, 1]}
        )
        folder.write_scores("b", table)
        with pytest.raises(UsageError, match="another command is working in this folder"):
            folder.lock()
    found = CellFolder(tmp_path, plan).record()
    assert found == record(plan) and found.tried("b") == "x" and found.tried("c") is None
    np.testing.assert_array_equal(read_map(folder.map_file("b", "an id/with signs")), seen)
    pd.testing.assert_frame_equal(folder.scores("b"), table)
    with pytest.raises(DataError, match=r"c\.parquet: cannot be read .* remove"):
        folder.scores("c")


def test_a_folder_of_another_plan_is_refused(tmp_path: Path) -> None:
    plan = CellPlan(**PLAN)
    folder = CellFolder(tmp_path, plan)
    folder.path.mkdir(parents=True)
    folder.write_record(record(CellPlan(**{**PLAN, "passes": 9})))
    with pytest.raises(DataError, match="holds another training than its folder is named for"):
        folder.record()
    (folder.path / "cell.json").write_text('{"plan": 1}')
    with pytest.raises(DataError, match=r"cell\.json: not a cell"):
        folder.record()


def split(name: str, count: int, seed: int) -> DataSplit:
    pairs = draw_discs(count, seed)
    return DataSplit(name, pairs, lambda: (pair.condition.id for pair in pairs), "drawn")


@pytest.fixture
def sets() -> SegmentationSets:
    tests = {"b": split("test", 2, 2), "far": split("far", 1, 3)}
    return SegmentationSets(split("train", 6, 0), split("validation", 2, 1), tests, ("b",), 32)


def test_steps_passes_and_manifests_of_a_plan(sets: SegmentationSets) -> None:
    """Six images in batches of four at two sizes: 2 x 2 steps a pass, 3 x 2 of twelve images."""
    settings = tiny(ratios=(1.0, 2.0), passes=3)

    def plan(kind: str, select: Any = "validation") -> Any:
        return plan_cell(SEGMENTERS["pranet"], settings, Row(kind), 5, None, sets, "p", select)

    real, twice = plan("real"), plan("real-x2")
    assert (real.plan.passes, real.steps, twice.plan.passes, twice.steps) == (3, 12, 6, 24)
    assert plan("copy-paste").steps == 18 and plan("classic").plan.augment and not real.plan.augment
    assert real.plan.selecting == (sets.validation.manifest_sha256,) and plan("real", "last").plan.selecting == ()
    assert plan("real", "test").plan.selecting == (sets.tests["b"].manifest_sha256,)
    assert (
        "passes" not in real.plan.settings and real.plan.settings["size"] == 32 and real.title == "PraNet, real, seed 5"
    )


def test_a_file_of_weights_counts_by_its_content(sets: SegmentationSets, tmp_path: Path) -> None:
    def key(name: str, content: bytes) -> str:
        (tmp_path / name).write_bytes(content)
        settings = tiny(backbone="resnet10t", weights=str(tmp_path / name))
        plan = plan_cell(SEGMENTERS["pranet"], settings, Row("real"), 0, None, sets, "p", "last").plan
        assert str(tmp_path) not in plan.model_dump_json()
        return plan.key

    assert key("a", b"1") == key("b", b"1") != key("a", b"2")


def test_what_passes_are_compared_on(sets: SegmentationSets) -> None:
    material = Material(sets, 32)
    ids = {one: [pair.condition.id for pair in material.selecting(one)] for one in ("validation", "last", "test")}
    assert ids == {"validation": ["1-0", "1-1"], "last": [], "test": ["2-0", "2-1"]}


@pytest.fixture
def run(small_protocol: Protocol, fake_plugin: str, tmp_path: Path) -> RunFolder:
    """A run of the fake method on four phantoms of 16 pixels, with its images of their masks."""
    config: RunConfig = resolve_config(find_method(fake_plugin), small_protocol, limit=4)
    with RunFolder.open(tmp_path / "run", config) as held:
        train_run(held, Session())
        assert add_training_images(held, Session(), batch_size=3) == 4
        assert add_training_images(held, Session(), batch_size=3) == 0
    return RunFolder.read(tmp_path / "run")


def phantoms(protocol: Protocol, limit: int = 4) -> SegmentationSets:
    train_split, check = open_split(protocol, "train", None, limit), open_split(protocol, "test", None, 1)
    return SegmentationSets(train_split, check, {"phantom": check}, ("phantom",), protocol.image_size)


def test_images_of_training_masks_stand_apart_and_join_their_masks(run: RunFolder, small_protocol: Protocol) -> None:
    samples, sets = run.training_samples(), phantoms(small_protocol)
    assert [sample.condition_id for sample in samples] == [pair.condition.id for pair in sets.train.pairs]
    assert (
        not run.samples()
        and not run.copies()
        and {Path(one.file).parent.name for one in samples} == {"training-images"}
    )
    material = Material(sets, 16)
    alone, mixed = material.of_row(Row("synthetic", "fake"), run), material.of_row(Row("mixed", "fake"), run)
    assert np.array_equal(alone.masks, material.real.masks) and not np.array_equal(alone.images, material.real.images)
    assert np.array_equal(mixed.images, np.concatenate([material.real.images, alone.images]))
    assert material.of_row(Row("real"), None) is material.real


def test_images_that_changed_or_lack_are_refused_and_made_again(run: RunFolder, small_protocol: Protocol) -> None:
    material, row, digest = Material(phantoms(small_protocol), 16), Row("synthetic", "fake"), run.training_sha256()
    file = run.path / run.training_samples()[1].file
    write_png(file, np.zeros((16, 16, 3), np.uint8))
    with pytest.raises(VerificationError, match="not the image that was recorded; delete it"):
        material.of_row(row, run)
    file.unlink()
    with pytest.raises(DataError, match="3 images of training masks, wanted those of the 4 training pairs"):
        material.of_row(row, run)
    with RunFolder.open(run.path) as held:
        assert add_training_images(held, Session(), batch_size=3) == 1
    assert run.training_sha256() == digest and len(material.of_row(row, run).images) == 4
    with pytest.raises(DataError, match="wanted those of the 2 training pairs"):
        Material(phantoms(small_protocol, 2), 16).of_row(row, run)


def test_only_trained_runs_get_images_of_training_masks(
    small_protocol: Protocol, fake_plugin: str, tmp_path: Path
) -> None:
    config = resolve_config(find_method(fake_plugin), small_protocol, limit=4)
    with (
        RunFolder.open(tmp_path / "new", config) as held,
        pytest.raises(UsageError, match="this run is not trained; finish it first"),
    ):
        add_training_images(held, Session())


def test_settings_are_overridden_by_name() -> None:
    base = SEGMENTERS["pranet"].mini
    found = override_settings(base, ["bce=weighted", "passes=7", "ratios=[1.0]", "learning_rate=1e-4"])
    assert (found.bce, found.passes, found.ratios, found.learning_rate) == ("weighted", 7, (1.0,), 1e-4)
    assert override_settings(base, []) == base
    for text, words in (
        ("pases=3", "unknown key 'pases'; did you mean 'passes'"),
        ("passes=0", "--set passes=0: .*greater than or equal to 1"),
        ("bce=mean", "--set bce=mean: "),
        ("passes", "wanted key=value"),
    ):
        with pytest.raises(UsageError, match=words):
            override_settings(base, [text])


def test_a_cell_with_a_link_in_it_is_not_written(tmp_path: Path) -> None:
    """What is trained would land where the link leads."""
    plan = CellPlan(**PLAN)
    (tmp_path / "elsewhere").mkdir()
    for inner in ("training", "maps/b", "cell.json"):
        folder = CellFolder(tmp_path / inner.replace("/", "-"), plan)
        (folder.path / inner).parent.mkdir(parents=True)
        (folder.path / inner).symlink_to(tmp_path / "elsewhere")
        with pytest.raises(DataError, match="is a link"):
            folder.lock()
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize(
    "change",
    [
        {"parameters": 10**400},
        {"seconds": -5.0},
        {"seconds": 1e999},
        {"dice": [0.5, 9.0]},
        {"taken": 7},
        {"taken": 0},
        {"tests": {"b": {"manifest_sha256": "x", "n": -1}}},
    ],
)
def test_numbers_of_a_record_are_bounded(change: dict[str, Any], tmp_path: Path) -> None:
    plan = CellPlan(**PLAN)
    folder = CellFolder(tmp_path, plan)
    folder.path.mkdir(parents=True)
    text = json.dumps({**record(plan).model_dump(mode="json"), **change}).replace("Infinity", "1e999")
    (folder.path / "cell.json").write_text(text)
    with pytest.raises(DataError, match=r"cell\.json"):
        folder.record()
