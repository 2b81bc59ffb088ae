"""The leak audit on phantoms and on duplicates made from them, with an encoder without a network."""

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from audit_sets import GridEncoder, make_set, phantoms
from ccbench.base.images import sha256_file, write_png
from ccbench.data.split import open_split
from ccbench.errors import DataError, UsageError
from ccbench.protocols.protocol import PROTOCOLS
from ccbench.studies.leak_audit.audit import audit_folder, audit_sets, audit_split, open_audit_encoder
from ccbench.studies.leak_audit.audit_record import KINDS, Audit, Kind, Thresholds
from ccbench.studies.leak_audit.audit_tables import COUNT_HEADER, count_rows, known_clusters, verdict
from ccbench.types import Image


def jpeg(image: Image, quality: int = 70) -> Image:
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.array(PIL.Image.open(buffer))


def reframed(image: Image) -> Image:
    """The frame a little closer, on another black canvas."""
    return np.pad(image[5:-5, 5:-5], ((10, 10), (30, 6), (0, 0)))


def turned(image: Image) -> Image:
    """The scene a moment later: alike, and not the frame."""
    return np.array(PIL.Image.fromarray(image).rotate(6, PIL.Image.Resampling.BICUBIC))


def run(*sets: object) -> Audit:
    return audit_sets(sets, GridEncoder())  # type: ignore[arg-type]


def found(audit: Audit, first: str, second: str) -> dict[Kind, int]:
    counts = next(c for c in audit.counts if (c.first, c.second) == (first, second))
    return {kind: n for kind, n in counts.pairs.items() if n}


def test_different_phantoms_have_no_pairs() -> None:
    audit = run(make_set("train", phantoms(*range(12))), make_set("test", phantoms(*range(20, 26))))
    assert audit.pairs == () and audit.leaks == []
    assert verdict(audit) == "No image is in two sets. Near-duplicates across sets: 0 pairs."
    assert [(part.name, part.n, part.unclustered) for part in audit.sets] == [("train", 12, 12), ("test", 6, 6)]


def test_every_kind_is_found_and_told_apart() -> None:
    one, two, three, four, other = phantoms(1, 2, 3, 4, 5)
    train = make_set("train", [one, two, three, four], files=["a", "b", "c", "d"])
    test = make_set("test", [other, turned(four), jpeg(three), two, one], files=["v", "w", "x", "y", "a"])
    audit = run(train, test)
    pairs = [(pair.kind, pair.first.id, pair.second.id) for pair in audit.pairs]
    assert pairs == [
        ("same_file", "train-0", "test-4"),
        ("same_pixels", "train-1", "test-3"),
        ("same_frame", "train-2", "test-2"),
        ("near", "train-3", "test-1"),
    ]
    assert found(audit, "train", "test") == dict.fromkeys(KINDS, 1)
    assert audit.leaks == ["train and test share 1 x same file, 1 x same pixels, 1 x same frame"]
    assert [(pair.second.index, pair.hamming) for pair in audit.pairs[:2]] == [(4, 0), (3, 0)]


class BlindEncoder(GridEncoder):
    """Sees no difference, so that the hash alone decides."""

    def encode_images(self, images: Sequence[Image]) -> NDArray[np.float32]:
        return np.ones((len(images), self.dim), np.float32)


def test_a_frame_on_another_canvas_is_the_same_frame_and_not_the_same_pixels() -> None:
    one, two = phantoms(1, 2)
    bordered = np.pad(one, ((20, 4), (0, 12), (0, 0)))
    audit = run(make_set("train", [one, two]), make_set("test", [reframed(two), bordered]))
    assert {(pair.kind, pair.first.id, pair.second.id) for pair in audit.pairs} == {
        ("same_frame", "train-0", "test-1"),
        ("same_frame", "train-1", "test-0"),
    }


def test_a_mirror_image_is_the_same_frame() -> None:
    one, two = phantoms(1, 2)
    mirrored = np.ascontiguousarray(one[:, ::-1])
    audit = audit_sets([make_set("train", [one]), make_set("test", [two, mirrored])], BlindEncoder())
    same = [pair for pair in audit.pairs if pair.kind == "same_frame"]
    assert [(pair.second.id, pair.hamming) for pair in same] == [("test-1", 0)]


def test_duplicates_within_a_set_are_findings_and_no_leak() -> None:
    one, two = phantoms(1, 2)
    audit = run(make_set("train", [one, two, one]), make_set("test", phantoms(3)))
    assert found(audit, "train", "train") == {"same_pixels": 1} and audit.leaks == []
    assert next(c for c in audit.counts if c.first == c.second == "train").images["same_pixels"] == 2
    assert (audit.pairs[0].first.id, audit.pairs[0].second.id) == ("train-0", "train-2")


def test_near_duplicates_across_sets_are_findings_and_no_leak() -> None:
    one, two = phantoms(1, 4)
    audit = run(make_set("train", [one, two]), make_set("test", [turned(one), turned(two)]))
    assert found(audit, "train", "test") == {"near": 2} and audit.leaks == []
    assert "Near-duplicates across sets: 2 pairs" in verdict(audit)


def test_frames_of_one_video_are_alike_within_a_set_and_a_leak_across() -> None:
    one, two, three = phantoms(1, 2, 3)
    frames = [one, jpeg(one), one, two]
    train = make_set("train", frames, clusters=["video 1", "video 1", "video 1", None])
    test = make_set("test", [three], clusters=["video 1"])
    audit = run(train, test)
    within = audit.counts[0]
    assert within.pairs["same_pixels"] == 1 and within.pairs["same_frame"] == 0  # equal pixels are not expected
    assert within.in_sequence == 2
    assert [(item.cluster, item.counts) for item in audit.clusters] == [("video 1", (("train", 3), ("test", 1)))]
    assert audit.leaks == ["train and test share 1 x video sequence or patient"]
    assert known_clusters(audit) == "Video sequence or patient known of: train 3 of 4, test 1 of 1 images."
    other = run(train, make_set("test", [three], clusters=["video 2"]))
    assert other.clusters == () and other.leaks == []
    assert verdict(other).startswith("No image and no known video sequence or patient is in two sets.")


