"""What segmenters are tested on: the protocol's own sets apart, and those of the field that lie beside them."""

from pathlib import Path

import pytest

from ccbench.data.segmentation_sets import SegmentationSets, open_segmentation_sets
from ccbench.errors import DataError
from ccbench.protocols.protocol import find_protocol
from fake_polyps import write_pair

POLYP = find_protocol("polyp-128")
OWN = ("cvc-clinicdb", "kvasir-seg")


def sizes(sets: SegmentationSets) -> dict[str, int]:
    return {name: len(split.pairs) for name, split in sets.tests.items()}


def test_own_sets_are_those_of_the_test_split(polyp_files: Path) -> None:
    sets = open_segmentation_sets(POLYP, polyp_files)
    assert sets.own == OWN and sizes(sets) == {"cvc-clinicdb": 4, "kvasir-seg": 3} and sets.size == 128
    assert (len(sets.train.pairs), len(sets.validation.pairs)) == (16, 3)
    pairs = [pair for name in OWN for pair in sets.tests[name].pairs]
    assert {pair.image.shape for pair in pairs} == {(128, 128, 3)} and {pair.source for pair in pairs} == set(OWN)
    assert {pair.condition.cluster for pair in sets.tests["cvc-clinicdb"].pairs} == {"clinicdb-seq04", "clinicdb-seq24"}
    assert not any(pair.condition.prompt for pair in pairs)  # captions take longer than reading


def test_native_pairs_have_their_own_sizes(polyp_files: Path) -> None:
    sets = open_segmentation_sets(POLYP, polyp_files, native=True)
    assert sets.size is None
    assert {pair.image.shape for name in OWN for pair in sets.tests[name].pairs} == {(40, 52, 3)}
    squashed = open_segmentation_sets(POLYP, polyp_files)
    assert squashed.train.manifest_sha256 == sets.train.manifest_sha256  # of files, whatever is made of them


def test_further_sets_are_found_where_they_lie(polyp_files: Path) -> None:
    for number in range(3):
        write_pair(
            polyp_files / f"ETIS-Larib/images/{number}.png", polyp_files / f"ETIS-Larib/masks/{number}.png", number
        )
        colon = polyp_files / "CVC-ColonDB"
        write_pair(colon / f"{number}.tiff", colon / f"p{number}.tiff", 20 + number)
        scene = polyp_files / "EndoScene/CVC-300"
        write_pair(scene / f"bbdd/{number}.bmp", scene / f"gtpolyp/{number}.bmp", 40 + number)
        for centre in (1, 4):
            folder = polyp_files / f"PolypGen-384/data_C{centre}"
            image, mask = f"images_C{centre}/{number}.jpg", f"masks_C{centre}/{number}_mask.jpg"
            write_pair(folder / image, folder / mask, 60 + 10 * centre + number)
    sets = open_segmentation_sets(POLYP, polyp_files)
    further = ["cvc-300", "cvc-colondb", "etis-larib", "polypgen-c1", "polypgen-c4"]
    assert sets.own == OWN and list(sets.tests) == [*OWN, *further]
    assert [len(sets.tests[name].pairs) for name in further] == [3] * 5
    limited = sizes(open_segmentation_sets(POLYP, polyp_files, limit=2))
    assert [limited[name] for name in further] == [2] * 5
    assert all(pair.source == "polypgen-c4" for pair in sets.tests["polypgen-c4"].pairs)
    manifests = {split.manifest_sha256 for split in sets.tests.values()}
    assert len(manifests) == 7


def test_pranets_release_goes_before_the_originals(polyp_files: Path) -> None:
    """Its CVC-300 has 60 of EndoScene's 300 frames, those of the tables in print; its other sets are found too."""
    release = polyp_files / "PraNet"
    for name, count in (("CVC-300", 2), ("CVC-ColonDB", 1), ("ETIS-LaribPolypDB", 1), ("Kvasir", 1)):
        for number in range(count):
            place = release / "TestDataset" / name
            write_pair(place / f"images/{number}.png", place / f"masks/{number}.png", number)
    write_pair(release / "TrainDataset/image/1.png", release / "TrainDataset/mask/1.png", 9)
    write_pair(release / "TestDataset/CVC-ClinicDB/images/1.png", release / "TestDataset/CVC-ClinicDB/masks/1.png", 9)
    for number in range(5):
        scene = polyp_files / "EndoScene/CVC-300"
        write_pair(scene / f"bbdd/{number}.bmp", scene / f"gtpolyp/{number}.bmp", 40 + number)
    found = sizes(open_segmentation_sets(POLYP, polyp_files))
    assert list(found) == [*OWN, "cvc-300", "cvc-colondb", "etis-larib"]
    assert [found[name] for name in ("cvc-300", "cvc-colondb", "etis-larib")] == [2, 1, 1]


def test_limits_and_what_is_missing(polyp_files: Path) -> None:
    limited = open_segmentation_sets(POLYP, polyp_files, limit=4)
    assert sum(sizes(limited).values()) == 4 and len(limited.train.pairs) == 4
    with pytest.raises(DataError, match="--data-root"):
        open_segmentation_sets(POLYP, None)
    with pytest.raises(DataError, match="found no folder Kvasir-SEG/"):
        open_segmentation_sets(POLYP, polyp_files.parent)


def test_phantoms_are_one_set() -> None:
    sets = open_segmentation_sets(find_protocol("phantom-128"), None, limit=2)
    assert sets.own == ("phantom",) and sizes(sets) == {"phantom": 2} and sets.size == 128
