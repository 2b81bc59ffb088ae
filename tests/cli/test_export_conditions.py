"""Conditions as files: ids, masks, prompts and seeds are those of a run, and no real image is written."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from calling import Call
from ccbench.base.image_folders import list_images
from ccbench.base.images import file_stem, read_image
from ccbench.base.seeding import sample_seed
from ccbench.data.pairs import DataSplit
from ccbench.data.phantom import phantom_source
from ccbench.data.prepare import export_conditions
from ccbench.data.split import open_split
from ccbench.protocols.protocol import find_protocol
from ccbench.types import Condition, Image, RealPair


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phantom_source, "COUNTS", {"train": 3, "validation": 2, "test": 4})


def lines(folder: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(folder, "conditions.jsonl").read_text().splitlines()]


def test_a_line_is_what_a_run_would_use(call: Call) -> None:
    done = call("protocols", "export-conditions", "phantom-128", "--output", "out", "--json")
    assert done.code == 0, done.err
    split = open_split(find_protocol("phantom-128"), "test", None)
    assert (done.json["n"], done.json["manifest_sha256"]) == (4, split.manifest_sha256)
    assert done.json["protocol_hash"] == find_protocol("phantom-128").hash
    for row, pair in zip(lines("out"), split.pairs, strict=True):
        condition = pair.condition
        assert set(row) == {"id", "file", "mask", "prompt", "seeds"}
        assert (row["id"], row["prompt"]) == (condition.id, condition.prompt)
        assert row["seeds"] == {str(seed): sample_seed(seed, condition.id) for seed in (0, 1, 2)}
        stored = PIL.Image.open(Path("out", row["mask"]))
        assert stored.mode == "L" and np.array_equal(np.asarray(stored), condition.mask * np.uint8(255))


def test_the_rules_are_beside_them_and_no_image_is(call: Call) -> None:
    done = call("protocols", "export-conditions", "phantom-128", "--output", "out")
    assert sorted(path.name for path in Path("out").iterdir()) == ["README.md", "conditions.jsonl", "masks"]
    rules = Path("out", "README.md").read_text()
    for words in (find_protocol("phantom-128").hash, "128 x 128 pixels", "Apache-2.0", "`file`", "JPEG is refused"):
        assert words in rules
    assert "ccbench run --from-dir IMAGES --method NAME --protocol phantom-128 --seed 0" in done.out


def test_training_phantoms_come_with_their_images(call: Call) -> None:
    call("protocols", "export-conditions", "phantom-128", "--output", "out", "--split", "train")
    pairs = open_split(find_protocol("phantom-128"), "train", None).pairs
    for row, pair in zip(lines("out"), pairs, strict=True):
        assert "seeds" not in row and np.array_equal(read_image(Path("out", row["image"])), pair.image)


@pytest.mark.parametrize("split", ["train", "test"])
def test_of_data_that_users_bring_no_image_is_written(call: Call, polyp_files: Path, split: str) -> None:
    args = ("protocols", "export-conditions", "polyp-128", "--data-root", polyp_files, "--split", split)
    done = call(*args, "--output", "out")
    assert done.code == 0, done.err
    pairs = list(open_split(find_protocol("polyp-128"), split, polyp_files).pairs)  # type: ignore[arg-type]
    assert len(list_images(Path("out", "masks"))) == len(pairs) == len(lines("out")) > 0
    real = {pair.image.tobytes() for pair in pairs}
    assert not Path("out", "images").exists() and not real & {
        read_image(file).tobytes() for file in Path("out").rglob("*.png")
    }
    assert "do not publish" in done.err and "research and education" in Path("out", "README.md").read_text()
    clusters = {row["id"]: row.get("cluster") for row in lines("out")}
    assert clusters == {pair.condition.id: pair.condition.cluster for pair in pairs}


def one_pair(condition_id: str, image: Image) -> RealPair:
    return RealPair(image, Condition(condition_id, np.eye(8, dtype=bool), "a polyp"))


def test_a_licence_is_text_in_the_readme(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [one_pair("a", np.zeros((8, 8, 3), dtype=np.uint8))]
    licence = "none\n\n# Rules\n<script>x</script>"
    monkeypatch.setattr(export_conditions, "open_split", lambda *_: DataSplit("test", pairs, lambda: ["a"], licence))
    assert call("protocols", "export-conditions", "phantom-128", "--output", "out").code == 0
    text = Path("out", "README.md").read_text()
    assert "- licence of the data: none # Rules &lt;script>x&lt;/script>\n" in text


@pytest.mark.parametrize(("ids", "code"), [(("a/b c", "ü"), 0), (("a/b", "a_b"), 4)])
def test_ids_become_file_names_by_one_rule(
    call: Call, monkeypatch: pytest.MonkeyPatch, ids: tuple[str, str], code: int
) -> None:
    pairs = [one_pair(condition_id, np.zeros((8, 8, 3), dtype=np.uint8)) for condition_id in ids]
    monkeypatch.setattr(export_conditions, "open_split", lambda *_: DataSplit("test", pairs, lambda: ids, "none"))
    done = call("protocols", "export-conditions", "phantom-128", "--output", "out")
    assert done.code == code
    if code:
        assert "'a/b' and 'a_b' would share the name a_b.png" in done.err and list(Path().iterdir()) == []
    else:
        assert [row["file"] for row in lines("out")] == ["a_b_c.png", "_.png"]
        assert [f"{file_stem(row['id'])}.png" for row in lines("out")] == [row["file"] for row in lines("out")]


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["phantom-12"], 2, "did you mean 'phantom-128'?"),
        (["phantom-128", "--split", "tests"], 2, "found 'tests', wanted test, validation, train"),
        (["polyp-128"], 4, "--data-root"),
    ],
)
def test_wrong_use_writes_nothing(call: Call, args: list[str], code: int, words: str) -> None:
    done = call("protocols", "export-conditions", *args, "--output", "out")
    assert done.code == code and words in done.err and done.err.count("\n") == 1 and list(Path().iterdir()) == []


def test_a_folder_in_use_is_refused(call: Call) -> None:
    Path("out").mkdir()
    Path("out", "mine").touch()
    done = call("protocols", "export-conditions", "phantom-128", "--output", "out")
    assert done.code == 2 and "not empty" in done.err
    assert [path.name for path in Path("out").iterdir()] == ["mine"]
