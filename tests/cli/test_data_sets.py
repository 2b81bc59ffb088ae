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


def test_check_ends_with_what_to_do_next(call: Call, folder: Path, polyp_files: Path) -> None:
    done = call("data", "check", folder, "--quiet")
    assert f"next: ccbench data prepare folder --source {folder} --output set-prepared" in done.out
    (folder / "masks" / "b.png").unlink()
    done = call("data", "check", folder, "--quiet")
    assert done.err.endswith("; or `ccbench data prepare` the other 2 pairs with --skip-faulty\n")
    done = call("data", "check", polyp_files / "Kvasir-SEG", "--quiet")
    assert f"--protocol polyp-128 --data-root {polyp_files}" in done.out


def test_each_file_left_out_is_named_with_its_reason(call: Call, folder: Path) -> None:
    (folder / "masks" / "a.png").unlink()
    (folder / "images" / "b.png").write_bytes(b"<html>404</html>")
    done = call("data", "prepare", "folder", "--source", folder, "--output", "out", "--skip-faulty", "--quiet")
    assert done.code == 0, done.err
    assert "left out images/a.png: images without a mask" in done.out
    assert "left out b: " in done.out and "not an image but a web page" in done.out
    lines = [json.loads(line) for line in Path("out", "left_out.jsonl").read_text().splitlines()]
    assert {line["id"]: line["fault"] for line in lines} == {
        "images/a.png": "images without a mask",
        "b": "files that cannot be decoded",
    }


def test_nothing_is_never_fit(call: Call, tmp_path: Path) -> None:
    for name in ("images", "masks"):
        (tmp_path / "none" / name).mkdir(parents=True)
        write_file(tmp_path / "deep" / name / "more" / "1.png", draw_pair(1)[name == "masks"])
    done = call("data", "check", "none", "--quiet")
    assert done.code == 4 and "none/images: holds no image; wanted" in done.err
    done = call("data", "check", "deep", "--quiet")
    assert done.code == 4 and "1 image in subfolders, such as images/more/1.png" in done.err


def test_masks_of_another_kind_are_fatal_and_read_where_it_is_said(call: Call, folder: Path) -> None:
    for seed, name in enumerate("abc"):
        write_file(folder / "masks" / f"{name}.png", 255 - draw_pair(seed)[1])
    done = call("data", "check", folder, "--quiet")
    assert done.code == 4 and "masks that are bright along their border" in done.out and "--polyp-is dark" in done.out
    done = call("data", "check", folder, "--quiet", "--polyp-is", "dark")
    assert done.code == 0 and "--polyp-is dark" in done.out
    prepare = ("data", "prepare", "folder", "--source", folder, "--output", "out", "--quiet")
    assert call(*prepare).code == 4
    assert call(*prepare, "--polyp-is", "dark").code == 0
    assert call("data", "check", "out", "--quiet").code == 0
    assert call("data", "check", folder, "--polyp-is", "black").code == 2


def test_exchanged_folders_are_fatal(call: Call, folder: Path) -> None:
    for old, new in (("images", "x"), ("masks", "images"), ("x", "masks")):
        (folder / old).rename(folder / new)
    done = call("data", "check", folder, "--quiet", "--json")
    assert done.code == 4 and {"two_valued_image", "full_mask"} & {
        f["kind"] for f in done.json["findings"] if f["fatal"]
    }
    captions = ("data", "caption", "--images", folder / "images", "--masks", folder / "masks", "-o", "c.jsonl")
    done = call(*captions)
    assert done.code == 4 and "two grey values" in done.err and not Path("c.jsonl").exists()
