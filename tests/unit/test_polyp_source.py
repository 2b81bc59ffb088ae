"""polyp-128: Kvasir-SEG and CVC-ClinicDB as they lie on disk; every way in which files do not fit is named."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from ccbench.data.cvc_clinicdb import TEST_SEQUENCES, VALIDATION_SEQUENCES, read_sequences
from ccbench.data.joining import PairFiles
from ccbench.data.pairs import LazyPairs
from ccbench.data.sources import DataSplit, Split, open_split
from ccbench.errors import DataError
from ccbench.protocols import find_protocol
from ccbench.seeding import derive_seed
from fake_polyps import write_pair

POLYP = find_protocol("polyp-128")
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

CLINICDB_LENGTHS = (
    *(25, 25, 17, 11, 25, 23, 25, 26, 22, 6, 22, 25, 25, 20, 20),
    *(25, 21, 20, 25, 20, 19, 19, 12, 25, 25, 18, 25, 20, 21),
)
"""Frames of the 29 video sequences of CVC-ClinicDB, from the sequence table of its distribution."""


def real_data() -> Path | None:
    """The real data sets: where `CCBENCH_TEST_DATA` says, or `shared/data` beside the repository."""
    named = os.environ.get("CCBENCH_TEST_DATA")
    beside = Path(__file__).parents[3] / "shared" / "data"
    return Path(named) if named else beside if (beside / "Kvasir-SEG").is_dir() else None


def files_of(split: DataSplit) -> list[PairFiles]:
    assert isinstance(split.pairs, LazyPairs)
    return list(split.pairs.items)


def test_the_splits_share_nothing_and_leave_nothing_out(polyp_files: Path) -> None:
    ids = [pair.id for split in SPLITS for pair in files_of(open_split(POLYP, split, polyp_files))]
    assert len(ids) == len(set(ids)) == 26
    assert Counter(name.split("-")[0] for name in ids) == {"kvasir": 16, "clinicdb": 10}


def test_kvasir_follows_its_lists_and_clinicdb_its_sequences(polyp_files: Path) -> None:
    clusters = {split: {f.cluster for f in files_of(open_split(POLYP, split, polyp_files))} for split in SPLITS}
    assert clusters == {
        "train": {None, "clinicdb-seq01"},
        "validation": {None, "clinicdb-seq13"},
        "test": {None, "clinicdb-seq04", "clinicdb-seq24"},
    }
    test = {pair.id for pair in files_of(open_split(POLYP, "test", polyp_files))}
    assert {name for name in test if name.startswith("kvasir")} == {f"kvasir-cju{i:04d}" for i in (13, 14, 15)}


def test_the_sequence_table_follows_its_rule() -> None:
    """The rule is the docstring's: the first combination in hash order that has the wanted number of frames."""
    frames = dict(enumerate(CLINICDB_LENGTHS, start=1))
    order = sorted(frames, key=lambda sequence: derive_seed("cvc-clinicdb", "split", sequence))
    test = next(c for c in combinations(order, 4) if sum(frames[s] for s in c) == 62)
    rest = [sequence for sequence in order if sequence not in test]
    validation = next(c for c in combinations(rest, 2) if sum(frames[s] for s in c) == 44)
    assert tuple(sorted(test)) == TEST_SEQUENCES
    assert tuple(sorted(validation)) == VALIDATION_SEQUENCES


def test_a_pair_is_squashed_and_its_mask_thresholded(polyp_files: Path) -> None:
    """The mask of the JPEG pair: nearest sample of the 52 x 40 mask above 127, computed here by index."""
    split = open_split(POLYP, "test", polyp_files)
    pair = split.pairs[[f.id for f in files_of(split)].index("kvasir-cju0013")]
    assert pair.image.shape == (128, 128, 3)
    with PIL.Image.open(polyp_files / "Kvasir-SEG" / "masks" / "cju0013.jpg") as file:
        mask = np.asarray(file) > 127
    rows, columns = ((np.arange(128) + 0.5) * 40 / 128).astype(int), ((np.arange(128) + 0.5) * 52 / 128).astype(int)
    assert np.array_equal(pair.condition.mask, mask[np.ix_(rows, columns)])
    assert pair.condition.prompt == "one small pink round polyp (cju0013)"
    assert pair.image[pair.condition.mask].mean() > pair.image[~pair.condition.mask].mean()  # drawn brighter there


def test_a_limit_keeps_the_first_of_one_stable_order_with_both_data_sets(polyp_files: Path) -> None:
    whole = [pair.id for pair in files_of(open_split(POLYP, "train", polyp_files))]
    few = [pair.id for pair in files_of(open_split(POLYP, "train", polyp_files, 4))]
    assert few == whole[:4]
    assert {name.split("-")[0] for name in few} == {"kvasir", "clinicdb"}


def test_the_manifest_sees_pixels_masks_and_captions(polyp_files: Path) -> None:
    seen = [open_split(POLYP, "test", polyp_files).manifest_sha256]
    assert open_split(POLYP, "test", polyp_files).manifest_sha256 == seen[0]
    kvasir = polyp_files / "Kvasir-SEG"
    for folder in ("images", "masks"):
        with (kvasir / folder / "cju0013.jpg").open("ab") as file:
            file.write(b"\0")
        seen.append(open_split(POLYP, "test", polyp_files).manifest_sha256)
    captions = kvasir / "captions_medvlsm.jsonl"
    captions.write_text(captions.read_text().replace("pink round polyp (cju0013)", "red round polyp (cju0013)"))
    seen.append(open_split(POLYP, "test", polyp_files).manifest_sha256)
    assert len(set(seen)) == 4


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


