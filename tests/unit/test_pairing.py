"""Names of images and masks join by one rule; what several files claim, or order alone would join, joins nothing."""

import os
import unicodedata
from pathlib import Path

import pytest

from ccbench.base.image_folders import is_junk, list_images, look_into
from ccbench.data.name_matching import Joined, core_name, join_folders
from ccbench.errors import DataError
from fake_polyps import write_pair


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return folder


def join(tmp_path: Path, images: list[str], masks: list[str]) -> Joined:
    return join_folders(touch(tmp_path / "i", *images), touch(tmp_path / "m", *masks), None, prefix="")


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        *(("7.jpg", f"7_{word}.png") for word in ("mask", "gt", "label", "seg", "GT", "annotation")),
        *(("7.jpg", f"{word}_7.png") for word in ("mask", "label", "gt")),
        ("img_7.jpg", "mask_7.png"),
        ("input_7.jpg", "7.png"),
        ("image-7.jpg", "7-mask.png"),
        ("7_image.jpg", "7_mask.png"),
        ("7.jpg", "7 mask.png"),
        (unicodedata.normalize("NFC", "pólipo.jpg"), unicodedata.normalize("NFD", "pólipo_mask.png")),
        ("a\nb.jpg", "a\nb.png"),
    ],
)
def test_words_and_unicode_forms_on_either_side(tmp_path: Path, image: str, mask: str) -> None:
    joined = join(tmp_path, [image, "other.jpg"], [mask, "other.png"])
    assert {(pair.image.name, pair.mask.name) for pair in joined.whole()} == {(image, mask), ("other.jpg", "other.png")}
    assert unicodedata.normalize("NFC", Path(image).stem) in {pair.id for pair in joined.pairs}
    assert ("without words" in joined.pairing()) == bool(joined.reworded)


def test_a_name_that_is_a_word_stays(tmp_path: Path) -> None:
    assert [core_name(name) for name in ("mask", "gt_", "_mask", "maskrcnn_7", "7_masked")] == [
        *("mask", "gt_", "_mask", "maskrcnn_7", "7_masked")
    ]
    assert [pair.id for pair in join(tmp_path, ["img_1.png", "1.png"], ["1.png", "img_1.png"]).whole()] == [
        "1",
        "img_1",
    ]


@pytest.mark.parametrize(
    ("images", "masks", "message"),
    [
        (["a.png"], ["a.png", "a_mask.png"], r"a_mask\.png: a\.png has the same name"),
        (["a.png"], ["a_gt.png", "a_mask.png"], r"a_mask\.png: a_gt\.png has the same name"),
        (["a.png", "img_a.png"], ["a.png"], r"img_a\.png: a\.png has the same name"),
        (["a.png", "a.PNG"], ["a.png"], "has the same name"),
        (["1.png", "2.png"], ["01.png", "02.png"], r"1\.png: found no mask of that name, nor for 1 more; .*01\.png"),
        (["A.png"], ["a.png"], r"A\.png: found no mask of that name; left over is .*a\.png"),
    ],
)
def test_what_is_ambiguous_is_refused_with_both_names(
    tmp_path: Path, images: list[str], masks: list[str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        join(tmp_path, images, masks).whole()


def test_two_unicode_forms_of_one_name_are_twins(tmp_path: Path) -> None:
    names = [f"{unicodedata.normalize(form, 'é')}.png" for form in ("NFC", "NFD")]
    with pytest.raises(DataError, match="has the same name"):
        join(tmp_path, names, names[:1]).whole()


JUNK = (".DS_Store", "._1.png", ".git", ".ipynb_checkpoints", "__MACOSX", "@eaDir", "Thumbs.db", "desktop.ini")


def test_junk_is_known_by_one_list(tmp_path: Path) -> None:
    assert all(map(is_junk, JUNK)) and not any(map(is_junk, ("1.png", "images", "MACOSX", "thumbs")))
    touch(tmp_path, "1.png", "._1.png", "Thumbs.db", "@eaDir/1.png", ".ipynb_checkpoints/1.png", "__MACOSX/1.png")
    assert [path.name for path in list_images(tmp_path)] == ["1.png"]
    assert look_into(tmp_path).note() is None


def test_what_is_left_out_of_a_folder_is_said(tmp_path: Path) -> None:
    touch(tmp_path / "a", "1.png", "2.gif", "3.jfif", "notes.txt", "deep/er/4.png", "deep/5.jpg")
    found = look_into(tmp_path / "a")
    assert [path.name for path in found.images] == ["1.png"]
    note = found.note() or ""
    assert "left out 2 files of kinds that are not read, such as 2.gif" in note
    assert "2 images in subfolders, such as a/deep/5.jpg" in note
    (tmp_path / "a" / "1.png").unlink()
    with pytest.raises(
        DataError, match=r"a: holds no image itself, but 2 files .* and 2 images .*; give .*deep"
    ) as caught:
        list_images(tmp_path / "a")
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=r"i: holds no image; wanted files ending in \.png"):
        join_folders(touch(tmp_path / "i", "x.txt"), tmp_path / "a", None, prefix="")


def test_links_that_lead_nowhere_are_counted(tmp_path: Path) -> None:
    write_pair(tmp_path / "i" / "1.png", tmp_path / "m" / "1.png", 1)
    for folder in ("i", "m"):
        (tmp_path / folder / "2.png").symlink_to("/nowhere/2.png")
    assert [pair.id for pair in join_folders(tmp_path / "i", tmp_path / "m", None, prefix="").whole()] == ["1", "2"]


def test_names_that_are_no_utf8_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "1.png")
    (tmp_path / "1.png").rename(tmp_path / os.fsdecode(b"p\xf3.png"))
    with pytest.raises(DataError, match=r"1 file names are not UTF-8, such as b'p\\xf3.png'"):
        join_folders(tmp_path, tmp_path, None, prefix="")
