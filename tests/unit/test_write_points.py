"""Every command that writes is made to fail at each of its writes in turn, and ends as one that was not interrupted."""

import ast
import json
import re
import shutil
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL.Image
import pytest
import typer.main

import ccbench.base.files
import ccbench.boards.copies
import ccbench.cli.command_line
import ccbench.comparison.compared_features
import ccbench.data.phantom.phantom_source
import ccbench.pipeline.training
import ccbench.studies.ablation.variant_runs
import ccbench.studies.segmentation.segmentation_study
import ccbench.tables.pictures
from ccbench.base import folder_files
from ccbench.base.images import write_png
from ccbench.cli import execute
from ccbench.pipeline.run_scorer import RunScorer
from ccbench.protocols.protocol import PROTOCOLS, Protocol
from ccbench.runs import RunFolder
from ccbench.runs.scorecard import Scorecard, ScoredImages, per_sample_table
from ccbench.segmenters import SEGMENTERS
from ccbench.types import Score
from compared import ColourEncoder
from fake_polyps import write_pair
from interrupting import hashes, plain
from tiny_segmenters import ONE_LAYER
from write_points import Writes, watched

FAKE = ("--method", "fake", "--protocol", "small", "--output", "out")
ABLATE = ("ablate", "--method", "fake", "--protocol", "small", "--vary", "tint=0.1", "--seeds", "0", "--jobs", "1")
ABLATE = (*ABLATE, "--no-cache", "--store")
SEGMENT = ("segment", "--protocol", "small", "--rows", "real", "--budget", "epochs", "--seeds", "0", "--output", "out")
SEGMENT = (*SEGMENT, "--segmenter", "one-layer", "--set", "passes=2", "--jobs", "1", "--device", "cpu")
TEMPORARY = re.compile(r"\.[0-9a-f]{12}\.tmp")
COMMAND = typer.main.get_command(ccbench.cli.command_line.app)  # built once: each case is called a hundred times
Prepare = Callable[[str], Callable[..., Path]]
READING = {"check_new_folder", "is_locked"}
"""Functions of the part of `files` that writes which only look."""


class Case(NamedTuple):
    """A command line, and what is there before it. `new`: it takes a new folder, and makes it whole or not at all."""

    command: tuple[str, ...]
    prepare: Callable[[], None] = lambda: None
    new: bool = False


def save_uncompressed(
    image: PIL.Image.Image, file: Any, format: str | None = None, *, save: Any = PIL.Image.Image.save, **given: Any
) -> None:
    """Compressing pictures takes a third of the time."""
    save(image, file, format, **{**given, "optimize": False, "compress_level": 0})


def draw_tiles(
    cells: Sequence[tuple[tuple[Any, ...], str]], header: object, columns: int, tile: int, path: Path, title: str
) -> None:
    """A sheet of pictures without titles and frames, which take half of the time of the commands that draw some."""
    side = max(len(image) for tiles, _ in cells for image in tiles)
    lines = [np.hstack([np.resize(image, (side, side, 3)) for image in tiles]) for tiles, _ in cells]
    write_png(path, np.vstack(lines))


def do(*command: str) -> None:
    assert execute([*command, "--quiet"]) == 0


def make_run() -> None:
    do("run", *FAKE, "--no-cache")


def make_variants() -> None:
    do(*ABLATE)
    for made in (Path("runs", "small", "ablations"), Path("leaderboards")):
        shutil.rmtree(made)


def make_images() -> None:
    do("train", *FAKE)
    do("synthesize", *FAKE)


def leave_a_half_run() -> None:
    """As a kill leaves it: a torn line, a torn image, a folder that was being copied."""
    make_images()
    with Path("out", "samples.jsonl").open("r+b") as lines:
        lines.truncate(lines.seek(0, 2) - 10)
    Path("out", "images", ".0123456789ab.tmp").write_bytes(b"\x89PNG")
    Path("out", ".ba9876543210.tmp").mkdir()


