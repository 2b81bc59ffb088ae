"""The measured captioner and the sentences: every attribute is stated, can be read back, and fits a text encoder."""

import re
from collections.abc import Mapping
from functools import cache
from typing import get_args

import numpy as np
import pytest

from ccbench.data.attributes.measured_attributes import (
    COUNTS,
    HIGHLIGHTS,
    MEASURED_BACKGROUND,
    MEASURED_FOREGROUND,
    MeasuredSurface,
    MeasuredTint,
    measure_attributes,
)
from ccbench.data.attributes.sure_attributes import measure_sure_words
from ccbench.data.captioners import MeasuredCaptioner
from ccbench.data.captions.stated_attributes import measurable, read_attributes, split_clauses
from ccbench.data.captions.wording import Clauses, write_caption
from ccbench.data.captions.words import ADJECTIVES, BACKGROUND, COLOUR_CLAUSES, NO_POLYP, PLACES
from ccbench.data.captions.words import COUNTS as COUNT_WORDS
from ccbench.data.phantom.phantom_attributes import ATTRIBUTE_VALUES, TINTS
from ccbench.data.phantom.render import Phantom, render_phantom
from ccbench.data.polyp_source import CAPTIONS as CAPTIONS_OF_POLYPS

VALUES: Mapping[str, tuple[str, ...]] = {
    **{name: ATTRIBUTE_VALUES[name] for name in ("size", "position", "outline", "colour", "demarcation")},
    **{name: ATTRIBUTE_VALUES[name] for name in ("brightness", "lumen")},
    "surface": get_args(MeasuredSurface),
    "tint": (*TINTS, "bluish"),
    "count": (*COUNTS, "none"),
    "highlights": HIGHLIGHTS,
}
CAPTIONER, PROTOCOL_CAPTIONER = MeasuredCaptioner(), MeasuredCaptioner(CAPTIONS_OF_POLYPS)
NEEDED = ("count", "size", "position")


@cache
def phantom(seed: int) -> Phantom:
    return render_phantom(seed)


def phrases(name: str, value: str) -> tuple[str, ...]:
    if name == "count":
        return {"one": ("a", "an"), "none": NO_POLYP}.get(value) or COUNT_WORDS[value]
    if name == "position":
        return PLACES[value]
    if name == "colour":
        return ADJECTIVES[name][value] + COLOUR_CLAUSES[value]
    return (ADJECTIVES if name in ADJECTIVES else BACKGROUND)[name][value]


def read_back(clause: str, names: tuple[str, ...]) -> dict[str, str]:
    """The value of each attribute whose longest phrase is in the clause: `no visible lumen`, not `visible lumen`."""
    found = {}
    for name in names:
        stated = [
            (len(phrase), value)
            for value in VALUES[name]
            for phrase in phrases(name, value)
            if re.search(rf"(?<![\w-]){re.escape(phrase)}(?![\w-])", clause)
        ]
        if name == "count":  # `a smooth surface` of several polyps has an article as well
            stated = [(length, value) for length, value in stated if value != "one"] or stated
        if stated:
            found[name] = max(stated)[1]
    return found


def random_words(rng: np.random.Generator) -> dict[str, str]:
    words = {name: values[rng.integers(len(values))] for name, values in VALUES.items()}
    if words["count"] == "none":
        return {name: words[name] for name in ("count", *MEASURED_BACKGROUND)}
    return words


CAPTIONS = [
    (words, write_caption(words, rng)) for rng in [np.random.default_rng(0)] for words in map(random_words, [rng] * 400)
]


def leave_out(words: Mapping[str, str], rng: np.random.Generator) -> dict[str, str]:
    return {name: value for name, value in words.items() if name in NEEDED or rng.random() < 0.5}


PARTIAL: list[tuple[dict[str, str], Clauses]] = [
    (words, write_caption(words, rng))
    for rng in [np.random.default_rng(1)]
    for words in (leave_out(random_words(rng), rng) for _ in range(400))
]


def test_every_value_has_words() -> None:
    assert set(VALUES) == {*MEASURED_FOREGROUND, *MEASURED_BACKGROUND}
    assert set(VALUES["tint"]) == {value for part in get_args(MeasuredTint) for value in (get_args(part) or (part,))}
    assert {name: set(BACKGROUND[name]) for name in MEASURED_BACKGROUND} == {
        n: set(VALUES[n]) for n in MEASURED_BACKGROUND
    }


def test_captions_state_every_attribute_and_read_back() -> None:
    for words, said in CAPTIONS + PARTIAL:
        found = {**read_back(said.foreground, MEASURED_FOREGROUND), **read_back(said.background, MEASURED_BACKGROUND)}
        assert found == words, said.text


