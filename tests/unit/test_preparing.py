"""What `prepare` writes: lossless, without metadata, joined on ids, loadable by Hugging Face datasets, whole or not."""

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

import ccbench.data.prepare.prepared_set
from ccbench.base.images import content_sha256, read_image, sha256_pixels
from ccbench.base.mask_files import read_mask
from ccbench.data.captioners import Caption
from ccbench.data.prepare.prepared_set import prepare
from ccbench.data.sets import DATA_SETS, recognise
from ccbench.errors import DataError, UsageError
from ccbench.types import Image, Mask
from fake_polyps import draw_pair, write_pair
from real_files import real_data

FOLDER = DATA_SETS["folder"]
NAMES = ("phantom-train-2", "a b", "phantom-test-10")  # words that datasets would take for splits, and a space


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three pairs, JPEG images, two of them with captions."""
    root = tmp_path / "source"
    for seed, name in enumerate(NAMES):
        write_pair(root / "images" / f"{name}.jpg", root / "masks" / f"{name}.png", seed)
    write_captions(root, NAMES)
    return root


def write_captions(root: Path, names: tuple[str, ...]) -> None:
    lines = [json.dumps({"id": name, "caption": f"a polyp of {name}"}) for name in names]
    (root / "captions.jsonl").write_text("\n".join(lines))


def rows_of(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "metadata.jsonl").read_text().splitlines()]


def test_rows_tell_id_source_licence_and_hashes(source: Path, tmp_path: Path) -> None:
    done = prepare(FOLDER, source, tmp_path / "out")
    assert (done.pairs, done.captioned, done.left_out) == (3, 3, {})
    rows = {row["id"]: row for row in rows_of(tmp_path / "out")}
    assert rows.keys() == set(NAMES)
    for name, row in rows.items():
        image, mask = source / "images" / f"{name}.jpg", source / "masks" / f"{name}.png"
        assert (row["caption"], row["source"], row["licence"]) == (f"a polyp of {name}", "folder", "not stated")
        assert (row["source_image"], row["source_mask"]) == (f"images/{name}.jpg", f"masks/{name}.png")
        assert row["source_image_sha256"] == content_sha256(image)
        assert row["source_mask_sha256"] == row["mask_sha256"] == content_sha256(mask)
        assert row["image_sha256"] == sha256_pixels(read_image(image))
        assert np.array_equal(read_image(tmp_path / "out" / row["file_name"]), read_image(image))
        assert np.array_equal(read_mask(tmp_path / "out" / row["mask_file_name"]), read_mask(mask))
    assert not list(tmp_path.glob(".*"))  # no temporary folder stays


def test_names_of_splits_are_text_in_the_readme(source: Path, tmp_path: Path) -> None:
    prepare(FOLDER, source, tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    rows[0]["split"] = "train\n# better\n<img src=//x.example/b.png> [a](b)"
    (tmp_path / "out" / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    prepare(FOLDER, tmp_path / "out", tmp_path / "again")
    lines = (tmp_path / "again" / "README.md").read_text().splitlines()
    assert len(lines) == 8 and "<img" not in "".join(lines) and "](" not in "".join(lines).replace("\\](", "")


def test_hugging_face_datasets_load_it(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_DATASETS_DISABLE_PROGRESS_BARS"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    from datasets import load_dataset

    prepare(FOLDER, source, tmp_path / "out")
    loaded = load_dataset("imagefolder", data_dir=str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {name: split.num_rows for name, split in loaded.items()} == {"train": 3}
    for row, told in zip(loaded["train"], rows_of(tmp_path / "out"), strict=True):
        assert (row["id"], row["caption"], row["licence"]) == (told["id"], told["caption"], told["licence"])
        assert (row["image"].mode, row["mask"].mode) == ("RGB", "L")
        assert np.array_equal(np.asarray(row["image"]), read_image(source / told["source_image"]))
        assert np.array_equal(np.asarray(row["mask"]) == 255, read_mask(source / told["source_mask"]))


def test_ccbench_reads_it_back(source: Path, tmp_path: Path) -> None:
    prepare(FOLDER, source, tmp_path / "out")
    pairs = recognise(tmp_path / "out").list_pairs(tmp_path / "out")
    assert {pair.id: pair.caption for pair in pairs} == {name: f"a polyp of {name}" for name in NAMES}


def test_a_captioner_is_asked_only_where_there_is_no_caption(source: Path, tmp_path: Path) -> None:
    class Describe:
        id = "describe-1"

        def caption(self, image: Image, mask: Mask, id: str) -> Caption:
            return Caption(f"{image.shape[1]}x{image.shape[0]} {int(mask.sum())} {id}", "", "", {})

    describe = Describe()

    (source / "captions.jsonl").unlink()
    assert prepare(FOLDER, source, tmp_path / "none").captioned == 0
    assert {row["caption"] for row in rows_of(tmp_path / "none")} == {None}
    assert prepare(FOLDER, source, tmp_path / "all", describe).captioned == 3
    areas = {row["id"]: row["caption"] for row in rows_of(tmp_path / "all")}
    assert areas == {name: f"52x40 {int((draw_pair(seed)[1] > 0).sum())} {name}" for seed, name in enumerate(NAMES)}
    assert {row["captioner"] for row in rows_of(tmp_path / "all")} == {"describe-1"}
    write_captions(source, NAMES)
    prepare(FOLDER, source, tmp_path / "own", describe)
    assert all(row["caption"].startswith("a polyp of") for row in rows_of(tmp_path / "own"))
    assert {row["captioner"] for row in rows_of(tmp_path / "own")} == {None}


def test_faults_are_refused_or_left_out_by_name(source: Path, tmp_path: Path) -> None:
    shutil.copy(source / "images" / "a b.jpg", source / "images" / "phantom-train-2.jpg")
    with pytest.raises(DataError, match=r"holds groups of equal images with different masks \(1\); .* --skip-faulty"):
        prepare(FOLDER, source, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    done = prepare(FOLDER, source, tmp_path / "out", skip_faulty=True)
    assert done.left_out == {"a b": "contradiction", "phantom-train-2": "contradiction"}
    assert [row["id"] for row in rows_of(tmp_path / "out")] == ["phantom-test-10"]
    listed = [json.loads(line) for line in (tmp_path / "out" / "left_out.jsonl").read_text().splitlines()]
    assert [line["id"] for line in listed] == ["a b", "phantom-train-2"] and "different masks" in listed[0]["fault"]


def test_nothing_left_is_refused(source: Path, tmp_path: Path) -> None:
    for file in (source / "images").iterdir():
        file.write_bytes(b"no image")
    with pytest.raises(DataError, match="holds no pair to prepare"):
        prepare(FOLDER, source, tmp_path / "out", skip_faulty=True)


def test_it_is_written_whole_or_not_at_all(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    def fail(path: Path, *args: object) -> str:
        asked.append(path)
        raise KeyboardInterrupt

    monkeypatch.setattr(ccbench.data.prepare.prepared_set, "write_mask", fail)
    with pytest.raises(KeyboardInterrupt):
        prepare(FOLDER, source, tmp_path / "out")
    assert asked and sorted(path.name for path in tmp_path.iterdir()) == ["source"]


def test_a_folder_that_is_not_empty_is_never_touched(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    prepare(FOLDER, source, tmp_path / "out")  # an empty one is fine
    before = (tmp_path / "out" / "metadata.jsonl").read_bytes()
    for output in (tmp_path / "out", source / "captions.jsonl"):
        with pytest.raises(UsageError, match="exists and is not empty"):
            prepare(FOLDER, source, output)
    assert (tmp_path / "out" / "metadata.jsonl").read_bytes() == before


def test_an_archive_is_unpacked_and_cleared_away(source: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for file in source.rglob("*"):
            archive.write(file, Path("wrapped") / file.relative_to(source))
    prepare(FOLDER, tmp_path / "set.zip", tmp_path / "new" / "out")
    prepare(FOLDER, source, tmp_path / "plain")
    assert rows_of(tmp_path / "new" / "out") == rows_of(tmp_path / "plain")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out"]


def test_a_package_split_goes_into_the_rows(polyp_files: Path, tmp_path: Path) -> None:
    prepare(DATA_SETS["cvc-clinicdb"], polyp_files / "CVC-ClinicDB", tmp_path / "out")
    rows = {row["id"]: (row["cluster"], row["split"]) for row in rows_of(tmp_path / "out")}
    assert rows["clinicdb-5"] == ("clinicdb-seq04", "test") and rows["clinicdb-7"] == ("clinicdb-seq13", "validation")
    assert "must not be passed on" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.skipif(real_data() is None, reason="the real data sets are not here")
def test_polypgen_originals_lose_their_exif_and_nothing_else(tmp_path: Path) -> None:
    root = real_data()
    assert root is not None
    source = tmp_path / "source"
    for kind in ("images", "masks"):  # EXIF; a space in the name; an RGB mask
        for file in ("data_C1/{0}_C1/100S0003{1}.jpg", "data_C4/{0}_C4/31_endocv2021_positive_329 2{1}.jpg"):
            path = file.format(kind, "_mask" if kind == "masks" else "")
            (source / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / "PolypGen-original-sample" / path, source / path)
    prepare(DATA_SETS["polypgen"], source, tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    assert [(row["id"], row["part"]) for row in rows] == [
        ("polypgen-c1-100S0003", "c1"),
        ("polypgen-c4-31_endocv2021_positive_329 2", "c4"),
    ]
    assert all(row["licence"].startswith("CC BY 4.0 (Ali et al.") for row in rows)
    with PIL.Image.open(source / rows[0]["source_image"]) as file:
        assert file.getexif()
    for row in rows:
        image, mask = (tmp_path / "out" / row[key] for key in ("file_name", "mask_file_name"))
        assert b"OLYMPUS" not in image.read_bytes() and b"eXIf" not in image.read_bytes()
        assert np.array_equal(read_image(image), read_image(source / row["source_image"]))
        with PIL.Image.open(mask) as file:
            assert file.mode == "L" and set(np.unique(np.asarray(file))) <= {0, 255}
