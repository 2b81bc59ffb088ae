"""The frozen splits: who is in them follows published lists and a stated rule, and whole sequences stay together."""

import csv
import re
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest

import ccbench.data.sets.splits
from ccbench.base.images import content_sha256
from ccbench.base.seeding import derive_seed
from ccbench.data.name_matching import PairFiles
from ccbench.data.sets.splits import read_split, select_split
from ccbench.errors import DataError
from real_files import real_data

CLINICDB_LENGTHS = (
    *(25, 25, 17, 11, 25, 23, 25, 26, 22, 6, 22, 25, 25, 20, 20),
    *(25, 21, 20, 25, 20, 19, 19, 12, 25, 25, 18, 25, 20, 21),
)
"""Frames of the 29 video sequences of CVC-ClinicDB, from the sequence table of its distribution."""

needs_real_data = pytest.mark.skipif(real_data() is None, reason="the real data sets are not here")


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("kvasir-seg", {"train": 828, "validation": 72, "test": 100}),
        ("cvc-clinicdb", {"train": 506, "validation": 44, "test": 62}),
    ],
)
def test_counts_and_hashes(name: str, counts: dict[str, int]) -> None:
    rows = read_split(name)
    assert Counter(row.split for row in rows.values()) == counts
    assert len({row.image_sha256 for row in rows.values()}) == len(rows)  # no frame twice
    assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for row in rows.values() for digest in row[2:])


def test_clinicdb_is_cut_by_whole_sequences() -> None:
    """In the order of a hash: the first combination of sequences that has the wanted number of frames."""
    rows = read_split("cvc-clinicdb")
    lengths = Counter(row.cluster for row in rows.values())
    frames = {number: lengths[f"clinicdb-seq{number:02d}"] for number in range(1, 30)}
    assert tuple(frames.values()) == CLINICDB_LENGTHS
    numbers = [number for number, length in frames.items() for _ in range(length)]
    assert all(rows[f"clinicdb-{i}"].cluster == f"clinicdb-seq{n:02d}" for i, n in enumerate(numbers, start=1))
    order = sorted(frames, key=lambda sequence: derive_seed("cvc-clinicdb", "split", sequence))
    test = next(c for c in combinations(order, 4) if sum(frames[s] for s in c) == 62)
    rest = [sequence for sequence in order if sequence not in test]
    validation = next(c for c in combinations(rest, 2) if sum(frames[s] for s in c) == 44)
    assert (sorted(test), sorted(validation)) == ([4, 10, 20, 24], [13, 21])
    for row in rows.values():
        number = int(str(row.cluster).removeprefix("clinicdb-seq"))
        assert row.split == ("test" if number in test else "validation" if number in validation else "train")


def test_kvasir_validation_is_the_lowest_hashes_of_the_training_list() -> None:
    rows = {pair_id.removeprefix("kvasir-"): row for pair_id, row in read_split("kvasir-seg").items()}
    training = sorted((stem for stem, row in rows.items() if row.split != "test"), key=_kvasir_order)
    assert {stem for stem, row in rows.items() if row.split == "validation"} == set(training[: round(0.08 * 900)])
    assert all(row.cluster is None for row in rows.values())


def _kvasir_order(stem: str) -> int:
    return derive_seed("kvasir-seg", "validation", stem)


@needs_real_data
def test_the_published_lists_are_followed() -> None:
    root = real_data()
    assert root is not None
    published = {Path(line).stem for line in (root / "Kvasir-SEG" / "split_eval.txt").read_text().split()}
    rows = read_split("kvasir-seg")
    assert {f"kvasir-{stem}" for stem in published} == {name for name, row in rows.items() if row.split == "test"}
    with (root / "CVC-ClinicDB" / "sequences.csv").open() as file:
        table = [
            (int(row["sequence"]), int(row["first_frame"]), int(row["last_frame"])) for row in csv.DictReader(file)
        ]
    clusters = {f"clinicdb-{i}": f"clinicdb-seq{seq:02d}" for seq, first, last in table for i in range(first, last + 1)}
    assert clusters == {name: row.cluster for name, row in read_split("cvc-clinicdb").items()}


@needs_real_data
def test_hashes_are_of_the_real_files_and_equal_for_tiff_and_png() -> None:
    root = real_data()
    assert root is not None
    rows = read_split("cvc-clinicdb")
    for layout, suffix in (("TIF", "tif"), ("PNG", "png")):
        for frame in (1, 104, 612):
            image, mask = (
                root / "CVC-ClinicDB" / layout / f / f"{frame}.{suffix}" for f in ("Original", "Ground Truth")
            )
            assert (content_sha256(image), content_sha256(mask)) == rows[f"clinicdb-{frame}"][2:]
    for pair_id, row in list(read_split("kvasir-seg").items())[:3]:
        image, mask = (root / "Kvasir-SEG" / f / f"{pair_id[7:]}.jpg" for f in ("images", "masks"))
        assert (content_sha256(image), content_sha256(mask)) == row[2:]


def pairs(*names: str) -> list[PairFiles]:
    return [PairFiles(name, Path(f"{name}.png"), Path(f"{name}_mask.png")) for name in names]


def test_selecting_needs_exactly_the_listed_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ccbench.data.sets.splits, "FOLDER", tmp_path)
    table = "# a\nid,split,cluster,image_sha256,mask_sha256\na,test,s1,1,2\nb,train,,3,4\nc,test,,5,6\n"
    (tmp_path / "drawn.csv").write_text(table)
    assert [pair.id for pair in select_split(pairs("c", "b", "a"), "drawn", "test", tmp_path)] == ["c", "a"]
    with pytest.raises(DataError, match="2 of the 3 pairs of drawn are missing, such as 'a'"):
        select_split(pairs("b"), "drawn", "train", tmp_path)
    with pytest.raises(DataError, match=r"d\.png: drawn has no pair 'd'"):
        select_split(pairs("a", "b", "c", "d"), "drawn", "train", tmp_path)
    (tmp_path / "drawn.csv").write_text(table.replace("cluster", "video"))
    with pytest.raises(DataError, match="wanted the columns id, split, cluster"):
        read_split("drawn")