def test_what_is_left_out_is_not_read() -> None:
    for words, said in PARTIAL:
        assert measurable(read_attributes(said.text)) == words, said.text
        assert split_clauses(said.text) == (said.foreground, said.background)


def test_a_caption_may_state_the_polyp_alone() -> None:
    said = write_caption(dict.fromkeys(["count"], "none"), np.random.default_rng(0))
    assert said.background == "" and said.text == f"{said.foreground}."
    words = {"count": "one", "size": "small", "position": "left"}
    said = write_caption(words, np.random.default_rng(0))
    assert said.text == "at the middle left, a diminutive polyp." and said.background == ""


def test_foreground_comes_first() -> None:
    for _, said in CAPTIONS + PARTIAL:
        assert said.text.startswith(said.foreground) and said.text.endswith(f"{said.background}.")


def test_articles_and_number_are_right() -> None:
    for words, said in CAPTIONS + PARTIAL:
        assert not re.search(r"\ba [aeiou]|\ban [^aeiou]|  |\bNone\b", said.text), said.text
        assert ("polyps" in said.foreground) == (words["count"] in ("two", "several"))
        assert ("the larger one" in said.foreground) == (words["count"] == "two")


def test_captions_fit_a_text_encoder() -> None:
    from open_clip.tokenizer import SimpleTokenizer

    tokenizer = SimpleTokenizer()  # CLIP's own
    for _, said in CAPTIONS + PARTIAL:
        assert len(said.text.split()) <= 45, said.text
        assert len(tokenizer.encode(said.text)) <= 75, said.text  # 77 with start and end


def test_captions_vary() -> None:
    words = CAPTIONS[0][0]
    rng = np.random.default_rng(0)
    assert len({write_caption(words, rng).text for _ in range(100)}) > 60


def test_a_caption_follows_from_pixels_and_id() -> None:
    item = phantom(3)
    first, again = (CAPTIONER.caption(item.image, item.mask, "frame 1") for _ in range(2))
    assert first == again
    others = {CAPTIONER.caption(item.image, item.mask, f"frame {index}").text for index in range(2, 12)}
    assert len(others) > 5  # the wording is the id's
    assert first.attributes == measure_sure_words(item.image, item.mask)


def test_a_caption_says_what_was_measured() -> None:
    for seed in range(12):
        item = phantom(seed)
        caption = CAPTIONER.caption(item.image, item.mask, str(seed))
        said = {
            **read_back(caption.foreground, MEASURED_FOREGROUND),
            **read_back(caption.background, MEASURED_BACKGROUND),
        }
        assert said == caption.attributes == measure_sure_words(item.image, item.mask)


def test_a_frame_without_polyp_is_said_to_have_none() -> None:
    item = phantom(0)
    caption = CAPTIONER.caption(item.image, np.zeros_like(item.mask), "empty")
    assert caption.foreground in NO_POLYP
    assert set(caption.attributes) <= {"count", *MEASURED_BACKGROUND} and caption.attributes["count"] == "none"
    assert read_back(caption.background, MEASURED_BACKGROUND) == {
        name: value for name, value in caption.attributes.items() if name != "count"
    }


@pytest.mark.parametrize(("count", "largest"), [(2, "larger"), (3, "largest")])
def test_several_polyps_are_told_as_several(count: int, largest: str) -> None:
    mask = np.zeros((128, 128), dtype=np.bool_)
    for index in range(count):
        mask[20 + 30 * index : 35 + 30 * index, 50:65] = True
    caption = CAPTIONER.caption(phantom(0).image, mask, "some")
    assert "polyps" in caption.foreground and f"the {largest} one" in caption.foreground


def test_the_prompts_of_the_protocols_state_every_attribute_of_the_whole_frame() -> None:
    """Runs were trained on these sentences: an image and an id have the same one for ever."""
    assert PROTOCOL_CAPTIONER.id == "measured-1"
    mask = np.zeros((128, 128), dtype=np.bool_)
    mask[40:80, 50:90] = True
    image = np.where(mask[:, :, None], np.uint8((200, 70, 60)), np.uint8((190, 110, 90)))
    image[:, :20] = 0
    said = PROTOCOL_CAPTIONER.caption(image, mask, "frame")
    assert said.attributes == measure_attributes(image, mask).words()
    assert said.text == (
        "a medium-sized polyp in the center with a smooth surface, an irregular outline and well-defined edges, "
        "reddish against the mucosa, with bright brownish colon wall, no visible lumen and no specular highlights."
    )
