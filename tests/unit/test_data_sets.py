"""Every data set in the layouts in which people have it: real files where they are here, drawn ones otherwise."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ccbench.base.images import read_image
from ccbench.base.mask_files import read_mask
from ccbench.data.name_matching import PairFiles
from ccbench.data.sets import DATA_SETS, find_data_set, recognise
from ccbench.data.sets.splits import read_split
from ccbench.errors import DataError, UsageError
from fake_polyps import draw_pair, write_file, write_grey_tiff, write_pair
from real_files import real_data

needs_real_data = pytest.mark.skipif(real_data() is None, reason="the real data sets are not here")


def write_pairs(root: Path, images: str, masks: str, names: list[str]) -> None:
    """Write pairs; `{}` in the paths is the name."""
    for seed, name in enumerate(names):
        write_pair(root / images.format(name), root / masks.format(name), seed)


def write_colondb(root: Path) -> None:
    """Frames, masks and contours flat in one folder, `.tif` and `.tiff` mixed, numbers of one to three digits."""
    for number, (suffix, mask_suffix) in {1: ("tiff", "tif"), 2: ("tif", "tiff"), 10: ("tiff", "tiff")}.items():
        write_pair(root / f"{number}.{suffix}", root / f"p{number}.{mask_suffix}", number)
        write_file(root / f"cp{number}.{suffix}", draw_pair(number)[1])


def write_bkai(root: Path) -> None:
    """JPEG masks in colour, red and green; test images without masks."""
    for seed, (name, channel) in enumerate({"a1f": 0, "b2e": 1}.items()):
        image, mask = draw_pair(seed, (80, 64))
        colour = np.zeros((64, 80, 3), dtype=np.uint8)
        colour[..., channel] = mask
        write_file(root / "train" / "train" / f"{name}.jpeg", image)
        write_file(root / "train_gt" / "train_gt" / f"{name}.jpeg", colour)
    write_file(root / "test" / "test" / "c3d.jpeg", draw_pair(9)[0])


def write_pranet(root: Path) -> None:
    write_pairs(root, "TrainDataset/image/{}.png", "TrainDataset/mask/{}.png", ["1", "cju1"])
    for name in ("CVC-300", "CVC-ClinicDB", "CVC-ColonDB", "ETIS-LaribPolypDB", "Kvasir"):
        write_pairs(root, f"TestDataset/{name}/images/{{}}.png", f"TestDataset/{name}/masks/{{}}.png", ["1"])


def write_endoscene(root: Path) -> None:
    write_pairs(root, "CVC-300/bbdd/{}.bmp", "CVC-300/gtpolyp/{}.bmp", ["149", "2"])
    write_pairs(root, "CVC-612/bbdd/{}.bmp", "CVC-612/gtpolyp/{}.tif", ["2"])
    write_file(root / "CVC-300" / "gtlumen" / "2.bmp", draw_pair(0)[1])


def write_clinicdb_tif(root: Path) -> None:
    for frame in ("1", "2"):
        image, mask = draw_pair(int(frame))
        write_grey_tiff(root / "Original" / f"{frame}.tif", image)
        write_file(root / "Ground Truth" / f"{frame}.tif", mask)


def pairs_at(images: str, masks: str, names: list[str]) -> Callable[[Path], None]:
    return lambda root: write_pairs(root, images, masks, names)


KVASIR = sorted(name.removeprefix("kvasir-") for name in read_split("kvasir-seg"))[::50]  # of the release's own names
LAYOUTS: list[tuple[str, str, Callable[[Path], None], list[str]]] = [
    ("kvasir-seg", "any", pairs_at("images/{}.jpg", "masks/{}.jpg", KVASIR), [f"kvasir-{name}" for name in KVASIR]),
    ("cvc-clinicdb", "any", write_clinicdb_tif, ["clinicdb-1", "clinicdb-2"]),
    ("cvc-clinicdb", "any", pairs_at("PNG/Original/{}.png", "PNG/Ground Truth/{}.png", ["3"]), ["clinicdb-3"]),
    ("cvc-clinicdb", "any", pairs_at("TIF/original/{}.tif", "TIF/GroundTruth/{}.tif", ["3"]), ["clinicdb-3"]),
    ("cvc-clinicdb", "CVC-ClinicDB", pairs_at("images/{}.png", "masks/{}.png", ["3"]), ["clinicdb-3"]),
    ("endoscene", "any", write_endoscene, ["endoscene-cvc-300-149", "endoscene-cvc-300-2", "endoscene-cvc-612-2"]),
    ("cvc-colondb", "any", write_colondb, ["colondb-1", "colondb-10", "colondb-2"]),
    ("cvc-colondb", "cvc_colondb", pairs_at("images/{}.png", "masks/{}.png", ["3"]), ["colondb-3"]),
    (
        "etis-larib",
        "any",
        pairs_at("ETIS-LaribPolypDB/{}.tif", "Ground Truth/p{}.tif", ["1", "2"]),
        ["etis-1", "etis-2"],
    ),
    ("etis-larib", "ETIS-LaribPolypDB", pairs_at("images/{}.png", "masks/{}.png", ["7"]), ["etis-7"]),
    (
        "polypgen",
        "any",
        pairs_at("data_C4/images_C4/{}.jpg", "data_C4/masks_C4/{}_mask.jpg", ["31_positive_329 2", "31_positive_329"]),
        ["polypgen-c4-31_positive_329", "polypgen-c4-31_positive_329 2"],
    ),
    ("bkai-igh", "any", write_bkai, ["bkai-a1f", "bkai-b2e"]),
    ("bkai-igh", "any", pairs_at("train/{}.jpeg", "train_gt/{}.jpeg", ["a"]), ["bkai-a"]),
    (
        "pranet-release",
        "any",
        write_pranet,
        [
            *("pranet-train-1", "pranet-train-cju1", "pranet-test-cvc-300-1", "pranet-test-cvc-clinicdb-1"),
            *("pranet-test-cvc-colondb-1", "pranet-test-etis-laribpolypdb-1", "pranet-test-kvasir-1"),
        ],
    ),
    ("folder", "any", pairs_at("images/{}.png", "masks/{}.tiff", ["b", "a"]), ["a", "b"]),
]


@pytest.mark.parametrize(("name", "folder", "write", "ids"), LAYOUTS)
def test_each_layout_is_recognised_and_listed(
    tmp_path: Path, name: str, folder: str, write: Callable[[Path], None], ids: list[str]
) -> None:
    root = tmp_path / folder
    write(root)
    (root / ".DS_Store").write_bytes(b"")
    data_set = recognise(root)
    assert data_set.name == name
    assert [pair.id for pair in data_set.list_pairs(root)] == ids
    wrapper = tmp_path / "unpacked"  # as an archive leaves it: a lone folder, and macOS's beside it
    wrapper.mkdir()
    (wrapper / "__MACOSX").mkdir()
    root.rename(wrapper / folder)
    assert [pair.id for pair in data_set.list_pairs(wrapper)] == ids


def test_pairs_join_on_the_name_and_never_on_the_order(tmp_path: Path) -> None:
    """`10` sorts before `2`, and `p` masks sort otherwise than their frames."""
    write_colondb(tmp_path)
    pairs = DATA_SETS["cvc-colondb"].list_pairs(tmp_path)
    for pair, number in zip(pairs, (1, 10, 2), strict=True):
        image, mask = draw_pair(number)
        assert np.array_equal(read_image(pair.image), image) and np.array_equal(read_mask(pair.mask), mask > 0)
    write_pairs(tmp_path / "p", "data_C1/images_C1/{}.jpg", "data_C1/masks_C1/{}_mask.png", ["a", "a_b", "a 2"])
    for pair in DATA_SETS["polypgen"].list_pairs(tmp_path / "p"):
        assert pair.mask.stem == f"{pair.image.stem}_mask" and pair.part == "c1"


def test_red_and_green_masks_keep_their_polyps(tmp_path: Path) -> None:
    write_bkai(tmp_path)
    for seed, pair in enumerate(DATA_SETS["bkai-igh"].list_pairs(tmp_path)):
        drawn = draw_pair(seed, (80, 64))[1] > 0
        found = read_mask(pair.mask)
        assert (found & drawn).sum() / (found | drawn).sum() > 0.9  # JPEG halves the colour's resolution


def test_the_release_splits_pranet_and_the_package_its_own(tmp_path: Path, polyp_files: Path) -> None:
    write_pranet(tmp_path / "pranet")
    splits = Counter(pair.split for pair in DATA_SETS["pranet-release"].list_pairs(tmp_path / "pranet"))
    assert splits == {"train": 2, "test": 5}
    clinic = DATA_SETS["cvc-clinicdb"].list_pairs(polyp_files)  # a data root: the folder with its name is taken
    assert {pair.cluster: pair.split for pair in clinic} == {
        "clinicdb-seq01": "train",
        "clinicdb-seq04": "test",
        "clinicdb-seq13": "validation",
        "clinicdb-seq24": "test",
    }


def test_files_alone_and_twins_are_kept_apart(tmp_path: Path) -> None:
    write_colondb(tmp_path)
    (tmp_path / "p10.tiff").unlink()
    (tmp_path / "1.tiff").rename(tmp_path / "77.tiff")
    (tmp_path / "p2.tif").write_bytes((tmp_path / "p2.tiff").read_bytes())
    files = DATA_SETS["cvc-colondb"].scan(tmp_path).files
    assert [pair.id for pair in files.pairs] == ["colondb-2"]
    assert [path.name for path in files.images_alone] == ["10.tiff", "77.tiff"]
    assert [path.name for path in files.masks_alone] == ["p1.tif"]
    assert [(one.name, other.name) for one, other in files.twins] == [("p2.tif", "p2.tiff")]
    with pytest.raises(DataError, match=r"p2\.tiff: p2\.tif has the same name"):
        DATA_SETS["cvc-colondb"].list_pairs(tmp_path)


def test_a_plain_folder_has_captions_or_metadata(tmp_path: Path) -> None:
    write_pairs(tmp_path, "images/{}.png", "masks/{}.png", ["a", "b"])
    folder = DATA_SETS["folder"]
    assert [pair.caption for pair in folder.list_pairs(tmp_path)] == [None, None]
    (tmp_path / "captions.jsonl").write_text(json.dumps({"id": "b", "caption": "a polyp"}))
    assert [pair.caption for pair in folder.list_pairs(tmp_path)] == [None, "a polyp"]
    row = {
        "file_name": "images/b.png",
        "id": "x 1",
        "caption": "new",
        "part": "c2",
        "cluster": "v",
        "split": "test",
    }
    (tmp_path / "captions.jsonl").unlink()
    (tmp_path / "metadata.jsonl").write_text(json.dumps(row))
    files = tmp_path / "images" / "b.png", tmp_path / "masks" / "b.png"
    assert folder.list_pairs(tmp_path)[1] == PairFiles("x 1", *files, "new", "v", "c2", "test")
    twice = {**row, "file_name": "images/a.png"}
    for wrong, words in (
        ({**row, "file_name": "images/c.png"}, "'images/c.png' is no image below"),
        ({"caption": "y"}, "found no id that is text"),
        (twice, "a second row of id 'x 1'"),
    ):
        (tmp_path / "metadata.jsonl").write_text(json.dumps(row) + "\n" + json.dumps(wrong))
        with pytest.raises(DataError, match=rf"metadata\.jsonl:2: {words}"):
            folder.list_pairs(tmp_path)


def test_what_is_no_data_set_is_refused(tmp_path: Path, polyp_files: Path) -> None:
    with pytest.raises(DataError, match="not a folder"):
        recognise(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="holds CVC-ClinicDB, Kvasir-SEG; give one of these folders"):
        recognise(polyp_files)
    with pytest.raises(DataError, match="found no layout of a data set"):
        recognise(polyp_files / "Kvasir-SEG" / "images")
    with pytest.raises(DataError, match="found no ETIS-Larib there; wanted ETIS-LaribPolypDB/ "):
        DATA_SETS["etis-larib"].list_pairs(polyp_files)  # images/ and masks/ of another data set are not taken for it
    write_pairs(tmp_path / "two", "images/{}.png", "masks/{}.png", ["1"])
    write_colondb(tmp_path / "two")
    write_clinicdb_tif(tmp_path / "two")
    with pytest.raises(UsageError, match="could be cvc-clinicdb, cvc-colondb; say which with --name"):
        recognise(tmp_path / "two")


def test_a_release_is_known_by_its_names_in_a_folder_of_any_name(tmp_path: Path) -> None:
    """By all its names: 23 of Kvasir-SEG's thousand begin otherwise than the rest."""
    names = [name.removeprefix("kvasir-") for name in read_split("kvasir-seg")]
    assert len({name[:2] for name in names}) > 1
    for name in names:
        for kind in ("images", "masks"):
            (tmp_path / "data" / kind).mkdir(parents=True, exist_ok=True)
            (tmp_path / "data" / kind / f"{name}.jpg").write_bytes(b"")
    assert recognise(tmp_path / "data").name == "kvasir-seg"
    write_pairs(tmp_path / "own", "images/{}.jpg", "masks/{}.jpg", ["cju0", "cju1"])  # looks like theirs, and is not
    assert recognise(tmp_path / "own").name == "folder"


