"""`ccbench data caption` and `ccbench data attributes`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

import ccbench.data.captioners
from calling import Call
from ccbench.data.captioners.agent import Turn
from ccbench.data.captions.caption_files import read_captions
from ccbench.types import Image
from fake_polyps import write_pair

NAMES = ("a 1", "b", "c")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pairs, one mask called `_mask`, one empty."""
    for seed, name in enumerate(NAMES):
        mask = f"{name}_mask.png" if name == "b" else f"{name}.png"
        write_pair(tmp_path / "images" / f"{name}.jpg", tmp_path / "masks" / mask, seed)
    PIL.Image.fromarray(np.zeros((40, 52), np.uint8)).save(tmp_path / "masks" / "c.png")
    return tmp_path


ARGS = ("data", "caption", "--images", "images", "--masks", "masks", "--output", "out/captions.jsonl")


def lines(root: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (root / "out" / "captions.jsonl").read_text().splitlines()]


class Backend:
    """Answers for every image but those it is told to refuse."""

    name, revision, sees = "scripted", "r1", True

    def __init__(self) -> None:
        self.answered = 0
        self.silent_from = 100

    def answer(self, turns: Sequence[Turn], image: Image | None) -> str:
        if self.answered >= self.silent_from:
            return "..."
        self.answered += 1
        none = "There is no polyp" in turns[0].text
        return json.dumps({"foreground": "no polyp" if none else "a polyp", "background": f"mucosa {self.answered}"})


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Backend:
    """A scripted model that `--model scripted` opens."""
    model = Backend()
    monkeypatch.setattr(ccbench.data.captioners, "open_chat_model", lambda name, revision, device: model)
    return model


def test_measured_captions_of_a_folder(folder: Path, call: Call) -> None:
    done = call(*ARGS, "--json")
    assert done.code == 0
    assert done.json == {"captioner": "measured-2", "output": "out/captions.jsonl", "captions": 3, "failed": []}
    found = lines(folder)
    assert [line["id"] for line in found] == list(NAMES)
    assert found[2]["foreground"].startswith("no ") and found[2]["attributes"]["count"] == "none"
    assert found[0]["caption"].startswith(found[0]["foreground"]) and found[0]["attributes"]["size"] == "medium"
    assert set(read_captions(folder / "out" / "captions.jsonl")) == set(NAMES)  # what data sets read
    assert "wrote 3 captions of measured-2" in call(*ARGS).out
    assert lines(folder) == found


def test_a_changed_file_is_captioned_anew(folder: Path, call: Call) -> None:
    call(*ARGS)
    before = lines(folder)
    write_pair(folder / "images" / "b.jpg", folder / "masks" / "b_mask.png", seed=9)
    call(*ARGS)
    assert [line == old for line, old in zip(lines(folder), before, strict=True)] == [True, False, True]


def test_an_agent_goes_on_where_it_stopped(folder: Path, call: Call, backend: Backend) -> None:
    agent = (*ARGS, "--captioner", "agent", "--model", "scripted", "--device", "cpu")
    backend.silent_from = 2
    done = call(*agent)
    assert done.code == 1
    assert "wrote 2 captions of agent-2:scripted@r1" in done.out
    assert "no caption: c: scripted gave no caption that can be used in 3 attempts" in done.err
    assert [line["id"] for line in lines(folder)] == ["a 1", "b"]  # nothing stands in for the third
    backend.silent_from = 100
    assert call(*agent).code == 0
    assert backend.answered == 3  # the first two were kept
    assert [line["background"] for line in lines(folder)] == ["mucosa 1", "mucosa 2", "mucosa 3"]
    assert lines(folder)[0]["details"]["revision"] == "r1"
    call(*agent, "--limit", "1")
    assert len(lines(folder)) == 3  # later lines stay
    assert backend.answered == 3


def test_what_is_finished_before_a_fault_is_kept(folder: Path, call: Call) -> None:
    (folder / "images" / "b.jpg").write_bytes(b"broken")
    done = call(*ARGS)
    assert done.code == 4 and "b.jpg" in done.err
    assert [line["id"] for line in lines(folder)] == ["a 1"]


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (("--captioner", "agent"), 2, "needs --model"),
        (("--model", "x"), 2, "are for --captioner agent"),
        (("--captioner", "poet"), 2, "found 'poet', wanted measured or agent"),
        (("--masks", "elsewhere"), 4, "not a folder"),
        (
            ("--captioner", "agent", "--model", "./nothing", "--device", "cpu"),
            3,
            "wanted a folder in Hugging Face format",
        ),
    ],
)
def test_what_cannot_be_done_is_one_line(
    folder: Path, call: Call, change: tuple[str, ...], code: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    done = call(*ARGS, *change)
    assert (done.code, done.err.count("\n")) == (code, 1) and message in done.err
    assert not (folder / "out" / "captions.jsonl").exists()


def test_captions_of_another_captioner_are_left_alone(folder: Path, call: Call, backend: Backend) -> None:
    call(*ARGS)
    done = call(*ARGS, "--captioner", "agent", "--model", "scripted", "--device", "cpu")
    assert done.code == 2 and "holds captions of measured-2, not of agent-2:scripted@r1" in done.err
    assert {line["captioner"] for line in lines(folder)} == {"measured-2"}


def test_an_image_without_mask_is_an_error(folder: Path, call: Call) -> None:
    (folder / "masks" / "c.png").unlink()
    done = call(*ARGS)
    assert done.code == 4 and "c.jpg: found no mask" in done.err


def test_a_line_without_an_id_is_named_and_nothing_is_lost(folder: Path, call: Call) -> None:
    call(*ARGS)
    path = folder / "out" / "captions.jsonl"
    before = path.read_text()
    path.write_text("\n" + before + json.dumps({"captioner": lines(folder)[0]["captioner"]}) + "\n")
    done = call(*ARGS)
    assert done.code == 4 and "captions.jsonl:5: found no id; wanted" in done.err and "Traceback" not in done.err
    assert path.read_text().startswith("\n" + before)


def test_captions_of_another_reading_of_the_masks_are_made_anew(folder: Path, call: Call) -> None:
    call(*ARGS)
    assert lines(folder)[0]["attributes"]["count"] == "one" and "polyp_is" not in lines(folder)[0]
    call(*ARGS, "--polyp-is", "values:7")
    assert {line["attributes"]["count"] for line in lines(folder)} == {"none"}
    assert {line["polyp_is"] for line in lines(folder)} == {"values:7"}
    call(*ARGS)
    assert lines(folder)[0]["attributes"]["count"] == "one"


def test_the_table_of_attributes(call: Call) -> None:
    table = call("data", "attributes", "--n", "3")
    assert table.code == 0 and "3 phantoms, seed 0" in table.out
    names = ("size", "position", "outline", "colour", "surface", "demarcation", "brightness", "lumen", "tint")
    assert all(f"\n {name} " in table.out or f"\n{name} " in table.out for name in names)
    found = call("data", "attributes", "--n", "3", "--json").json
    assert tuple(found["attributes"]) == names
    assert found["attributes"]["size"] == {
        "n": 3,
        "accuracy": 1.0,
        "recall": found["attributes"]["size"]["recall"],
        "mistakes": [],
    }
