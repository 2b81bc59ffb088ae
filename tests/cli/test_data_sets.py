"""`ccbench data list | check | prepare`, as a person and a script see them."""

import json
from pathlib import Path

import pytest

from calling import Call
from ccbench.data.sets import DATA_SETS
from fake_polyps import draw_pair, write_file, write_pair


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A plain folder of three pairs without a fault."""
    root = tmp_path / "set"
    for seed, name in enumerate("abc"):
        write_pair(root / "images" / f"{name}.png", root / "masks" / f"{name}.png", seed)
    return root


def test_list_shows_every_data_set(call: Call) -> None:
    shown = call("data", "list")
    assert shown.code == 0 and all(name in shown.out for name in DATA_SETS)
    assert "CC BY 4.0" in shown.out and "506" in shown.out and "images/ + masks/" in shown.out
    told = {entry["name"]: entry for entry in call("data", "list", "--json").json["data_sets"]}
    assert told.keys() == DATA_SETS.keys()
    assert told["cvc-clinicdb"]["splits"] == {"train": 506, "validation": 44, "test": 62}
    assert told["polypgen"]["shippable"] and not told["kvasir-seg"]["shippable"]


def test_check_shows_what_is_there_and_ends_well(call: Call, folder: Path) -> None:
    done = call("data", "check", folder)
    assert done.code == 0, done.err
    for words in ("a plain folder (folder)", "52x40 3", "PNG RGB 3", "0, 255", "a plain folder: fit for a benchmark"):
        assert words in done.out
    assert "check folder" in done.err and call("data", "check", folder, "--quiet").err == ""


def test_check_ends_in_code_four_after_the_table(call: Call, folder: Path) -> None:
    (folder / "masks" / "b.png").unlink()
    write_file(folder / "images" / "d.png", draw_pair(3)[0])
    done = call("data", "check", folder, "--quiet")
    assert done.code == 4
    assert "fatal" in done.out and "images/b.png, images/d.png" in done.out and "images without a mask" in done.out
    assert done.err.count("\n") == 1 and "not fit for a benchmark as it is: images without a mask (2)" in done.err
    told = call("data", "check", folder, "--quiet", "--json")
    assert told.code == 4 and told.json["fit"] is False
    assert told.json["findings"] == [
        {
            "kind": "image_alone",
            "fatal": True,
            "count": 2,
            "text": "images without a mask",
            "where": ["images/b.png", "images/d.png"],
        }
    ]


def test_check_takes_a_name_and_knows_the_split(call: Call, polyp_files: Path) -> None:
    done = call("data", "check", polyp_files, "--name", "cvc-clinicdb", "--quiet")
    assert done.code == 0 and "train 4, test 4, validation 2; every hash as listed" in done.out
    assert call("data", "check", polyp_files, "--quiet").code == 2  # holds two data sets
    wrong = call("data", "check", polyp_files, "--name", "clinicdb", "--quiet")
    assert wrong.code == 2 and "did you mean 'cvc-clinicdb'" in wrong.err
    assert call("data", "check", polyp_files / "none").code == 4


def test_prepare_writes_and_says_what(call: Call, folder: Path, tmp_path: Path) -> None:
    done = call("data", "prepare", "folder", "--source", folder, "--output", "out")
    assert done.code == 0, done.err
    assert (
        "wrote 3 pairs of a plain folder to out, each with a caption" in done.out and "licence: not stated" in done.out
    )
    assert "do not publish this folder" in done.err
    assert len((tmp_path / "out" / "metadata.jsonl").read_text().splitlines()) == 3
    again = call("data", "prepare", "folder", "--source", folder, "--output", "out")
    assert again.code == 2 and "exists and is not empty" in again.err


def test_prepare_leaves_faulty_pairs_out_when_told(call: Call, folder: Path) -> None:
    write_pair(folder / "x.png", folder / "masks" / "b.png", 1, size=(40, 40))
    refused = call("data", "prepare", "folder", "--source", folder, "--output", "out")
    assert refused.code == 4 and "--skip-faulty" in refused.err
    done = call("data", "prepare", "folder", "--source", folder, "--output", "out", "--skip-faulty", "--json")
    assert done.json["left_out"] == {"b": "size_mismatch"} and done.json["pairs"] == 2
    lines = Path("out", "left_out.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["b"]


def test_prepare_refuses_what_is_no_archive(call: Call, tmp_path: Path) -> None:
    (tmp_path / "a.rar").write_bytes(b"Rar!" + bytes(60))
    done = call("data", "prepare", "folder", "--source", "a.rar", "--output", "out")
    assert done.code == 4 and "a RAR archive, which is not read" in done.err and not Path("out").exists()
