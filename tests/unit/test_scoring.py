"""Scoring end to end on small images, with EfficientNet-Lite0 and a small random CLIP."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from ccbench.errors import DataError, MissingError
from ccbench.features import open_encoder
from ccbench.features.image_pass import encode_set
from ccbench.metrics.sets.frechet import frechet_distance
from ccbench.runs.scorecard import Scorecard, ScoredImages
from ccbench.scoring import REAL_SPLIT, VAE_CEILING, SynthesisScorer, score_folders, synthesis_scorer, two_folders
from ccbench.types import Condition, Image, RealPair, Score, SilentProgress
from fake_encoders import RedSegmenter, random_images, write_images, write_mini_clip

Folders = tuple[Path, Path]


class TinyEncoder:
    """Colour means and spreads of 2 x 3 cells: fast, and order or pairing errors change its features."""

    id = "lite0"
    signature = "enc:tiny|w:00000000|resize:none"
    path, path_error = "eager cpu", 0.0
    dim = 12
    seen = 0

    def encode_images(self, images: list[Image]) -> np.ndarray:
        self.seen += len(images)
        halves = [half for image in images for half in np.array_split(image.astype(np.float32), 2)]
        rows = [np.concatenate([half.mean(axis=(0, 1)), half.std(axis=(0, 1))]) for half in halves]
        return np.array(rows, dtype=np.float32).reshape(len(images), 12)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> TinyEncoder:
    encoder = TinyEncoder()
    for module in (two_folders, synthesis_scorer):
        monkeypatch.setattr(module, "open_encoder", lambda name, **settings: encoder)
    return encoder


@pytest.fixture
def both(tmp_path: Path) -> Folders:
    write_images(tmp_path / "made", random_images(8, seed=1))
    write_images(tmp_path / "real", random_images(8, seed=2))
    return tmp_path / "made", tmp_path / "real"


def write_prompts(path: Path, prompts: dict[str, str], key: str = "id", text: str = "prompt") -> Path:
    path.write_text("".join(json.dumps({key: name, text: prompt}) + "\n" for name, prompt in prompts.items()))
    return path


def score(pair: Folders, **changes: object) -> Scorecard:
    return score_images(pair, **changes).card


def score_images(pair: Folders, **changes: object) -> ScoredImages:
    settings: dict[str, object] = {
        "prompts": None,
        "set_encoder": "lite0",
        "set_weights": None,
        "text_encoder": None,
        "text_weights": None,
    }
    return score_folders(*pair, **{**settings, **changes})  # type: ignore[arg-type]


def by_name(scores: list[Score]) -> dict[str, Score]:
    return {entry.metric: entry for entry in scores}


def make_pairs(images: list[Image], prefix: str = "case", clusters: bool = False) -> list[RealPair]:
    mask = np.ones(images[0].shape[:2], dtype=bool)
    words = ["red", "pale", "round", "left"]
    return [
        RealPair(
            image,
            Condition(
                f"{prefix}-{i:03d}", mask, f"a {words[i % 4]} polyp", cluster=f"video {i // 3}" if clusters else None
            ),
        )
        for i, image in enumerate(images)
    ]


def test_folders_with_both_encoders(tmp_path: Path, both: Folders) -> None:
    clip = write_mini_clip(tmp_path / "clip")
    long_text = "polyp " * 80
    prompts = write_prompts(
        tmp_path / "p.jsonl", {f"case-{i:03d}": long_text if i == 0 else "a red polyp" for i in range(9)}
    )
    card, table = score_images(both, prompts=prompts, text_encoder="mini-clip", text_weights=clip)
    scores = by_name(card.scores)
    assert list(scores) == [
        *(f"{name}_lite0" for name in ("fd", "kid", "precision", "recall", "density", "coverage", "fd_infinity")),
        "cmmd_mini-clip",
        "clip_score",
        "clip_image",
    ]
    without = {entry.metric for entry in card.scores if entry.value is None or entry.interval is None}
    assert without >= {"fd_infinity_lite0"} and "8 images" in str(scores["fd_infinity_lite0"].reason)
    assert not without & {"fd_lite0", "kid_lite0", "cmmd_mini-clip", "clip_score", "clip_image"}
    assert all(scores[metric].no_interval for metric in without - {"fd_infinity_lite0"})
    made, real = (open_encoder("lite0").encode_images(random_images(8, seed=seed)) for seed in (1, 2))
    assert scores["fd_lite0"].value == pytest.approx(frechet_distance(made, real), rel=1e-4)
    assert scores["fd_lite0"].signature.startswith(
        "fd_lite0|enc:lite0|w:57934424|resize:clean-bicubic224|n:8x8|ref:folder@"
    )
    assert scores["clip_score"].n_real is None
    assert table["condition_id"].tolist() == [f"case-{i:03d}" for i in range(8)]
    assert table["clip_image"].mean() == pytest.approx(scores["clip_image"].value)
    assert card.notes.model_dump(mode="json") == {"prompts_truncated_share": 1 / 8}
    assert [entry.signature.split("|n:")[1].split("|")[0] for entry in card.controls[REAL_SPLIT]] == ["4x4"] * 8


def test_a_folder_against_itself_is_perfect(tmp_path: Path, both: Folders) -> None:
    clip = write_mini_clip(tmp_path / "clip")
    scores = by_name(score((both[0], both[0]), text_weights=clip).scores)
    assert scores["fd_lite0"].value == pytest.approx(0, abs=1e-6)
    assert scores["clip_image"].value == pytest.approx(100)


def test_partners_are_joined_on_the_stem_not_on_the_order(tmp_path: Path, tiny: TinyEncoder) -> None:
    a, b = random_images(2)
    for folder, suffix in (("made", "png"), ("real", "bmp")):  # sorted: a.c.png, a.png but a.bmp, a.c.bmp
        (tmp_path / folder).mkdir()
        PIL.Image.fromarray(a).save(tmp_path / folder / f"a.{suffix}")
        PIL.Image.fromarray(b).save(tmp_path / folder / f"a.c.{suffix}")
    table = score_images(
        (tmp_path / "made", tmp_path / "real"), text_weights=write_mini_clip(tmp_path / "clip")
    ).per_sample
    assert table["condition_id"].tolist() == ["a.c", "a"]
    assert table["clip_image"].tolist() == pytest.approx([100, 100])


def test_scorecard_survives_json(both: Folders, tiny: TinyEncoder) -> None:
    card = score(both)
    text = json.dumps(card.model_dump(mode="json"), allow_nan=False)
    again = Scorecard.model_validate(json.loads(text))
    assert again == card and json.dumps(again.model_dump(mode="json")) == text
    fields = ["metric", "signature", "value", "interval", "p", "n", "n_real", "reason", "no_interval"]
    assert list(json.loads(text)["scores"][0]) == fields
    assert [entry.metric for entry in card.scores if entry.p is not None] == ["kid_lite0", "cmmd_mini-clip"]
    old = card.model_dump(mode="json")
    for entry in old["scores"]:
        del entry["p"]  # of a version that did not test
    assert Scorecard.model_validate(old).scores[1].p is None


def test_pair_metrics_without_pairs_say_why(tmp_path: Path, both: Folders, tiny: TinyEncoder) -> None:
    (both[1] / "case-007.png").rename(both[1] / "other.png")
    scores = by_name(score(both, text_weights=write_mini_clip(tmp_path / "clip")).scores)
    assert scores["clip_score"].reason == "no prompts were given"
    assert "7 are shared by 8 images and 8 reference images" in str(scores["clip_image"].reason)
    assert scores["fd_lite0"].value is not None


def test_a_default_text_encoder_that_is_missing_is_a_reason_and_an_asked_one_an_error(
    tmp_path: Path, both: Folders, tiny: TinyEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ccbench.base.assets.WEIGHTS_ROOT", tmp_path / "none")
    card, table = score_images(both)
    assert "no shipped weights" in str(by_name(card.scores)["clip_image"].reason)
    assert table["clip_image"].isna().all()
    with pytest.raises(MissingError):
        score(both, text_encoder="mini-clip")
    with pytest.raises(MissingError):
        score(both, text_weights=tmp_path / "gone")


@pytest.mark.parametrize(("key", "text"), [("id", "prompt"), ("file", "caption"), ("id", "text")])
def test_prompt_files_and_their_faults(tmp_path: Path, both: Folders, tiny: TinyEncoder, key: str, text: str) -> None:
    clip = write_mini_clip(tmp_path / "clip")
    suffix = "" if key == "id" else ".png"
    names = {f"case-{i:03d}{suffix}": f"a polyp {i}" for i in range(8)}
    path = write_prompts(tmp_path / "p.jsonl", names, key, text)
    assert by_name(score(both, prompts=path, text_weights=clip).scores)["clip_score"].value is not None
    lines = path.read_text().splitlines()
    for content, words in (
        (lines[:6], "no prompt for 2 of 8 images; the first: case-006.png"),
        ([*lines, lines[3]], "p.jsonl:9: .* has a prompt already"),
        ([*lines[:2], "{"], "p.jsonl:3: "),
        (['{"id": "x"}'], "p.jsonl:1: found None as prompt"),
        (['{"prompt": "x"}'], "p.jsonl:1: found None as id"),
        (["", '{"id": "x", "prompt": " "}'], "p.jsonl:2: found ' ' as prompt"),
    ):
        path.write_text("\n".join(content))
        with pytest.raises(DataError, match=words):
            score(both, prompts=path, text_weights=clip)


def test_unreadable_images_stop_the_scoring_and_are_counted(both: Folders, tiny: TinyEncoder) -> None:
    for number in (3, 5):
        path = both[0] / f"case-{number:03d}.png"
        path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(DataError, match=r"2 of 8 images cannot be read: .*case-003\.png.*case-005\.png") as caught:
        score(both)
    assert caught.value.exit_code == 4
    assert tiny.seen == 0
    with pytest.raises(DataError, match="not a folder"):
        score((both[0] / "gone", both[1]))


def test_black_and_duplicate_images_are_scored_and_reported(both: Folders, tiny: TinyEncoder) -> None:
    images = random_images(8, seed=1)
    images[2] = images[6] = images[7] = np.zeros_like(images[0])
    images[4] = images[1]
    write_images(both[0], images)
    card = score(both)
    assert card.failures == {"unreadable": 0, "constant": 3, "duplicate": 3}
    assert by_name(card.scores)["fd_lite0"].n == 8


def test_one_image_has_no_set_distance(tmp_path: Path, both: Folders, tiny: TinyEncoder) -> None:
    write_images(tmp_path / "one", random_images(1))
    for pair, n in (((tmp_path / "one", both[1]), "1x8"), ((both[0], tmp_path / "one"), "8x1")):
        scores = by_name(score(pair).scores)
        for name in ("fd_lite0", "kid_lite0"):
            assert scores[name].value is None
            assert "at least 2" in str(scores[name].reason)
            assert f"|n:{n}|" in scores[name].signature


def test_the_floor_does_not_follow_file_names_and_keeps_equal_n(tmp_path: Path, tiny: TinyEncoder) -> None:
    images = random_images(11, seed=3)
    write_images(tmp_path / "made", random_images(4))
    write_images(tmp_path / "a", images)
    write_images(tmp_path / "b", images[::-1], prefix="renamed")
    floors = [score((tmp_path / "made", tmp_path / name)).controls[REAL_SPLIT] for name in "ab"]
    assert [entry.signature for entry in floors[0]] == [entry.signature for entry in floors[1]]
    assert floors[0][0].value == pytest.approx(floors[1][0].value, rel=1e-9)
    assert (floors[0][0].n, floors[0][0].n_real) == (4, 7)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Path], list[RealPair], list[RealPair]]:
    clip = write_mini_clip(tmp_path / "clip")
    opened = synthesis_scorer.open_text_encoder
    monkeypatch.setattr(
        synthesis_scorer, "open_text_encoder", lambda name, device: opened(name, weights=clip, device=device)
    )
    test, train = make_pairs(random_images(9, seed=5), clusters=True), make_pairs(random_images(14, seed=6), "train")
    return write_images(tmp_path / "images", random_images(9, seed=7)), test, train


def open_scorer(test: list[RealPair], train: list[RealPair], controls: Any = None) -> SynthesisScorer:
    names: Any = {"set_encoder": "lite0", "text_encoder": "mini-clip", "segmenter": RedSegmenter()}
    return SynthesisScorer(test, train, "train@0123456789ab", controls=controls or {}, **names)


def run(files: list[Path], test: list[RealPair], train: list[RealPair], controls: Any = None) -> Scorecard:
    return open_scorer(test, train, controls).score(files).card


def test_synthesis_and_its_real_control(
    made: tuple[list[Path], list[RealPair], list[RealPair]], tiny: TinyEncoder, tmp_path: Path
) -> None:
    files, test, train = made
    card = run(files, test, train)
    assert tiny.seen == 9 + 9 + 14  # one pass over each set
    scores, control = by_name(card.scores), by_name(card.controls[REAL_SPLIT])
    assert scores["fd_lite0"].signature == "fd_lite0|enc:tiny|w:00000000|resize:none|n:9x14|ref:train@0123456789ab|v:1"
    assert [entry.signature for entry in card.scores[:3]] == [
        entry.signature for entry in card.controls[REAL_SPLIT][:3]
    ]
    for metric in ("fd_lite0", "recall_lite0", "clip_score"):  # nine frames of fewer videos
        assert scores[metric].interval is None and "clusters: too few" in str(scores[metric].no_interval)
    assert control["clip_image"].reason is not None
    assert card.failures == {"unreadable": 0, "constant": 0, "duplicate": 0, "wrong_size": 0}
    # The real images scored as if a method had made them are the control, to the last digit; CLIP-image would be 100.
    copies = write_images(tmp_path / "copies", [pair.image for pair in test])
    assert run(copies, test, train).scores == card.controls[REAL_SPLIT]
    copies[:2] = files[:2]
    assert by_name(run(copies, test, train).scores)["clip_image"].value is not None


def test_what_runs_share_is_read_once_and_changes_no_score(
    made: tuple[list[Path], list[RealPair], list[RealPair]], tiny: TinyEncoder, tmp_path: Path
) -> None:
    files, test, train = made
    mixed = [dataclasses.replace(pair, source=("ours", "theirs")[i % 3 == 0]) for i, pair in enumerate(test)]
    others = write_images(tmp_path / "others", random_images(9, seed=8))
    change = {VAE_CEILING: lambda image: 255 - image}
    scorer = open_scorer(mixed, train, change)
    shared = 9 + 14 + 9
    found = [scorer.score(others), scorer.score(files)]
    assert tiny.seen == shared + 9 + 9
    for (card, table), images in zip(found, (others, files), strict=True):
        alone = open_scorer(mixed, train, change).score(images)
        assert card == alone.card and table.equals(alone.per_sample)
        assert list(card.by_source) == ["ours", "theirs"] and len(card.near_pairs) == 9


def test_a_control_changes_the_real_images_and_is_scored_as_a_method_is(
    made: tuple[list[Path], list[RealPair], list[RealPair]], tiny: TinyEncoder, tmp_path: Path
) -> None:
    files, test, train = made
    inverted = write_images(tmp_path / "inverted", [255 - pair.image for pair in test])
    card = run(files, test, train, {VAE_CEILING: lambda image: 255 - image})
    assert list(card.controls) == [REAL_SPLIT, VAE_CEILING]
    assert card.controls[VAE_CEILING] == run(inverted, test, train).scores
    assert card.scores == run(files, test, train).scores


def test_the_data_sets_of_a_mixed_split_are_also_scored_apart(
    made: tuple[list[Path], list[RealPair], list[RealPair]], tiny: TinyEncoder
) -> None:
    files, test, train = made
    mixed, known = (
        [dataclasses.replace(pair, source=("ours", "theirs")[i % 3 == 0]) for i, pair in enumerate(pairs)]
        for pairs in (test, train)
    )
    card = run(files, mixed, known)
    assert card.scores == run(files, test, train).scores
    assert run(files, test, train).by_source == {}
    assert list(card.by_source) == ["ours", "theirs"]
    theirs = card.by_source["theirs"]
    alone = run(files[::3], test[::3], train[::3])
    both = (theirs.scores, alone.scores), (theirs.controls[REAL_SPLIT], alone.controls[REAL_SPLIT])
    for scores, wanted in ([[one for one in part if "memorised" not in one.metric] for part in pair] for pair in both):
        assert [(entry.metric, entry.n, entry.n_real) for entry in scores] == [
            (entry.metric, entry.n, entry.n_real) for entry in wanted
        ]
        for entry, other in zip(scores, wanted, strict=True):  # float32 features of another batch
            assert (entry.value is None) == (other.value is None)
            assert entry.value is None or entry.value == pytest.approx(other.value, rel=1e-6)
    assert "|n:3x5|ref:train@0123456789ab/theirs|" in theirs.scores[0].signature
    # What a method has seen is all of the training images.
    assert [entry.n_real for entry in theirs.scores if "memorised" in entry.metric] == [14, 14]
    assert Scorecard.model_validate(card.model_dump(mode="json")).by_source == card.by_source


def test_synthesis_is_repeatable_and_pairs_by_position(
    made: tuple[list[Path], list[RealPair], list[RealPair]], tiny: TinyEncoder
) -> None:
    files, test, train = made
    (first, table), again = (open_scorer(test, train).score(files) for _ in range(2))
    assert first == again.card
    assert table.equals(again.per_sample)
    assert table["condition_id"].tolist() == [pair.condition.id for pair in test]
    shuffled = by_name(run(files[1:] + files[:1], test, train).scores)
    assert shuffled["fd_lite0"].value == pytest.approx(by_name(first.scores)["fd_lite0"].value, rel=1e-9)
    assert shuffled["clip_image"].value != by_name(first.scores)["clip_image"].value


def test_synthesis_of_another_size_or_count(
    made: tuple[list[Path], list[RealPair], list[RealPair]], tiny: TinyEncoder, tmp_path: Path
) -> None:
    files, test, train = made
    with pytest.raises(DataError, match="8 images for 9 test conditions"):
        run(files[1:], test, train)
    files[2:4] = write_images(tmp_path / "larger", random_images(2, (30, 30)))
    assert run(files, test, train).failures["wrong_size"] == 2


def test_memory_is_bounded_by_the_chunk(tiny: TinyEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ccbench.features.read_ahead.CHUNK", 3)
    sizes: list[int] = []
    encode = tiny.encode_images
    monkeypatch.setattr(tiny, "encode_images", lambda images: (sizes.append(len(images)), encode(images))[1])
    images = random_images(8)
    encoded = encode_set(images.__getitem__, 8, [tiny, tiny], "test", SilentProgress())
    assert sizes == [3, 3, 2]  # an encoder given twice runs once
    assert np.array_equal(encoded.features["lite0"], TinyEncoder().encode_images(images))
    assert dataclasses.is_dataclass(encoded)