def test_pranets_test_sets_given_alone_are_five(tmp_path: Path) -> None:
    write_pranet(tmp_path / "release")
    for root in (tmp_path / "release" / "TestDataset", tmp_path / "release"):
        data_set = recognise(root)
        assert data_set.name == "pranet-release"
        assert len({pair.part for pair in data_set.list_pairs(root)} - {"train"}) == 5
    (tmp_path / "release" / "TestDataset" / "Kvasir").rename(tmp_path / "Kvasir")
    with pytest.raises(UsageError, match="holds CVC-ClinicDB, CVC-ColonDB, ETIS-LaribPolypDB; give one of these"):
        recognise(tmp_path / "release" / "TestDataset")  # CVC-300 alone would be EndoScene, with three sets dropped


def test_folders_of_splits_and_of_patients_are_parts(tmp_path: Path) -> None:
    for split, images, masks in (("train", "imgs", "labels"), ("Val", "images", "masks"), ("test", "image", "label")):
        write_pairs(tmp_path / "s", f"{split}/{images}/{{}}.png", f"{split}/{masks}/{{}}_mask.png", ["1"])
    pairs = recognise(tmp_path / "s").list_pairs(tmp_path / "s")
    assert {pair.id: pair.split for pair in pairs} == {"train-1": "train", "Val-1": "validation", "test-1": "test"}
    for split in ("train", "val", "test"):
        write_pairs(tmp_path / "i", f"Images/{split}/{{}}.png", f"masks/{split}/{{}}.png", ["1"])
    pairs = recognise(tmp_path / "i").list_pairs(tmp_path / "i")
    assert {pair.id: pair.split for pair in pairs} == {"train-1": "train", "val-1": "validation", "test-1": "test"}
    (tmp_path / "i" / "masks" / "test").rename(tmp_path / "i" / "masks" / "testing")  # no split is dropped unsaid
    with pytest.raises(DataError):
        recognise(tmp_path / "i").scan(tmp_path / "i")
    for patient in ("patient_01", "patient_02"):
        write_pairs(tmp_path / "p", f"{patient}/inputs/{{}}.png", f"{patient}/gt/{{}}.png", ["1"])
    pairs = recognise(tmp_path / "p").list_pairs(tmp_path / "p")
    assert [(pair.id, pair.cluster, pair.split) for pair in pairs] == [
        ("patient_01-1", "patient_01", None),
        ("patient_02-1", "patient_02", None),
    ]
    write_pairs(tmp_path / "flat", "{}.png", "{}_mask.png", ["a", "b"])
    assert [pair.id for pair in recognise(tmp_path / "flat").list_pairs(tmp_path / "flat")] == ["a", "b"]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["train/1.jpg", "annotations/instances_train.json"], "COCO annotations"),
        (["images/1.jpg", "labels/1.txt"], "YOLO labels"),
        (["JPEGImages/1.jpg", "SegmentationClass/1.png", "Annotations/1.xml"], "the layout of Pascal VOC"),
        (["images/1.jpg", "Annotations/1.xml"], "Pascal VOC boxes"),
        (["TrainDataset/Frame/case1/1.jpg", "TrainDataset/GT/case1/1.png"], "the layout of SUN-SEG"),
        (["1.jpg", "1.json"], "LabelMe annotations"),
        (["a/1.jpg", "b/2.jpg"], r"no layout of a data set \(a/, b/ and 0 images\)"),
    ],
)
def test_layouts_of_other_tools_are_named(tmp_path: Path, files: list[str], words: str) -> None:
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(b"")
    with pytest.raises(DataError, match=words) as caught:
        recognise(tmp_path).scan(tmp_path)
    assert "\n" not in str(caught.value)


