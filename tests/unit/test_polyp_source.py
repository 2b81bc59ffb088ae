"""polyp-128: Kvasir-SEG and CVC-ClinicDB as they lie on disk; every way in which files do not fit is named."""

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from ccbench.base.image_folders import list_images
from ccbench.base.images import read_image
from ccbench.data.captioners import MeasuredCaptioner
from ccbench.data.name_matching import PairFiles
from ccbench.data.pairs import LazyPairs
from ccbench.data.polyp_source import LEAKING
from ccbench.data.sets.splits import read_split
from ccbench.data.split import DataSplit, Split, open_split
from ccbench.errors import DataError
from ccbench.pipeline.make_run import open_run, run_config
from ccbench.pipeline.session import Session
from ccbench.protocols.protocol import find_protocol
from fake_polyps import write_file, write_grey_tiff, write_pair
from real_files import real_data

POLYP = find_protocol("polyp-128")
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
IDS = {
    "train": "3257fbe790fc5cfd0d036c0742e02b635a29ea2b2f32eccd30082196e877fe0f",
    "validation": "7aff00de2ded59a4fc4149c254031c4db67c25ed1cb5b4f61a3f62e3858aa63e",
    "test": "d94571ea27397cf716e4a1b2cd39684a14484dc394329f0e4bd0f7ac17be2186",
}


def files_of(split: DataSplit) -> list[PairFiles]:
    assert isinstance(split.pairs, LazyPairs)
    return [files for files, _ in split.pairs.items]


def test_the_splits_share_nothing_and_leave_nothing_out(polyp_files: Path) -> None:
    ids = [pair.id for split in SPLITS for pair in files_of(open_split(POLYP, split, polyp_files))]
    assert len(ids) == len(set(ids)) == 26
    assert Counter(name.split("-")[0] for name in ids) == {"kvasir": 16, "clinicdb": 10}


