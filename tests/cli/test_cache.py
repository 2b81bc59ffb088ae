"""The feature cache through the command line: a second scoring prints the same and encodes nothing."""

import re
from pathlib import Path

import pytest

from calling import Call
from ccbench.features.fast_paths import TowerEncoder
from fake_encoders import random_images, write_images

SCORE = ("score", "--images", "made", "--reference", "real", "--device", "cpu", "--json")


@pytest.fixture
def folders(call: Call) -> None:
    write_images(Path("made"), random_images(3, seed=1))
    write_images(Path("real"), random_images(3, seed=2), prefix="other")


def test_a_second_scoring_prints_the_same_and_encodes_nothing(
    call: Call, folders: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = call(*SCORE, "--no-cache")
    assert not Path("home/features").exists()
    cold = call(*SCORE)
    monkeypatch.setattr(TowerEncoder, "encode_images", lambda *args: pytest.fail("encoded"))
    warm = call(*SCORE)
    assert plain.out == cold.out == warm.out and plain.code == warm.code == 0


def test_info_and_gc(call: Call, folders: None) -> None:
    assert call("cache", "info", "--json").json["encoders"] == []
    assert not Path("home").exists()
    call(*SCORE)
    found = call("cache", "info", "--json").json
    assert [(one["encoder"], one["entries"]) for one in found["encoders"]] == [("enc:lite0|w:57934424", 6)]
    assert found["bytes"] > found["encoders"][0]["bytes"] > 6 * 1280 * 4
    table = call("cache", "info")
    assert re.search(r"enc:lite0\|w:57934424 +6 ", table.out) and "home/features" in table.out
    assert call("cache", "gc", "--max-age", "1", "--json").json == {"removed": 0}
    assert call("cache", "gc", "--max-size", "20kB", "--json").json == {"removed": 3}
    assert "removed 3 entries" in call("cache", "gc", "--max-size", "0").out


@pytest.mark.parametrize(("args", "words"), [((), "--max-age"), (("--max-size", "2 pounds"), "500MB or 2GB")])
def test_gc_wants_to_know_what(call: Call, args: tuple[str, ...], words: str) -> None:
    done = call("cache", "gc", *args)
    assert done.code == 2 and words in done.err


def test_a_cache_that_cannot_be_written_is_one_note(call: Call, folders: None) -> None:
    Path("home").write_text("no folder")
    done = call(*SCORE)
    assert done.code == 0 and done.err.count("feature cache") == 1
    assert "feature cache" not in call(*SCORE, "--quiet").err