def test_unknown_videos_are_not_one_video() -> None:
    images = phantoms(1, 2)
    audit = run(make_set("train", [images[0]], clusters=[None]), make_set("test", [images[1]], clusters=[None]))
    assert audit.clusters == () and audit.sets[0].clusters == 0


def test_the_counts_of_a_table_row() -> None:
    one, two = phantoms(1, 2)
    audit = run(make_set("train", [one, two, one]), make_set("test", [one]))
    rows = [dict(zip(COUNT_HEADER, row, strict=True)) for row in count_rows(audit)]
    assert [row["sets"] for row in rows] == ["train", "train / test", "test"]
    assert (rows[1]["images"], rows[1]["same pixels"], rows[0]["same pixels"]) == ("3 x 1", "2 (1)", "1 (2)")


def test_a_long_list_is_cut_and_counted_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ccbench.studies.leak_audit.audit.LISTED", 3)
    (one,) = phantoms(1)
    audit = run(make_set("train", [one] * 5), make_set("test", [one]))
    assert audit.total == 10 + 5 and len(audit.pairs) == 3
    assert all(pair.is_across for pair in audit.pairs)


def test_the_record_survives_its_json() -> None:
    one, two = phantoms(1, 2)
    audit = run(make_set("train", [one], clusters=["v"]), make_set("test", [turned(one), two], clusters=["v", None]))
    assert audit.pairs and audit.clusters
    assert Audit.model_validate_json(audit.to_text()) == audit
    assert json.loads(audit.to_text())["pairs"][0]["cosine"] == audit.pairs[0].cosine  # unrounded


def test_folders_are_audited_under_the_names_of_their_files(tmp_path: Path) -> None:
    images = phantoms(1, 2, 3)
    for folder, numbers in (("a", (0, 1)), ("b", (1, 2))):
        (tmp_path / folder).mkdir()
        for number in numbers:
            write_png(tmp_path / folder / f"{folder}{number}.png", images[number])
    PIL.Image.open(tmp_path / "b" / "b2.png").save(tmp_path / "a" / "lossless.bmp")
    audit = run(audit_folder("one", tmp_path / "a"), audit_folder("other", tmp_path / "b"))
    assert [(pair.kind, pair.first.id, pair.second.id) for pair in audit.pairs] == [
        ("same_file", "a1.png", "b1.png"),
        ("same_pixels", "lossless.bmp", "b2.png"),
    ]
    assert str(tmp_path) not in audit.to_text()
    before = audit.sets[1].manifest_sha256
    write_png(tmp_path / "b" / "b1.png", images[0])
    assert audit_folder("other", tmp_path / "b").manifest_sha256 != before
    assert sha256_file(tmp_path / "a" / "a0.png") == sha256_file(tmp_path / "b" / "b1.png")


def test_a_split_is_audited_with_its_videos_and_manifest(polyp_files: Path) -> None:
    splits = [open_split(PROTOCOLS["polyp-128"], split, polyp_files) for split in ("train", "test")]
    audit = run(*(audit_split(split) for split in splits))
    assert [part.manifest_sha256 for part in audit.sets] == [split.manifest_sha256 for split in splits]
    test = audit.find_set("test")
    assert test is not None and (test.n, test.clusters, test.unclustered) == (len(splits[1].pairs), 2, 3)
    assert audit.leaks == []


def test_two_sets_of_one_name_and_unreadable_images_are_refused(tmp_path: Path) -> None:
    one = make_set("a", phantoms(1))
    with pytest.raises(UsageError, match="two sets are called 'a'"):
        run(one, one)
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"looking at b: 1 of 1 images cannot be read.*broken\.png"):
        run(one, audit_folder("b", tmp_path))


def test_the_thresholds_decide() -> None:
    one, two = phantoms(1, 2)
    sets = make_set("train", [one, two]), make_set("test", [turned(one)])
    pair = run(*sets).pairs[0]
    distance, overlap = pair.distance, pair.overlap

    def kinds(near: float, candidate: float, least: float) -> list[Kind]:
        limits = Thresholds(near=near, candidate=candidate, overlap=least)
        return [pair.kind for pair in audit_sets(sets, GridEncoder(), thresholds=limits).pairs]

    more, less = distance + 1e-6, distance - 1e-6
    assert kinds(more, more, overlap + 1e-3) == ["near"] and kinds(less, less, 0) == []
    assert kinds(more, less, 0) == ["near"]
    assert kinds(less, more, overlap - 1e-3) == kinds(more, more, overlap - 1e-3) == ["same_frame"]
    assert kinds(less, more, overlap + 1e-3) == []


def test_the_encoder_reads_a_view_as_it_is() -> None:
    """Against the network itself on the pixels of a view, scaled to -1..1; 1e-5 is float32 rounding of a batch."""
    import torch

    from ccbench.features.lite0 import load_lite0

    (image,) = phantoms(1)
    encoder = open_audit_encoder()
    with torch.inference_mode():
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 127.5 - 1
        expected = load_lite0()(pixels).numpy()
    assert np.allclose(encoder.encode_images([image]), expected, atol=1e-5)
    assert encoder.signature.endswith("|resize:clean-bicubic128")
