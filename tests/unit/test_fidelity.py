"""What scorecards say of masks, seams, prompts and memorisation, beside the functions that they come from."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from ccbench.base.images import crop_polyp
from ccbench.data.attributes.measured_attributes import measure_attributes
from ccbench.data.captions.stated_attributes import FROM_TEXT, measurable, read_attributes, split_clauses
from ccbench.data.phantom.render import render_phantom
from ccbench.metrics.images.clip import clip_score
from ccbench.metrics.images.mask_overlap import compare_masks
from ccbench.metrics.images.seam import seam
from ccbench.metrics.images.text_fidelity import text_fidelity
from ccbench.runs.scorecard import Scorecard, ScoredImages
from ccbench.scoring import REAL_SPLIT, SynthesisScorer, fidelity, synthesis_scorer
from ccbench.types import Condition, Image, RealPair
from fake_encoders import RedSegmenter, write_images, write_mini_clip

N = 8


class Means:
    """Colour means of the four quarters: enough to tell phantoms apart."""

    id, signature, dim, path, path_error = "lite0", "enc:means|w:00000000|resize:none", 12, "eager cpu", 0.0

    def encode_images(self, images: list[Image]) -> np.ndarray:
        quarters = [
            [q.mean(axis=(0, 1)) for half in np.array_split(i, 2) for q in np.array_split(half, 2, 1)] for i in images
        ]
        return np.array(quarters, dtype=np.float32).reshape(len(images), 12)


def make_pairs(first: int, count: int) -> list[RealPair]:
    phantoms = [render_phantom(first + number) for number in range(count)]
    return [
        RealPair(one.image, Condition(f"case-{first + number}", one.mask, one.caption))
        for number, one in enumerate(phantoms)
    ]


@pytest.fixture(scope="module")
def test_pairs() -> list[RealPair]:
    return make_pairs(100, N)


@pytest.fixture(scope="module")
def train_pairs() -> list[RealPair]:
    return make_pairs(500, N + 2)


Score = Callable[..., ScoredImages]


@pytest.fixture
def score(tmp_path: Path, test_pairs: Any, train_pairs: Any, monkeypatch: pytest.MonkeyPatch) -> Score:
    clip, opened = write_mini_clip(tmp_path / "clip"), synthesis_scorer.open_text_encoder
    state = load_file(clip / "model.safetensors")
    state["text_projection"] *= -1  # this network's cosines are negative, and every score would be 0
    save_file(state, clip / "model.safetensors")
    monkeypatch.setattr(
        synthesis_scorer, "open_text_encoder", lambda name, device: opened(name, weights=clip, device=device)
    )
    monkeypatch.setattr(synthesis_scorer, "open_encoder", lambda name, device: Means())

    def call(images: list[Image], segmenter: Any = None, pairs: Any = test_pairs, **more: Any) -> ScoredImages:
        files = write_images(tmp_path / "made", images)
        names: Any = {"set_encoder": "lite0", "text_encoder": "mini-clip", "segmenter": segmenter or RedSegmenter()}
        return SynthesisScorer(pairs, train_pairs, "train@0", **names).score(files, **more)

    return call


def values(card: Scorecard) -> dict[str, float | None]:
    return {entry.metric: entry.value for entry in card.scores}


def test_masks_seams_and_prompts_are_scored_by_their_functions(score: Score, test_pairs: list[RealPair]) -> None:
    images = [np.roll(pair.image, 9, axis=1) for pair in test_pairs[::-1]]
    (card, table), segmenter = score(images), RedSegmenter()
    found = values(card)
    masks = [
        compare_masks(segmenter.segment([i])[0], p.condition.mask) for i, p in zip(images, test_pairs, strict=True)
    ]
    assert found["mask_dice"] == pytest.approx(np.mean([one.dice for one in masks]))
    assert found["mask_area_error"] == pytest.approx(np.mean([abs(one.area_error) for one in masks]))
    assert table["polyp_hallucinated"].tolist() == [one.hallucinated for one in masks]
    seams = [
        (seam(i, p.condition.mask), seam(p.image, p.condition.mask)) for i, p in zip(images, test_pairs, strict=True)
    ]
    wanted = [np.nan if made is None or real is None else made.colour - real.colour for made, real in seams]
    np.testing.assert_allclose(table["seam_colour"], wanted)
    assert found["seam_colour"] == pytest.approx(np.nanmean(wanted))
    shown = [measure_attributes(i, p.condition.mask).words() for i, p in zip(images, test_pairs, strict=True)]
    stated = [measurable(read_attributes(pair.condition.prompt)) for pair in test_pairs]
    told = text_fidelity(shown, stated, FROM_TEXT)
    assert told is not None and found["text_fidelity"] == pytest.approx(told.value)
    assert card.notes.judge_dice_validation == 0.5
    signatures = {entry.metric: entry.signature for entry in card.scores}
    assert signatures["mask_dice"].startswith("mask_dice|judge:red|n:8|ref:conditions@")
    # The images in another order are other answers to the same conditions.
    assert values(score(images[::-1]).card)["text_fidelity"] != found["text_fidelity"]


def test_real_images_are_the_ceiling(score: Score, test_pairs: list[RealPair]) -> None:
    card = score([pair.image for pair in test_pairs]).card
    assert card.scores == card.controls[REAL_SPLIT]
    entries = {entry.metric: entry for entry in card.scores}
    assert entries["seam_colour"].value is None and "compared with itself" in str(entries["seam_colour"].reason)
    assert (entries["text_fidelity"].value or 0) > 0.5


def test_without_a_segmenter_and_with_images_that_do_not_fit_there_is_a_reason(
    score: Score, test_pairs: list[RealPair]
) -> None:
    images = [pair.image for pair in test_pairs[::-1]]
    images[3] = np.zeros((40, 40, 3), dtype=np.uint8)
    card, table = score(images, segmenter="no segmenter here")
    entries = {entry.metric: entry for entry in card.scores}
    assert (entries["mask_dice"].value, entries["mask_dice"].reason) == (None, "no segmenter here")
    assert card.failures["wrong_size"] == 1
    assert entries["text_fidelity"].n == N - 1 and np.isnan(table["text_fidelity"][3])
    assert "|n:8|" in entries["text_fidelity"].signature
    flawed = score(images).per_sample
    assert np.isnan(flawed["mask_dice"][3]) and flawed["mask_dice"].notna().sum() == N - 1


def test_copies_of_training_images_are_found_and_named(
    score: Score, test_pairs: list[RealPair], train_pairs: list[RealPair]
) -> None:
    card = score([pair.image for pair in train_pairs[2:]]).card
    assert card.notes.memorisation == "look" and values(card)["memorised_near"] == 1
    assert {(pair.index, pair.training_index) for pair in card.near_pairs} == {(k, k + 2) for k in range(N)}
    assert {pair.training_id for pair in card.near_pairs} == {pair.condition.id for pair in train_pairs[2:]}
    assert max(pair.distance for pair in card.near_pairs) < 1e-5
    assert Scorecard.model_validate(card.model_dump(mode="json")).near_pairs == card.near_pairs


def test_crops_are_scored_where_the_encoder_reads_them(
    score: Score, test_pairs: list[RealPair], monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [pair.image for pair in test_pairs[::-1]]
    entries = {entry.metric: entry for entry in score(images).card.scores}
    assert "on crops" in str(entries["clip_score_polyp"].reason)
    monkeypatch.setattr(fidelity, "WHOLE_FRAMES", {})
    seen = score(images).per_sample
    assert seen["clip_score_polyp"].notna().all()
    encoder = synthesis_scorer.open_text_encoder("mini-clip", device="cpu")
    crops = [crop_polyp(i, pair.condition.mask, 0.5) for i, pair in zip(images, test_pairs, strict=True)]
    said = [split_clauses(pair.condition.prompt).foreground for pair in test_pairs]
    wanted = clip_score(encoder.encode_images(crops), encoder.encode_texts(said))
    assert wanted.max() > 1
    np.testing.assert_allclose(seen["clip_score_polyp"], wanted, rtol=1e-4, atol=1e-4)


def test_diversity_is_measured_on_the_conditions_that_have_copies(
    score: Score, test_pairs: list[RealPair], tmp_path: Path
) -> None:
    images = [pair.image for pair in test_pairs]
    others = write_images(tmp_path / "copies", [images[1], np.roll(images[4], 30, axis=0), 255 - images[4]])
    card, table = score(images, copies={1: others[:1], 4: others[1:]})
    entry = next(one for one in card.scores if one.metric == "diversity_lite0")
    column = table["diversity_lite0"]
    rows = Means().encode_images([images[4], np.roll(images[4], 30, axis=0), 255 - images[4]]).astype(float)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    far = np.mean([1 - rows[a] @ rows[b] for a, b in ((0, 1), (0, 2), (1, 2))])
    assert column.notna().sum() == entry.n == 2
    assert column[1] == pytest.approx(0, abs=1e-6) and column[4] == pytest.approx(far, rel=1e-5)
    assert entry.value == pytest.approx(far / 2, rel=1e-4)
    assert all(one.metric != "diversity_lite0" for one in score(images).card.scores)


def test_a_mask_without_polyp_has_no_words_and_no_seam(score: Score, test_pairs: list[RealPair]) -> None:
    empty = dataclasses.replace(test_pairs[0].condition, mask=np.zeros((128, 128), dtype=bool))
    pairs = [dataclasses.replace(test_pairs[0], condition=empty), *test_pairs[1:]]
    row = score([pair.image for pair in test_pairs[::-1]], pairs=pairs).per_sample.loc[0]
    assert np.isnan(row["seam_colour"]) and np.isnan(row["text_fidelity"]) and row["mask_dice"] in (0, 1)