def test_leaking_training_images_are_left_out(polyp_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = [pair.id for pair in files_of(open_split(POLYP, "train", polyp_files))]
    monkeypatch.setattr("ccbench.data.polyp_source.LEAKING", {before[1]: "kvasir-cju0001"})
    assert [pair.id for pair in files_of(open_split(POLYP, "train", polyp_files))] == before[:1] + before[2:]


def test_each_leaking_image_is_for_training_and_what_it_shows_is_not() -> None:
    rows = read_split("kvasir-seg")
    assert {rows[leaking].split for leaking in LEAKING} == {"train"}
    assert Counter(rows[shown].split for shown in LEAKING.values()) == {"test": 4, "validation": 4}


def test_splits_and_clusters_are_those_of_the_packages_files(polyp_files: Path) -> None:
    clusters = {split: {f.cluster for f in files_of(open_split(POLYP, split, polyp_files))} for split in SPLITS}
    assert clusters == {
        "train": {None, "clinicdb-seq01"},
        "validation": {None, "clinicdb-seq13"},
        "test": {None, "clinicdb-seq04", "clinicdb-seq24"},
    }
    test = {pair.id for pair in files_of(open_split(POLYP, "test", polyp_files))}
    assert {name for name in test if name.startswith("kvasir")} == {f"kvasir-cju{i:04d}" for i in (13, 14, 15)}


def test_tiff_originals_and_png_conversion_are_one_data_set(polyp_files: Path) -> None:
    before = [open_split(POLYP, split, polyp_files) for split in SPLITS]
    ids, manifests = [[pair.id for pair in files_of(s)] for s in before], [s.manifest_sha256 for s in before]
    png, tif = (polyp_files / "CVC-ClinicDB" / name for name in ("PNG", "TIF"))
    for file in list_images(png / "Original"):
        write_grey_tiff(tif / "Original" / f"{file.stem}.tif", read_image(file))
    for file in list_images(png / "Ground Truth"):
        write_file(tif / "Ground Truth" / f"{file.stem}.tif", read_image(file)[..., 0])
    shutil.rmtree(png)
    after = [open_split(POLYP, split, polyp_files) for split in SPLITS]
    assert [[pair.id for pair in files_of(split)] for split in after] == ids
    assert [split.manifest_sha256 for split in after] == manifests
    assert any(file.image.suffix == ".tif" for file in files_of(after[0]))


def test_a_pair_is_squashed_and_its_mask_thresholded(polyp_files: Path) -> None:
    """The mask of the JPEG pair: nearest sample of the 52 x 40 mask above 127, computed here by index."""
    split = open_split(POLYP, "test", polyp_files)
    pair = split.pairs[[f.id for f in files_of(split)].index("kvasir-cju0013")]
    assert pair.image.shape == (128, 128, 3)
    with PIL.Image.open(polyp_files / "Kvasir-SEG" / "masks" / "cju0013.jpg") as file:
        mask = np.asarray(file) > 127
    rows, columns = ((np.arange(128) + 0.5) * 40 / 128).astype(int), ((np.arange(128) + 0.5) * 52 / 128).astype(int)
    assert np.array_equal(pair.condition.mask, mask[np.ix_(rows, columns)])
    wanted = MeasuredCaptioner("measured-1").caption(pair.image, pair.condition.mask, "kvasir-cju0013")
    assert pair.condition.prompt == wanted.text
    assert pair.source == "kvasir-seg"
    assert pair.image[pair.condition.mask].mean() > pair.image[~pair.condition.mask].mean()  # drawn brighter there


def test_a_limit_keeps_the_first_of_one_stable_order_with_both_data_sets(polyp_files: Path) -> None:
    whole = [pair.id for pair in files_of(open_split(POLYP, "train", polyp_files))]
    few = [pair.id for pair in files_of(open_split(POLYP, "train", polyp_files, 4))]
    assert few == whole[:4]
    assert {name.split("-")[0] for name in few} == {"kvasir", "clinicdb"}


def test_the_manifest_sees_pixels_masks_and_captioner(polyp_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = [open_split(POLYP, "test", polyp_files).manifest_sha256]
    assert open_split(POLYP, "test", polyp_files).manifest_sha256 == seen[0]
    kvasir = polyp_files / "Kvasir-SEG"
    monkeypatch.setattr(
        "ccbench.data.polyp_source.check_hashes", lambda *args: None
    )  # as if another release was listed
    for folder in ("images", "masks"):
        with (kvasir / folder / "cju0013.jpg").open("ab") as file:
            file.write(b"\0")
        seen.append(open_split(POLYP, "test", polyp_files).manifest_sha256)
    monkeypatch.setattr(MeasuredCaptioner, "id", "measured-0")
    seen.append(open_split(POLYP, "test", polyp_files).manifest_sha256)
    assert len(set(seen)) == 4


def exchange(root: Path) -> None:
    png = root / "CVC-ClinicDB" / "PNG"
    for old, new in (("Original", "x"), ("Ground Truth", "Original"), ("x", "Ground Truth")):
        (png / old).rename(png / new)


def other_image(root: Path) -> None:
    write_pair(root / "CVC-ClinicDB" / "PNG" / "Original" / "1.png", root / "unused.png", 55)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (exchange, r"is the mask of 'clinicdb-\d+', and .* its image; exchange the folders"),
        (other_image, r"Original/1\.png: is not the image of 'clinicdb-1' that cvc-clinicdb holds"),
    ],
)
def test_other_files_than_the_listed_ones_are_refused_before_any_work(
    polyp_files: Path, harm: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    config = run_config("train-copy", POLYP.name)
    open_run(config, Session(polyp_files), tmp_path / "whole").close()
    harm(polyp_files)
    with pytest.raises(DataError, match=message):
        open_run(config, Session(polyp_files), tmp_path / "harmed")
    assert not (tmp_path / "harmed").exists()


def test_opening_decodes_nothing(polyp_files: Path) -> None:
    (polyp_files / "Kvasir-SEG" / "images" / "cju0013.jpg").write_bytes(b"not an image")
    split = open_split(POLYP, "test", polyp_files)
    bad = [f.id for f in files_of(split)].index("kvasir-cju0013")
    assert split.pairs[bad - 1].image.shape == (128, 128, 3)
    with pytest.raises(DataError, match=r"cju0013\.jpg"):
        split.pairs[bad]


def test_a_slice_stays_lazy(polyp_files: Path) -> None:
    split = open_split(POLYP, "test", polyp_files)
    part = split.pairs[1:3]
    assert isinstance(part, LazyPairs)
    assert [pair.condition.id for pair in part] == [pair.condition.id for pair in split.pairs][1:3]


def test_a_missing_root_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--data-root: protocol 'polyp-128' reads images from disk"):
        open_split(POLYP, "test", None)
    with pytest.raises(DataError, match=r"--data-root .*nowhere: found no folder Kvasir-SEG/"):
        open_split(POLYP, "test", tmp_path / "nowhere")


def truncate(root: Path) -> None:
    file = root / "CVC-ClinicDB" / "PNG" / "Original" / "6.png"
    file.write_bytes(file.read_bytes()[:-400])


def other_size(root: Path) -> None:
    png = root / "CVC-ClinicDB" / "PNG"
    write_pair(root / "unused.png", png / "Ground Truth" / "6.png", 1, size=(40, 40))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (truncate, r"Original/6\.png"),
        (
            other_size,
            r"Ground Truth/6\.png: the mask is 40x40 pixels, its image 6\.png 52x40; .*replace the wrong file",
        ),
    ],
)
def test_a_bad_file_is_named_when_its_pair_is_read(
    polyp_files: Path, harm: Callable[[Path], None], message: str
) -> None:
    harm(polyp_files)
    split = open_split(POLYP, "test", polyp_files)
    with pytest.raises(DataError, match=message):
        split.pairs[[f.id for f in files_of(split)].index("clinicdb-6")]


