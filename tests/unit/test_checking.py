"""What `check` finds: each fault on files made with it, and the real data sets' own oddities."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from ccbench.data.prepare.examination import map_threads
from ccbench.data.prepare.findings import KINDS
from ccbench.data.prepare.fitness import CheckReport, check_data_set
from ccbench.data.sets import DATA_SETS
from ccbench.errors import DataError
from ccbench.types import SilentProgress
from fake_polyps import draw_pair, write_file, write_pair
from real_files import real_data

needs_real_data = pytest.mark.skipif(real_data() is None, reason="the real data sets are not here")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four pairs `a` to `d` without a fault."""
    for seed, name in enumerate("abcd"):
        write_pair(tmp_path / "images" / f"{name}.png", tmp_path / "masks" / f"{name}.png", seed)
    return tmp_path


def check(root: Path, name: str = "folder") -> CheckReport:
    return check_data_set(DATA_SETS[name], root)


def found(report: CheckReport) -> dict[str, int]:
    return {finding.kind: finding.count for finding in report.findings}


def test_a_clean_folder(folder: Path) -> None:
    report = check(folder)
    assert (report.findings, report.faulty, report.pairs) == ((), {}, 4)
    assert report.sizes == {"52x40": 4}
    assert (report.image_formats, report.mask_formats) == ({"PNG RGB": 4}, {"PNG L": 4})
    assert report.mask_values == [(0, 0), (255, 255)]


def mask_of(*values: int, suffix: str = "png") -> Callable[[Path], None]:
    """Replace the mask of `b` by squares of these values on black."""

    def apply(root: Path) -> None:
        mask = np.zeros((40, 52), dtype=np.uint8)
        for index, value in enumerate(values):
            mask[8:24, 16 * index : 16 * index + 16] = value
        (root / "masks" / "b.png").unlink()
        write_file(root / "masks" / f"b.{suffix}", mask)

    return apply


def cut(root: Path) -> None:
    file = root / "images" / "b.png"
    file.write_bytes(file.read_bytes()[:-400])


def lone_files(root: Path) -> None:
    (root / "images" / "a.png").rename(root / "images" / "x.png")


def twins(root: Path) -> None:
    write_file(root / "images" / "b.bmp", draw_pair(5)[0])


def other_size(root: Path) -> None:
    write_pair(root / "unused.png", root / "masks" / "b.png", 1, size=(40, 52))


def same(mask_too: bool, suffix: str = "png") -> Callable[[Path], None]:
    def apply(root: Path) -> None:
        (root / "images" / "b.png").unlink()
        if suffix == "png":
            shutil.copy(root / "images" / "a.png", root / "images" / "b.png")
        else:
            write_file(root / "images" / f"b.{suffix}", draw_pair(0)[0])
        if mask_too:
            shutil.copy(root / "masks" / "a.png", root / "masks" / "b.png")

    return apply


def with_exif(root: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x0132] = "2019:10:14 14:37:00"
    (root / "images" / "b.png").unlink()
    PIL.Image.fromarray(draw_pair(1)[0]).save(root / "images" / "b.jpg", exif=exif)


def some_captions(root: Path) -> None:
    (root / "captions.jsonl").write_text('{"id": "a", "caption": "a polyp"}\n')


def red_mask(root: Path) -> None:
    write_file(root / "masks" / "b.png", np.dstack([draw_pair(1)[1], *2 * [np.zeros((40, 52), dtype=np.uint8)]]))