def leave_a_damaged_state() -> None:
    """As a disk leaves it: a segmenter's state that cannot be read."""
    do(*SEGMENT)
    (cell,) = Path("out", "cells", "OneLayer").iterdir()
    for entry in (Path("out"), Path("runs")):
        shutil.rmtree(entry, ignore_errors=True)
    (cell / "training").mkdir(parents=True)
    (cell / "training" / "state.safetensors").write_bytes(b"no state")


def pack_polyps() -> None:
    for number in range(2):
        write_pair(Path("set", "images", f"{number}.png"), Path("set", "masks", f"{number}.png"), number)
    shutil.make_archive("set", "zip", "set")


CASES = {
    "run": Case(("run", *FAKE, "--no-cache")),
    "run that was killed": Case(("run", *FAKE, "--no-cache"), leave_a_half_run),
    "run with another's checkpoint": Case(
        (
            *("run", "--method", "shuffled-mask", "--protocol", "small", "--set", "of=fake", "--no-cache"),
            *("--checkpoint-from", "out", "--output", "shuffled", "--limit", "2"),
        ),
        lambda: do("run", *FAKE, "--no-cache", "--limit", "2"),
    ),
    "train": Case(("train", *FAKE)),
    "synthesize": Case(("synthesize", *FAKE), lambda: do("train", *FAKE)),
    "score": Case(("score", "out", "--no-cache"), make_images),
    "ablate": Case(ABLATE, make_variants),
    "segment": Case(SEGMENT),
    "segment with a damaged state": Case(SEGMENT, leave_a_damaged_state),
    "leaderboard add": Case(("leaderboard", "add", "out", "--no-cache"), make_run),
    "report": Case(("report", "out", "--output", "pages/report.html"), make_run),
    "data prepare": Case(
        ("data", "prepare", "folder", "--source", "set.zip", "--output", "prepared"), pack_polyps, new=True
    ),
    "methods new": Case(("methods", "new", "my-method"), new=True),
}


def cases(*slow: str) -> pytest.MarkDecorator:
    """All commands; `slow`: those that take ten seconds and more."""
    marked = [pytest.param(name, marks=pytest.mark.slow if name in slow else ()) for name in CASES]
    return pytest.mark.parametrize("name", marked)


