"""The feature cache and the pass over a set of files: warm equals cold, and nothing in the cache is trusted."""

import multiprocessing
import os
import sqlite3
import threading
import time
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from ccbench.base.images import read_image
from ccbench.errors import DataError
from ccbench.features import feature_cache as module
from ccbench.features import image_pass, open_encoder, read_ahead
from ccbench.features.feature_cache import FILE, FeatureCache, ImageFacts
from ccbench.features.image_pass import encode_files, encode_set
from ccbench.types import Image, SilentProgress
from fake_encoders import random_images, write_images

SILENT = SilentProgress()


class Counting:
    """Means of the channels, whose last digits depend on the batch's size as those of real kernels do."""

    dim = 3

    def __init__(self, name: str = "counting") -> None:
        self.id, self.signature, self.path = name, f"enc:{name}|w:00000000|resize:none", "eager cpu"
        self.seen = 0

    def encode_images(self, images: list[Image]) -> np.ndarray:
        self.seen += len(images)
        means = np.array([image.mean(axis=(0, 1)) for image in images]) * (1 + 1e-4 * len(images))
        return means.astype(np.float32).reshape(-1, 3)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return write_images(tmp_path / "images", random_images(40, seed=3))


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return FeatureCache(tmp_path / "cache", pytest.fail)


def encode(files: list[Path], cache: FeatureCache | None, *encoders: Counting) -> image_pass.EncodedSet:
    return encode_files(files, encoders, "test", SILENT, cache=cache)


def assert_equal(found: image_pass.EncodedSet, wanted: image_pass.EncodedSet) -> None:
    assert (found.digests, found.sizes, found.flat) == (wanted.digests, wanted.sizes, wanted.flat)
    for name, features in wanted.features.items():
        assert found.features[name].dtype == np.float32
        assert np.array_equal(found.features[name], features), name


def forbid_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_pass, "decode_image", lambda data, path: pytest.fail(f"decoded {path}"))


def test_warm_equals_cold_and_decodes_nothing(
    files: list[Path], cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = Counting("one"), Counting("two")
    cold = encode(files, None, one, two)
    assert_equal(encode(files, cache, one, two), cold)
    assert one.seen == two.seen == 80
    forbid_decoding(monkeypatch)
    assert_equal(encode(files, cache, one, two), cold)
    assert one.seen == two.seen == 80


def test_real_networks_are_bit_equal_warm_and_after_a_set_that_shares_images(
    files: list[Path], cache: FeatureCache
) -> None:
    encoder = open_encoder("mini-clip")
    cold = encode_files(files, [encoder], "test", SILENT)
    encode_files([*files[3:20], *files[:3]], [encoder], "test", SILENT, cache=cache)  # a batch of 20
    for _ in range(2):
        assert_equal(encode_files(files, [encoder], "test", SILENT, cache=cache), cold)
    images = random_images(40, seed=3)
    whole = np.concatenate([encoder.encode_images(images[:32]), encoder.encode_images(images[32:])])
    assert np.array_equal(cold.features["mini-clip"], whole)  # as before there were workers and a cache


def test_one_new_image_costs_its_batch_and_a_new_encoder_only_itself(
    files: list[Path], cache: FeatureCache, tmp_path: Path
) -> None:
    one, two = Counting("one"), Counting("two")
    encode(files, cache, one)
    PIL.Image.fromarray(random_images(1, seed=9)[0]).save(files[35])
    assert_equal(encode(files, cache, one), encode(files, None, Counting("one")))
    assert one.seen == 40 + 8
    encode(files, cache, one, two)
    assert (one.seen, two.seen) == (48, 40)


def test_the_content_is_the_key_whatever_the_name_format_or_source(
    files: list[Path], cache: FeatureCache, tmp_path: Path
) -> None:
    encoder, images = Counting(), random_images(40, seed=3)
    encode(files, cache, encoder)
    encode_set(images.__getitem__, 40, [encoder], "test", SILENT, cache=cache)  # never were files
    copies = [path.with_suffix(".bmp") for path in files]
    for image, path in zip(images, copies, strict=True):
        PIL.Image.fromarray(image).save(path)
    encode(copies, cache, encoder)
    assert encoder.seen == 40


@pytest.mark.parametrize("part", ["signature", "path"])
def test_other_weights_or_another_path_share_nothing(files: list[Path], cache: FeatureCache, part: str) -> None:
    one, other = Counting(), Counting()
    setattr(other, part, "another")
    for encoder in (one, other):
        encode(files, cache, encoder)
    assert other.seen == 40


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE features SET row = zeroblob(12) WHERE rowid = 7",
        "UPDATE features SET row = X'00' WHERE rowid = 7",
        "UPDATE features SET row = (SELECT row FROM features WHERE rowid = 8) WHERE rowid = 7",
        "UPDATE images SET pixels = (SELECT pixels FROM images WHERE rowid = 9), flat = 1 WHERE rowid = 8",
        "DELETE FROM features WHERE rowid = 30",
    ],
)
def test_changed_entries_are_computed_again(
    files: list[Path], cache: FeatureCache, tmp_path: Path, damage: str
) -> None:
    cold = encode(files, cache, Counting())
    with sqlite3.connect(tmp_path / "cache" / FILE) as db:
        assert db.execute(damage).rowcount == 1
    db.close()
    for _ in range(2):
        assert_equal(encode(files, cache, Counting()), cold)
    again = Counting()
    encode(files, cache, again)
    assert again.seen == 0


