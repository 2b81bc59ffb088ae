"""`ccbench segment` from the command line: a small table whole, again, with runs, and each bad input."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import ccbench.studies.segmentation.segmentation_study
from calling import Call, Finished
from ccbench.base.images import read_image
from ccbench.cli import execute
from ccbench.pipeline.make_run import run_config
from ccbench.runs import RunFolder
from ccbench.segmenters import SEGMENTERS
from ccbench.studies.segmentation.segmentation_results import SegmentationTable
from tiny_segmenters import ONE_LAYER

TINY = ("--set", "size=32", "--set", "ratios=[1.0]", "--set", "passes=1", "--set", "batch_size=4")
PHANTOMS = ("segment", "--limit", "4", "--seeds", "0", "--segmenter", "pranet", "--device", "cpu", *TINY)
ONE_PASS = ("--segmenter", "one-layer", "--set", "passes=1", "--limit", "4")
FILES = ("README.md", "table.csv", "table.json", "table.tex", "overlays-PraNet.png")


def in_this_process(work: Any, items: Any, size: Any, devices: Any, title: str, *, progress: Any, note: Any) -> None:
    work(items, devices[0], progress, note)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which a table of two rows was made, its cells trained in this process."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(ccbench.studies.segmentation.segmentation_study, "work_in_processes", in_this_process)
        assert execute([*PHANTOMS, "--rows", "real,copy-paste", "--jobs", "1", "--quiet"]) == 0
    return folder


@pytest.fixture
def again(call: Call, made: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.chdir(made)
    return call


@pytest.fixture
def here(call: Call, scored_images: object, monkeypatch: pytest.MonkeyPatch) -> Call:
    """The fake method and the protocol `small`; cells are trained in this process, which has torch already."""
    monkeypatch.setattr(ccbench.studies.segmentation.segmentation_study, "work_in_processes", in_this_process)
    monkeypatch.setitem(SEGMENTERS, "one-layer", ONE_LAYER)
    return call


def test_a_table_is_made_with_its_pictures(made: Path) -> None:
    folder = made / "runs" / "phantom-128" / "segmentation-limit4"
    assert sorted(path.name for path in folder.iterdir()) == sorted([*FILES, "cells"])
    cells = sorted(path.name.rpartition("-")[0] for path in (folder / "cells" / "PraNet").iterdir())
    assert cells == ["real+copy-paste-seed0", "real-seed0", "real-x2-seed0"]  # both baselines come with the row
    (cell,) = (folder / "cells" / "PraNet").glob("real-seed0-*")
    assert {path.name for path in cell.iterdir()} == {".lock", "cell.json", "maps", "scores", "weights.safetensors"}
    assert len(list((cell / "maps" / "phantom").iterdir())) == 4
    table = SegmentationTable.model_validate_json((folder / "table.json").read_text())
    assert table.rows == {"real": ("epochs",), "real-x2": ("steps",), "real+copy-paste": ("epochs", "steps")}
    assert {cell.row: (cell.images, cell.steps) for cell in table.cells} == {
        "real": (4, 1),
        "real-x2": (4, 2),
        "real+copy-paste": (8, 2),
    }
    assert table.tests == {"phantom": 4} and "first 4 images" in table.notes[-1]
    picture = read_image(folder / "overlays-PraNet.png")
    assert picture.shape[0] > 400 and picture.shape[1] > 900 and picture.std() > 20
    (pasted,) = (made / "runs/phantom-128").glob("copy-paste-seed0-*")
    assert len(list((pasted / "training-images").iterdir())) == 4


def test_the_same_command_again_trains_nothing(again: Call, made: Path) -> None:
    def times() -> dict[str, int]:
        names = ("cell.json", "weights.safetensors", "*.parquet", "training-samples.jsonl", "training-images/*.png")
        return {str(path): path.stat().st_mtime_ns for name in names for path in made.rglob(name)}

    before = times()
    done = again(*PHANTOMS, "--rows", "real,copy-paste", "--json")
    assert done.code == 0 and "segmenters: 3 of 3 are there" in done.err and times() == before and len(before) > 9
    found = done.json
    assert found["output"] == "runs/phantom-128/segmentation-limit4" and found["tests"] == {"phantom": 4}
    assert [Path(path).name for path in found["overlays"]] == ["overlays-PraNet.png"]
    assert {value["metric"] for value in found["values"]} >= {
        "mDice_256",
        "mIoU_256",
        "mDice_0.5",
        "dice_pooled",
        "hd95",
    }
    fewer = again(*PHANTOMS, "--rows", "real", "--output", "runs/phantom-128/segmentation-limit4")
    assert "segmenters: 1 of 1 are there" in fewer.err and "mDice_256 / mIoU_256" in fewer.out
    assert "equal passes" in fewer.out and "copy-paste" not in fewer.out and "table: runs/phantom-128" in fewer.out


@pytest.mark.slow
def test_a_worker_makes_a_table_and_stdout_is_json_to_its_last_byte(tmp_path: Path) -> None:
    """Though mmengine prints in every process that imports it; and with --quiet nothing else is said."""
    command = [*PHANTOMS, "--rows", "real", "--budget", "epochs", "--jobs", "1", "--quiet", "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "ccbench", *command],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "") and json.loads(done.stdout)["protocol"] == "phantom-128"


def test_a_board_keeps_a_table_and_its_pages_are_checked(call: Call, made: Path) -> None:
    folder = Path("leaderboards", "phantom-128", "segmentation")
    folder.mkdir(parents=True)
    for name in FILES[:-1]:
        shutil.copy(made / "runs" / "phantom-128" / "segmentation-limit4" / name, folder)
    page = folder / "README.md"
    assert str(page) in call("leaderboard", "render", "--json").json["pages"]
    assert f"up to date: {page}" in call("leaderboard", "render", "--check").out
    page.write_text(page.read_text().replace("trained on", "trained with"))
    assert refused(call("leaderboard", "render", "--check"), 5, f"{page}:", "run `ccbench leaderboard render`")
    assert call("leaderboard", "render").code == 0 and call("leaderboard", "render", "--check").code == 0
    (folder / "table.json").write_text("{}")
    assert refused(call("leaderboard", "render"), 4, "table.json: not a table of segmenters")


def train_runs(call: Call, *seeds: int) -> list[str]:
    for seed in seeds:
        train = ("train", "--method", "fake", "--protocol", "small", "--limit", "4", "--seed", seed)
        assert call(*train, "-o", f"fake-{seed}").code == 0
    return [f"fake-{seed}" for seed in seeds]


def test_runs_of_one_method_are_its_seeds(here: Call) -> None:
    runs = train_runs(here, 0, 1)
    options = ("--rows", "synthetic", "--budget", "epochs", "--seeds", "0,1,2", *ONE_PASS)
    done = here("segment", "--runs", *runs, *options, "--json", "--output", "out")
    assert done.code == 0, done.err
    found = done.json
    assert found["protocol"] == "small" and list(found["rows"]) == ["real", "fake"]
    used = {(cell["row"], cell["seed"]): cell["synthetic_run"].rpartition("-")[0] for cell in found["cells"]}
    assert [used["fake", seed] for seed in (0, 1, 2)] == ["fake-seed0", "fake-seed1", "fake-seed0"]
    assert (
        used["real", 0] == "" and len(found["comparisons"]) == 1 and set(found["values"][0]["seeds"]) == {"0", "1", "2"}
    )
    assert "share the images of fewer generator runs" in found["notes"][0]
    assert all(len(list(Path(run, "training-images").iterdir())) == 4 for run in runs)
    # Weights that changed are not tried on anything.
    (cell,) = Path("out/cells/OneLayer").glob("real-seed0-*")
    record = json.loads((cell / "cell.json").read_text())
    (cell / "cell.json").write_text(json.dumps({**record, "tests": {}}))
    again = ("segment", "--runs", *runs, *options, "--output", "out")
    assert here(*again).code == 0 and "1 of" not in here(*again).err
    (cell / "cell.json").write_text(json.dumps({**record, "tests": {}}))
    (cell / "weights.safetensors").write_bytes(b"other")
    assert refused(here(*again), 5, "not the weights that training left; remove")


def refused(done: Finished, code: int, *words: str) -> bool:
    lines = [line for line in done.err.splitlines() if "error: " in line]
    return done.code == code and len(lines) == 1 and done.out == "" and all(word in lines[0] for word in words)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--rows", "real,fake"), ("--rows fake", "wanted some of real")),
        (("--rows", "mixed"), ("--rows mixed", "name complete runs with --runs")),
        (("--rows", "real-x2", "--budget", "epochs"), ("none of them belongs to the budget epochs",)),
        (("--rows", ""), ("--rows", "wanted some of")),
        (("--segmenter", "unet"), ("--segmenter unet", "wanted pranet, polyp-pvt, or mmseg:PATH")),
        (("--segmenter", "mmseg:none.py"), ("no such file",)),
        (("--segmenter", "pranet", "pranet"), ("PraNet", "named twice")),
        (("--seeds", "a"), ("--seeds", "wanted numbers")),
        (("--seeds", "1,1"), ("--seeds", "different numbers")),
        (("--seeds=-1",), ("--seeds", "from 0 on")),
        (("--select", "best"), ("--select", "wanted validation, last, test")),
        (("--budget", "time"), ("--budget", "wanted epochs, steps or both")),
        (("--set", "pases=2"), ("unknown key 'pases'", "did you mean 'passes'")),
        (("--set", "passes=none"), ("--set passes=none",)),
        (("--runs",), ("--runs", "found nothing after it")),
        (("--segmenter", "--json"), ("--segmenter", "found nothing after it")),
        (("--runs", "nowhere"), ("nowhere", "found no run there")),
        (("--protocol", "none"), ("none",)),
        (("--jobs", "0"), ("--jobs",)),
        (("--unknown",), ("--unknown",)),
    ],
)
def test_bad_input_is_refused_before_anything_is_made(
    call: Call, options: tuple[str, ...], words: tuple[str, ...]
) -> None:
    assert refused(call("segment", "--device", "cpu", *options), 2, *words)
    assert not Path("runs").exists()


def test_runs_that_do_not_fit(here: Call) -> None:
    (run,) = train_runs(here, 0)
    other = ("segment", "--runs", run, "--protocol", "phantom-128", "--limit", "4")
    assert refused(here(*other), 4, run, "made under small", "not phantom-128")
    assert refused(here("segment", "--runs", run), 2, "made with --limit 4, not None")
    assert refused(here("segment", "--runs", run, run, "--limit", "4"), 2, "a second run of fake with seed 0")
    with RunFolder.open(Path("quick"), run_config("fake", "small", limit=4, quick=True)):
        pass
    assert refused(here("segment", "--runs", "quick", "--limit", "4"), 2, "make it without --quick")
    assert here("train", "--method", "real-split", "--protocol", "small", "--limit", "4", "-o", "split").code == 0
    assert refused(
        here("segment", "--runs", "split", "--limit", "4"), 2, "real-split makes no image of a training mask"
    )
    not_trained = ("train", "--method", "fake", "--protocol", "small", "--limit", "4", "-o", "open")
    assert here(*not_trained).code == 0
    record = json.loads(Path("open/run.json").read_text())
    Path("open/run.json").write_text(json.dumps({**record, "training": None}))
    assert refused(here("segment", "--runs", "open", "--limit", "4"), 2, "open: the run is not trained; finish it")


def test_protocols_of_files_need_their_folder_and_several_processes_are_refused(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert refused(call("segment", "--protocol", "polyp-128", "--rows", "real"), 4, "--data-root")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "without torchrun" in call("segment", "--rows", "real").err


def test_weights_that_are_not_there(here: Call) -> None:
    options = ("--protocol", "small", "--limit", "4", "--rows", "real", "--budget", "epochs", "--seeds", "0", *TINY)
    missing = here(
        "segment", *options, "--segmenter", "pranet", "--set", "backbone=resnet10t", "--set", "weights=none.pth"
    )
    assert refused(missing, 3, "none.pth: no such file; wanted ImageNet weights of timm's resnet10t")
    unknown = here("segment", *options, "--segmenter", "pranet", "--set", "backbone=resnet99")
    assert refused(unknown, 2, "backbone=resnet99: timm has no such model")
    Path("own.py").write_text("x = 1")
    assert refused(here("segment", *options, "--segmenter", "mmseg:own.py"), 2, "holds no `model`")