def edit(path: str, change: Callable[[str], str]) -> Callable[[Path], None]:
    def apply(root: Path) -> None:
        (root / path).write_text(change((root / path).read_text()))

    return apply


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


KVASIR, CLINIC, CAPTIONS = "Kvasir-SEG", "CVC-ClinicDB", "captions_medvlsm.jsonl"
UNCAPTIONED = json.dumps({"id": "cju0003", "caption": " "}) + "\n"


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (remove(f"{KVASIR}/masks/cju0003.jpg"), r"images/cju0003\.jpg: found no mask named 'cju0003' in .*masks"),
        (remove(f"{CLINIC}/PNG/Original/3.png"), r"Ground Truth/3\.png: found no image named '3' in .*Original"),
        (copy(f"{KVASIR}/images/cju0003.jpg", f"{KVASIR}/images/cju0003.png"), r"cju0003\.\w+ has the same name"),
        (empty(f"{KVASIR}/images"), r"Kvasir-SEG/images: holds no image"),
        (remove(f"{KVASIR}/masks"), r"Kvasir-SEG/masks: not a folder"),
        (remove(f"{CLINIC}/PNG"), r"CVC-ClinicDB/PNG/Original: not a folder"),
        (remove(CLINIC), r"found no folder CVC-ClinicDB/ there"),
        (remove(f"{KVASIR}/{CAPTIONS}"), r"Kvasir-SEG/captions_medvlsm\.jsonl: not found"),
        (
            edit(f"{KVASIR}/{CAPTIONS}", lambda t: "\n".join(t.splitlines()[1:])),
            r'cju0000\.jpg: found no caption; .*"id"',
        ),
        (edit(f"{KVASIR}/{CAPTIONS}", lambda t: "{broken\n" + t), r"captions_medvlsm\.jsonl:1: not JSON"),
        (edit(f"{KVASIR}/{CAPTIONS}", lambda t: "[1]\n" + t), r"captions_medvlsm\.jsonl:1: wanted"),
        (
            edit(f"{KVASIR}/{CAPTIONS}", lambda t: UNCAPTIONED + t),
            r"captions_medvlsm\.jsonl:1: wanted .* neither empty",
        ),
        (
            edit(f"{KVASIR}/{CAPTIONS}", lambda t: t + t),
            r"captions_medvlsm\.jsonl:17: a second caption for id 'cju0000'",
        ),
        (remove(f"{KVASIR}/split_eval.txt"), r"split_eval\.txt: not found"),
        (edit(f"{KVASIR}/split_eval.txt", lambda t: t + "cju9999.jpg\n"), r"lists 'cju9999', which is not in"),
        (edit(f"{KVASIR}/split_eval.txt", lambda t: t + "cju0000.jpg\n"), r"'cju0000' stands in both"),
        (edit(f"{KVASIR}/split_train.txt", lambda t: t.replace("cju0005.jpg\n", "")), r"'cju0005' stands in neither"),
        (remove(f"{CLINIC}/sequences.csv"), r"sequences\.csv: not found"),
        (edit(f"{CLINIC}/sequences.csv", lambda t: t.replace("sequence,", "video,")), r"wanted the header"),
        (edit(f"{CLINIC}/sequences.csv", lambda t: t + "30,a,b\n"), r"row '30,a,b' is not three integers"),
        (edit(f"{CLINIC}/sequences.csv", lambda t: t + "30,10,10\n"), r"frame 10 is in two sequences"),
        (edit(f"{CLINIC}/sequences.csv", lambda t: t + "30,11,11\n"), r"frame '11' is not in"),
        (edit(f"{CLINIC}/sequences.csv", lambda t: t.replace("24,9,10\n", "")), r"frame '10' is in no sequence"),
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
    kvasir = polyp_files / KVASIR
    lists = kvasir / "split_train.txt", kvasir / "split_eval.txt"
    lists[1].write_text(lists[0].read_text() + lists[1].read_text())
    lists[0].write_text("")
    edit(f"{CLINIC}/sequences.csv", lambda text: text.replace("\n13,", "\n1,"))(polyp_files)
    with pytest.raises(DataError, match="the validation split of protocol 'polyp-128' is empty"):
        open_split(POLYP, "validation", polyp_files)


@pytest.mark.skipif(real_data() is None, reason="the real data sets are not here")
def test_the_real_data_sets_open() -> None:
    """Counts: 900 / 100 by the published Kvasir-SEG lists, 550 / 62 frames of ClinicDB, 8 % of each side validated."""
    root = real_data()
    assert root is not None
    lengths = Counter(read_sequences(root / CLINIC / "sequences.csv").values())
    assert tuple(lengths[sequence] for sequence in range(1, 30)) == CLINICDB_LENGTHS
    found = {split: files_of(open_split(POLYP, split, root)) for split in SPLITS}
    counts = {split: Counter(pair.id.split("-")[0] for pair in files) for split, files in found.items()}
    assert counts == {
        "train": {"kvasir": 828, "clinicdb": 506},
        "validation": {"kvasir": 72, "clinicdb": 44},
        "test": {"kvasir": 100, "clinicdb": 62},
    }
    for split in SPLITS:
        first = open_split(POLYP, split, root, 2).pairs
        assert all(pair.image.shape == (128, 128, 3) and pair.condition.mask.any() for pair in first)