@pytest.fixture(autouse=True)
def _small(small_protocol: Protocol, fake_plugin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake method on a handful of phantoms, scores without encoders, and all work in this process."""
    monkeypatch.setattr(ccbench.data.phantom.phantom_source, "COUNTS", {"train": 3, "validation": 2, "test": 3})
    monkeypatch.setitem(PROTOCOLS, "small", small_protocol.model_copy(update={"backbone": "sd-mini"}))
    monkeypatch.setattr(PIL.Image.Image, "save", save_uncompressed)
    monkeypatch.setattr(ccbench.tables.pictures, "_draw_sheet", draw_tiles)
    monkeypatch.setitem(SEGMENTERS, "one-layer", ONE_LAYER)
    monkeypatch.setattr(ccbench.cli.command_line, "app", COMMAND)
    monkeypatch.setattr(ccbench.pipeline.training, "source_state", lambda package: {})
    monkeypatch.setattr(ccbench.pipeline.training, "collect_environment", lambda device: {"device": device})
    monkeypatch.setattr(ccbench.comparison.compared_features, "open_encoder", lambda name, **rest: ColourEncoder())

    def score(self: RunScorer, run: RunFolder) -> ScoredImages:
        ids = [sample.condition_id for sample in run.samples()]
        values = [float(int(sample.sha256[:2], 16)) for sample in run.samples()]
        score = Score("text_fidelity", "text_fidelity|v:1", sum(values) / len(ids), len(ids))
        card = Scorecard(scores=[score], controls={}, failures={})
        return ScoredImages(card, per_sample_table(ids, {"text_fidelity": values}))

    def in_this_process(
        work: Callable[..., None], items: Any, size: Any, devices: Any, title: str, **named: Any
    ) -> None:
        work(items, devices[0], named["progress"], named["note"])

    monkeypatch.setattr(RunScorer, "score", score)
    for study in (ccbench.studies.ablation.variant_runs, ccbench.studies.segmentation.segmentation_study):
        monkeypatch.setattr(study, "work_in_processes", in_this_process)
    monkeypatch.setattr(
        ccbench.studies.ablation.variant_runs, "find_reference_segmenter", lambda *rest: "none in a test"
    )


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prepare:
    """Return a function that prepares a case, and returns one that gives a folder so prepared, or like another."""

    def prepare(name: str) -> Callable[..., Path]:
        before, work = tmp_path / "before" / name, tmp_path / "work" / name
        before.mkdir(parents=True)
        monkeypatch.chdir(before)
        CASES[name].prepare()

        def again(left: Path = before) -> Path:
            monkeypatch.chdir(tmp_path)
            shutil.rmtree(work, ignore_errors=True)
            shutil.copytree(left, work, symlinks=True)
            monkeypatch.chdir(work)
            return work

        return again

    return prepare


def contents(folder: Path) -> dict[str, str]:
    """Return the hashes of all files but what a killed writer left outside run folders, which nobody else owns."""
    found = hashes(folder)
    runs = [path.parent.relative_to(folder).as_posix() for path in folder.rglob("run.json")]
    for run in runs:  # of one that is not complete the status says how its last command ended
        record = json.loads((folder / run / "run.json").read_text())
        if record["status"] != "complete":
            found[f"{run}/run.json"] = json.dumps(plain({**record, "status": "", "error": ""}))
    return {
        name: digest
        for name, digest in found.items()
        if not TEMPORARY.search(name) or any(name.startswith(f"{run}/") for run in runs)
    }


def ends_equal(name: str, folder: Path, expected: dict[str, str], after: str, said: Callable[[], str]) -> None:
    assert execute(CASES[name].command) == 0, f"{after}: {said()}"
    found = contents(folder)
    differ = {file for file in expected.keys() | found.keys() if expected.get(file) != found.get(file)}
    assert not differ, after


@cases("segment", "segment with a damaged state")
def test_killed_at_any_write_it_ends_the_same(
    name: str, prepared: Prepare, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The command runs once, and is taken up again from what a kill at each of its writes would have left."""
    again = prepared(name)
    with watched(writes := Writes(folder := again(), keep=tmp_path / "left")):
        assert execute(CASES[name].command) == 0, capsys.readouterr().err
    expected = contents(folder)
    for at, left in enumerate(writes.left, 1):
        again(left)
        if not (CASES[name].new and contents(folder) == expected):
            ends_equal(name, folder, expected, f"killed at write {at}", lambda: capsys.readouterr().err)
    assert len(writes.left) > 4


@cases("ablate", "segment", "segment with a damaged state", "leaderboard add", "data prepare")
def test_on_a_disk_that_is_full_from_any_write_on_it_says_so_and_then_ends_the_same(
    name: str, prepared: Prepare, capsys: pytest.CaptureFixture[str]
) -> None:
    again = prepared(name)
    folder = again()
    assert execute(CASES[name].command) == 0, capsys.readouterr().err
    expected = contents(folder)
    for at in count(1):
        capsys.readouterr()
        with watched(writes := Writes(again(), full_at=at)):
            code = execute(CASES[name].command)
        said = capsys.readouterr().err
        if not writes.failed:
            break
        last = said.splitlines()[-1]
        assert code == 2 and said.count("error: ") == 1, f"write {at}: {code} {said}"
        assert last.startswith("error: ") and "No space left on device" in last, f"write {at}: {said}"
        if not (CASES[name].new and contents(folder) == expected):
            ends_equal(name, folder, expected, f"full at write {at}", lambda: capsys.readouterr().err)
    assert code == 0 and at > 4


def test_together_they_reach_everything_that_writes(prepared: Prepare) -> None:
    source = Path(ccbench.base.files.__file__).read_text()
    sources = source[source.index("# Writing\n") : source.index("# Reading\n")], Path(folder_files.__file__).read_text()
    names = {one.name for text in sources for one in ast.parse(text).body if isinstance(one, ast.FunctionDef)}
    reached = set()
    for name in CASES:
        with watched(writes := Writes(prepared(name)())):
            assert execute(CASES[name].command) == 0
        reached |= writes.functions
    assert names - READING - reached == set()