FATAL: list[tuple[Callable[[Path], None], dict[str, int], dict[str, str]]] = [
    (cut, {"unreadable": 1}, {"b": "unreadable"}),
    (lone_files, {"image_alone": 1, "mask_alone": 1}, {"images/x.png": "image_alone", "masks/a.png": "mask_alone"}),
    (twins, {"twins": 1}, {"b": "twins", "images/b.png": "twins"}),
    (other_size, {"size_mismatch": 1}, {"b": "size_mismatch"}),
    (mask_of(1), {"faint_mask": 1}, {"b": "faint_mask"}),
    (mask_of(120), {"faint_mask": 1}, {"b": "faint_mask"}),
    (mask_of(90, suffix="jpg"), {"faint_mask": 1}, {"b": "faint_mask"}),
    (same(mask_too=False), {"contradiction": 1}, {"a": "contradiction", "b": "contradiction"}),
    (same(mask_too=False, suffix="bmp"), {"contradiction": 1}, {"a": "contradiction", "b": "contradiction"}),
    (some_captions, {"uncaptioned": 3}, {}),
]
NOTES: list[tuple[Callable[[Path], None], dict[str, int]]] = [
    (mask_of(0), {"empty_mask": 1}),
    (mask_of(0, 8, suffix="jpg"), {"empty_mask": 1}),
    (mask_of(255, 100), {"grey_mask": 1}),
    (same(mask_too=True), {"same_file": 1}),
    (same(mask_too=True, suffix="bmp"), {"same_pixels": 1}),
    (with_exif, {"exif": 1}),
    (red_mask, {"coloured_mask": 1}),
]


@pytest.mark.parametrize(("harm", "kinds", "faulty"), FATAL)
def test_what_no_benchmark_may_run_on(
    folder: Path, harm: Callable[[Path], None], kinds: dict[str, int], faulty: dict[str, str]
) -> None:
    harm(folder)
    report = check(folder)
    assert found(report) == kinds and [finding.kind for finding in report.fatal] == list(kinds)
    assert report.faulty == faulty


@pytest.mark.parametrize(("harm", "kinds"), NOTES)
def test_what_is_only_noted(folder: Path, harm: Callable[[Path], None], kinds: dict[str, int]) -> None:
    harm(folder)
    report = check(folder)
    assert found(report) == kinds and not report.fatal and not report.faulty


def test_every_finding_says_where(folder: Path) -> None:
    lone_files(folder)
    other_size(folder)
    where = {finding.kind: finding.where for finding in check(folder).findings}
    assert where == {"image_alone": ("images/x.png",), "mask_alone": ("masks/a.png",), "size_mismatch": ("b",)}
    assert str(check(folder).findings[0]) == "images without a mask (1)"


def test_an_empty_mask_is_lost_where_every_image_shows_a_polyp(tmp_path: Path) -> None:
    """And CVC-ColonDB's own oddity: byte-identical frames, some with different masks."""
    for number in (1, 2, 3, 4, 5):
        write_pair(tmp_path / f"{number}.tiff", tmp_path / f"p{number}.tiff", number)
    write_file(tmp_path / "p5.tiff", np.zeros((40, 52), dtype=np.uint8))
    shutil.copy(tmp_path / "1.tiff", tmp_path / "2.tiff")
    shutil.copy(tmp_path / "3.tiff", tmp_path / "4.tif")
    (tmp_path / "4.tiff").unlink()
    shutil.copy(tmp_path / "p3.tiff", tmp_path / "p4.tiff")
    report = check(tmp_path, "cvc-colondb")
    assert found(report) == {"lost_mask": 1, "contradiction": 1, "same_file": 1, "incomplete": 375}
    assert report.faulty == {"colondb-5": "lost_mask", "colondb-1": "contradiction", "colondb-2": "contradiction"}
    contradiction = next(finding for finding in report.findings if finding.kind == "contradiction")
    one, two = (draw_pair(number)[1] > 0 for number in (1, 2))
    assert contradiction.where == (f"colondb-1 = colondb-2 (mask IoU {(one & two).sum() / (one | two).sum():.2f})",)


def test_equal_images_in_two_splits_are_a_leak(tmp_path: Path) -> None:
    for folder in ("TrainDataset/image", "TestDataset/Kvasir/images"):
        masks = folder.replace("image", "mask")
        write_pair(tmp_path / folder / "1.png", tmp_path / masks / "1.png", 1)
        write_pair(tmp_path / folder / "2.png", tmp_path / masks / "2.png", 2 + len(folder))
    report = check(tmp_path, "pranet-release")
    assert found(report) == {"leak": 1, "incomplete": 2244}
    assert report.faulty == {"pranet-train-1": "leak"} and report.splits == {"train": 2, "test": 2}