def test_a_damaged_file_is_made_anew_with_one_note(files: list[Path], tmp_path: Path) -> None:
    cold = encode(files, None, Counting())
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / FILE).write_bytes(b"<html>" * 5000)
    notes: list[str] = []
    for _ in range(2):
        cache = FeatureCache(tmp_path / "cache", notes.append)
        assert_equal(encode(files, cache, Counting()), cold)
        cache.close()
    assert len(notes) == 1 and "damaged and is made anew" in notes[0]
    assert FeatureCache(tmp_path / "cache").usage()[0].entries == 40


def test_a_file_damaged_while_it_is_open_does_no_harm(files: list[Path], tmp_path: Path) -> None:
    notes: list[str] = []
    cache = FeatureCache(tmp_path / "cache", notes.append)
    cold = encode(files, cache, Counting())
    cache.close()
    data = bytearray((tmp_path / "cache" / FILE).read_bytes())
    rng = np.random.default_rng(0)
    for place in rng.integers(100, len(data), size=300):
        data[place] ^= 0xFF
    (tmp_path / "cache" / FILE).write_bytes(bytes(data))
    for _ in range(2):
        assert_equal(encode(files, FeatureCache(tmp_path / "cache", notes.append), Counting()), cold)


def test_a_folder_that_cannot_be_made_is_one_note(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    notes: list[str] = []
    cache = FeatureCache(tmp_path / "file" / "features", notes.append)
    assert_equal(encode(files, cache, Counting()), encode(files, None, Counting()))
    assert cache.usage() == [] and cache.collect(max_bytes=0) == 0
    assert len(notes) == 1 and "features are computed and not kept" in notes[0]


def _fill(folder: Path, files: list[Path]) -> None:
    notes: list[str] = []
    cache = FeatureCache(folder, notes.append)
    for start in range(0, 40, 4):
        encode(files[start:], cache, Counting())
    os._exit(len(notes))


def test_processes_may_fill_it_at_once(files: list[Path], tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_fill, args=(tmp_path / "cache", files)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0] * 4
    encoder = Counting()
    cache = FeatureCache(tmp_path / "cache", pytest.fail)
    assert_equal(encode(files, cache, encoder), encode(files, None, Counting()))
    assert encoder.seen == 0


def test_old_and_longest_unused_entries_are_removed(
    files: list[Path], cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    for name, days in (("old", 30), ("used", 20), ("new", 1)):
        monkeypatch.setattr(module.time, "time", lambda days=days: now - days * module.DAY)
        encode(files, cache, Counting(name))
    monkeypatch.setattr(module.time, "time", lambda: now)
    encode(files, cache, Counting("used"))  # reading is use
    assert cache.collect(max_age=25 * module.DAY) == 40
    assert [use.encoder for use in cache.usage()] == ["enc:new|w:00000000", "enc:used|w:00000000"]
    each = cache.usage()[0].bytes // 40
    assert cache.collect(max_bytes=40 * each) == 40
    assert [(use.encoder, use.entries) for use in cache.usage()] == [("enc:used|w:00000000", 40)]
    assert cache.collect(max_bytes=0) == 40
    assert cache.usage() == [] and cache.find_image("0" * 64) is None


def test_facts_are_kept_by_the_files_bytes(cache: FeatureCache) -> None:
    facts = ImageFacts("ab" * 32, 3, 4, True)
    cache.add_image("00", facts)
    assert cache.find_image("00") == facts
    assert cache.find_image("01") is None


def test_features_that_are_not_finite_are_an_error_and_never_kept(
    files: list[Path], cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = Counting()
    monkeypatch.setattr(encoder, "encode_images", lambda images: np.full((len(images), 3), np.nan, np.float32))
    with pytest.raises(DataError, match="encoder counting: features of 32 of 32 images are not finite"):
        encode(files, cache, encoder)
    assert cache.usage() == []


def test_unreadable_images_are_all_counted_and_the_first_named_in_order(files: list[Path]) -> None:
    for number in (3, 5, 8, 33):
        files[number].write_bytes(b"")
    with pytest.raises(DataError, match=r"4 of 40 images cannot be read: .*-003.*-005.*-008.*; and 1 more"):
        encode(files, None, Counting())


def test_workers_keep_the_order_and_stay_close_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    images, loaded, behind = random_images(200, (4, 4)), [], []
    encoder, lock = Counting(), threading.Lock()

    def load(number: int) -> Image:
        time.sleep(0.001 * (number % 3))
        with lock:
            loaded.append(number)
        return images[number]

    plain = encoder.encode_images

    def watched(batch: list[Image]) -> np.ndarray:
        behind.append(len(loaded) - encoder.seen)
        return plain(batch)

    monkeypatch.setattr(encoder, "encode_images", watched)
    found = encode_set(load, 200, [encoder], "test", SILENT, workers=4)
    assert_equal(found, encode_set(images.__getitem__, 200, [Counting()], "test", SILENT))
    assert max(behind) <= 2 * image_pass.CHUNK + 1


def test_an_image_that_changes_under_way_is_an_error(
    files: list[Path], cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode(files, cache, Counting())
    read = cache.read

    def change(pixels: list[str], key: str, dim: int) -> np.ndarray | None:
        PIL.Image.fromarray(random_images(1, seed=9)[0]).save(files[2])
        return None if files[2].is_file() else read(pixels, key, dim)

    monkeypatch.setattr(cache, "read", change)
    with pytest.raises(DataError, match="image 2 has changed"):
        encode(files, cache, Counting())


def test_pixels_in_memory_are_bounded_whatever_the_images_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches hold up to so many pixels, decoders run as far ahead, and one larger image passes alone."""
    for reader in (image_pass, read_ahead):
        monkeypatch.setattr(reader, "PIXELS", 1000)
    sizes = [(10, 10)] * 35 + [(30, 30), (20, 20), (20, 20), (50, 50), (5, 5)] + [(30, 20)] * 9
    images = [random_images(1, size, seed=number)[0] for number, size in enumerate(sizes)]
    files = write_images(tmp_path / "images", images)
    held, most, batches, lock = 0, 0, list[int](), threading.Lock()
    decode, encoder = image_pass.decode_image, Counting()

    def decoded(data: bytes, path: Path) -> object:
        nonlocal held, most
        found = decode(data, path)
        with lock:
            held += found.pixels.shape[0] * found.pixels.shape[1]
            most = max(most, held)
        return found

    def seen(batch: list[Image]) -> np.ndarray:
        nonlocal held
        pixels = sum(image.shape[0] * image.shape[1] for image in batch)
        batches.append(pixels)
        time.sleep(0.02)  # for the decoders to run as far as they may
        with lock:
            held -= pixels
        return Counting.encode_images(encoder, batch)

    monkeypatch.setattr(image_pass, "decode_image", decoded)
    monkeypatch.setattr(encoder, "encode_images", seen)
    found = encode(files, None, encoder)
    assert len(found) == len(images) and found.sizes == sizes
    assert max(batches) == 2500 and all(pixels <= 1000 for pixels in batches if pixels != 2500)
    assert most <= 2500 + 2 * 1000 + 4 * 900  # a batch, what is ahead, and what is being decoded
    shown = [image[0, 0].tolist() for image in images]
    assert [read_image(file)[0, 0].tolist() for file in files] == shown


def test_large_images_are_found_in_the_cache_too(
    tmp_path: Path, cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    for reader in (image_pass, read_ahead):
        monkeypatch.setattr(reader, "PIXELS", 1000)
    files = write_images(tmp_path / "large", random_images(70, (20, 20), seed=1))
    encoder = Counting()
    cold = encode(files, cache, encoder)
    assert encoder.seen == 70
    forbid_decoding(monkeypatch)
    assert_equal(encode(files, cache, encoder), cold)


def test_an_unreadable_image_among_many_lets_no_decoder_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for reader in (image_pass, read_ahead):
        monkeypatch.setattr(reader, "PIXELS", 500)
    files = write_images(tmp_path / "images", random_images(60, (20, 20), seed=1))
    for file in files[3::7]:
        file.write_bytes(b"no image")
    with pytest.raises(DataError, match=f"{len(files[3::7])} of 60 images cannot be read"):
        encode(files, None, Counting())
    broken = Counting()
    monkeypatch.setattr(broken, "encode_images", lambda batch: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # the decoders ahead are let go
        encode([file for number, file in enumerate(files) if number % 7 != 3], None, broken)


@pytest.mark.parametrize("what", ["device", "pipe", "folder", "nowhere", "rows"])
def test_a_cache_of_another_kind_is_a_note(what: str, files: list[Path], tmp_path: Path) -> None:
    folder, notes = tmp_path / "cache", list[str]()
    folder.mkdir()
    place = folder / FILE
    if what == "device":
        place.symlink_to("/dev/zero")
    elif what == "pipe":
        os.mkfifo(place)
    elif what == "folder":
        place.mkdir()
    elif what == "nowhere":
        place.symlink_to(tmp_path / "gone" / "gone")
    else:
        encode(files, FeatureCache(folder), Counting())
        with sqlite3.connect(place) as db:  # values of other kinds than ours
            db.execute("UPDATE features SET row = 'text', sum = 7, used = 'never'")
            db.execute("UPDATE images SET pixels = x'00ff', height = 'tall', sum = NULL")
            db.execute("UPDATE encoders SET key = NULL")
    wanted = encode(files, None, Counting())
    assert_equal(encode(files, FeatureCache(folder, notes.append), Counting()), wanted)
    assert notes or what == "rows"
    assert all("features are computed and not kept" in note or "made anew" in note for note in notes)
    FeatureCache(folder, notes.append).usage()