def remove(path: str) -> Callable[[Path], None]:
    def apply(root: Path) -> None:
        target = root / path
        shutil.rmtree(target) if target.is_dir() else target.unlink()

    return apply


def empty(path: str) -> Callable[[Path], None]:
    def apply(root: Path) -> None:
        for file in (root / path).iterdir():
            file.unlink()

    return apply


def copy(source: str, target: str) -> Callable[[Path], None]:
    def apply(root: Path) -> None:
        shutil.copy(root / source, root / target)

    return apply


def drop(folder: str, name: str) -> Callable[[Path], None]:
    """Remove a pair, image and mask."""

    def apply(root: Path) -> None:
        for file in (root / folder).rglob(name):
            file.unlink()

    return apply


def add_pair(image: str) -> Callable[[Path], None]:
    def apply(root: Path) -> None:
        write_pair(root / image, root / image.replace("images", "masks"), 5)

    return apply


KVASIR, CLINIC = "Kvasir-SEG", "CVC-ClinicDB"


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (remove(f"{KVASIR}/masks/cju0003.jpg"), r"images/cju0003\.jpg: found no mask of that name; add it"),
        (remove(f"{CLINIC}/PNG/Original/3.png"), r"Ground Truth/3\.png: found no image of that name; add it"),
        (copy(f"{KVASIR}/images/cju0003.jpg", f"{KVASIR}/images/cju0003.png"), r"cju0003\.\w+ has the same name"),
        (empty(f"{KVASIR}/images"), r"Kvasir-SEG/images: holds no image; wanted files"),
        (remove(f"{KVASIR}/masks"), r"Kvasir-SEG: found no Kvasir-SEG there; wanted images/ \+ masks/"),
        (remove(f"{CLINIC}/PNG"), r"CVC-ClinicDB: found no CVC-ClinicDB there; wanted PNG/Original/ \+ PNG/Ground"),
        (remove(CLINIC), r"found no folder CVC-ClinicDB/ there"),
        (drop(f"{CLINIC}/PNG", "3.png"), r"CVC-ClinicDB: 1 of the 10 pairs of cvc-clinicdb are missing, such as 'clin"),
        (add_pair(f"{KVASIR}/images/cju9999.jpg"), r"cju9999\.jpg: kvasir-seg has no pair 'kvasir-cju9999'; remove it"),
    ],
)
@pytest.mark.parametrize("split", ["train", "test"])
def test_files_that_do_not_fit_are_named(
    polyp_files: Path, split: Split, harm: Callable[[Path], None], message: str
) -> None:
    harm(polyp_files)
    with pytest.raises(DataError, match=message) as caught:
        open_split(POLYP, split, polyp_files)
    assert "\n" not in str(caught.value)


def test_an_empty_split_is_a_data_error(polyp_files: Path) -> None:
    for table in (polyp_files.parent / "splits").iterdir():
        table.write_text(table.read_text().replace(",validation,", ",train,"))
    with pytest.raises(DataError, match="the validation split of protocol 'polyp-128' is empty"):
        open_split(POLYP, "validation", polyp_files)


@pytest.mark.skipif(real_data() is None, reason="the real data sets are not here")
def test_the_real_data_sets_open() -> None:
    """Counts: 900 / 100 by the published Kvasir-SEG lists, 550 / 62 frames of ClinicDB, 8 % of each side validated.

    Eight leaking training images are left out. The digests are of the order and the ids.
    """
    root = real_data()
    assert root is not None
    found = {split: files_of(open_split(POLYP, split, root)) for split in SPLITS}
    counts = {split: Counter(pair.id.split("-")[0] for pair in files) for split, files in found.items()}
    assert counts == {
        "train": {"kvasir": 820, "clinicdb": 506},
        "validation": {"kvasir": 72, "clinicdb": 44},
        "test": {"kvasir": 100, "clinicdb": 62},
    }
    ids = {split: hashlib.sha256("\n".join(f.id for f in files).encode()).hexdigest() for split, files in found.items()}
    assert ids == IDS
    for split in SPLITS:
        first = open_split(POLYP, split, root, 2).pairs
        assert all(pair.image.shape == (128, 128, 3) and pair.condition.mask.any() for pair in first)