def test_an_empty_data_set_is_refused(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    with pytest.raises(DataError, match="images: holds no image; wanted files ending in"):
        DATA_SETS["folder"].list_pairs(tmp_path)


def test_an_unknown_name_says_the_nearest() -> None:
    assert find_data_set("polypgen").title == "PolypGen"
    for name, near in (
        ("Kvasir", "kvasir-seg"),
        ("cvc_clinic_db", "cvc-clinicdb"),
        ("ETIS-LaribPolypDB", "etis-larib"),
    ):
        with pytest.raises(UsageError, match=f"did you mean '{near}'"):
            find_data_set(name)
    with pytest.raises(UsageError, match="known: kvasir-seg, cvc-clinicdb"):
        find_data_set("xyz")


def test_the_table_is_whole() -> None:
    assert len({data_set.prefix for data_set in DATA_SETS.values()}) == len(DATA_SETS) == 9
    assert [name for name, data_set in DATA_SETS.items() if data_set.shippable] == ["polypgen"]
    assert all(data_set.licence and data_set.layouts for data_set in DATA_SETS.values())


@needs_real_data
def test_the_real_files_are_listed() -> None:
    root = real_data()
    assert root is not None
    for folder, name, count in (
        ("Kvasir-SEG", "kvasir-seg", 1000),
        ("CVC-ClinicDB", "cvc-clinicdb", 612),
        ("CVC-ClinicDB/TIF", "cvc-clinicdb", 8),
        ("PolypGen-384", "polypgen", 1449),
        ("PolypGen-original-sample", "polypgen", 16),
    ):
        data_set = recognise(root / folder)
        assert (data_set.name, len(data_set.list_pairs(root / folder))) == (name, count)
    sample = DATA_SETS["polypgen"].list_pairs(root / "PolypGen-original-sample")
    assert "polypgen-c4-31_endocv2021_positive_329 2" in {pair.id for pair in sample}
    assert Counter(pair.part for pair in sample) == {"c1": 3, "c2": 3, "c3": 3, "c4": 4, "c5": 3}
    mask = read_mask(next((root / "Kvasir-SEG" / "masks").iterdir()))
    assert 0 < mask.mean() < 0.9