def test_files_are_compared_with_the_packages_split(polyp_files: Path) -> None:
    assert not check(polyp_files / "Kvasir-SEG", "kvasir-seg").fatal
    png = polyp_files / "CVC-ClinicDB" / "PNG"
    assert not check(polyp_files / "CVC-ClinicDB", "cvc-clinicdb").findings
    write_file(png / "Original" / "1.png", draw_pair(77)[0])
    write_file(png / "Ground Truth" / "2.png", draw_pair(78)[1])
    for file in ("Original/3.png", "Ground Truth/3.png"):
        (png / file).rename(png / file.replace("3", "33"))
    report = check(polyp_files / "CVC-ClinicDB", "cvc-clinicdb")
    assert found(report) == {"missing": 1, "unlisted": 1, "image_drift": 1, "mask_drift": 1}
    assert report.faulty == {"clinicdb-1": "image_drift", "clinicdb-2": "mask_drift", "clinicdb-33": "unlisted"}
    assert len(report.fatal) == 4


def test_fatal_kinds_come_first() -> None:
    fatal = [kind.fatal for kind in KINDS.values()]
    assert fatal == sorted(fatal, reverse=True)


def test_threads_keep_the_order_and_drop_the_rest_when_stopped() -> None:
    with SilentProgress().step("", 3) as step:
        assert list(map_threads(str, range(50), step)) == [str(number) for number in range(50)]
        begun: list[int] = []

        def divide(number: int) -> float:
            begun.append(number)
            time.sleep(0.001)
            return 1 / number

        with pytest.raises(ZeroDivisionError):
            list(map_threads(divide, [1, 0, *range(1, 500)], step))
        assert len(begun) < 250
        begun.clear()
        results = map_threads(divide, range(1, 500), step)
        assert next(results) == 1
        results.close()  # as Ctrl-C between two results does
        assert len(begun) < 250


@needs_real_data
def test_polypgens_own_oddities(tmp_path: Path) -> None:
    """Centre C1: masks are L or RGB JPEGs, one of them empty, and the images tell of device and date."""
    root = real_data()
    assert root is not None
    shutil.copytree(root / "PolypGen-original-sample" / "data_C1", tmp_path / "data_C1")
    report = check(tmp_path, "polypgen")
    assert found(report) == {"empty_mask": 1, "exif": 3, "incomplete": 1534} and not report.fatal
    assert report.mask_formats == {"JPEG RGB": 2, "JPEG L": 1} and report.mask_values == [(0, 7), (248, 255)]


@needs_real_data
def test_polypgens_identical_images_have_different_masks(tmp_path: Path) -> None:
    root = real_data()
    assert root is not None
    for kind, suffix in (("images", ".jpg"), ("masks", "_mask.png")):
        source, target = (base / "data_C5" / f"{kind}_C5" for base in (root / "PolypGen-384", tmp_path))
        target.mkdir(parents=True)
        for number in (139, 140, 141):
            shutil.copy(source / f"EndoCV2021_C5_50000{number}{suffix}", target)
    report = check(tmp_path, "polypgen")
    assert {kind: report.fatal[0].where for kind in found(report) if kind == "contradiction"} == {
        "contradiction": ("polypgen-c5-EndoCV2021_C5_50000140 = polypgen-c5-EndoCV2021_C5_50000141 (mask IoU 0.02)",)
    }


@needs_real_data
def test_a_real_clinicdb_part_is_refused_for_what_is_missing() -> None:
    root = real_data()
    assert root is not None
    report = check(root / "CVC-ClinicDB" / "TIF", "cvc-clinicdb")
    assert found(report) == {"missing": 604, "grey_mask": 3}
    assert not report.faulty  # the eight are the listed ones, pixel for pixel


def test_no_folder_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a folder"):
        check(tmp_path / "none")
