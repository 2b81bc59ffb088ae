"""Prompts read back: every wording of the captioners, then free text with known meaning."""

import numpy as np
import pytest

from ccbench.data.attributes.measured_attributes import COUNTS, HIGHLIGHTS
from ccbench.data.captions.stated_attributes import FROM_MASK, FROM_TEXT, measurable, read_attributes, split_clauses
from ccbench.data.captions.wording import write_caption, write_phantom_caption
from ccbench.data.phantom.phantom_attributes import ATTRIBUTE_VALUES
from ccbench.data.phantom.render import render_phantom

VALUES = {**ATTRIBUTE_VALUES, "tint": (*ATTRIBUTE_VALUES["tint"], "bluish"), "highlights": HIGHLIGHTS}
OPTIONAL = ("form", "folds", "vessels", "highlights")
BACKGROUND = ("lumen", "folds", "vessels", "highlights", "brightness", "tint")


def random_words(rng: np.random.Generator) -> dict[str, str]:
    names = [name for name in VALUES if name not in OPTIONAL or rng.random() < 0.5]
    words = {name: values[rng.integers(len(values))] for name, values in VALUES.items() if name in names}
    words.setdefault("folds", "few")  # a sentence lists at least two details
    count = ("none", *COUNTS)[rng.integers(4)]
    kept = words if count != "none" else {name: words[name] for name in words if name in BACKGROUND}
    return {"count": count, **kept}


def test_every_caption_is_read_back_and_split() -> None:
    """1,500 draws: each of the 8 polyp sentences, 2 joints and 2 background sentences comes up more than 100 times."""
    rng = np.random.default_rng(0)
    for _ in range(1500):
        words = random_words(rng)
        said = write_caption(words, rng)
        assert read_attributes(said.text) == words, said.text
        assert split_clauses(said.text) == (said.foreground, said.background), said.text


def test_captions_of_phantoms_are_read_as_what_is_measured() -> None:
    for seed in range(10):
        attributes = render_phantom(seed).attributes
        read = measurable(read_attributes(write_phantom_caption(attributes, np.random.default_rng(seed))))
        names = [name for name in (*FROM_MASK, *FROM_TEXT) if name not in ("count", "highlights")]
        wanted = {name: getattr(attributes, name) for name in names}
        wanted["surface"] = "smooth" if attributes.surface == "smooth" else "granular"
        assert read == {"count": "one", **wanted}


@pytest.mark.parametrize(
    ("prompt", "wanted"),
    [
        ("", {}),
        ("a photo of a cat", {}),
        ("The polyp is Small and reddish.", {"size": "small", "colour": "redder"}),
        ("one medium white polyp, located in top of the image", {"count": "one", "size": "medium"}),
        ("a pale polyp on pink mucosa", {"count": "one", "tint": "pink"}),
        ("a polyp beside a dark lumen and a large fold", {"count": "one"}),
        ("a polyp, darker than the surrounding mucosa", {"count": "one", "colour": "darker"}),
        ("open lumen; bright mucosa; no polyp", {"lumen": "visible", "brightness": "bright", "count": "none"}),
        ("a small polyp; a large polyp", {"count": "one"}),
        ("a polyp, not smooth, without a visible lumen, no vessels", {"count": "one"}),
        ("a non-granular polyp with no visible lumen", {"count": "one", "lumen": "hidden"}),
        ("multiple folds and two polyps", {"count": "two"}),
        ("no polyp", {"count": "none"}),
        ("a polyp with an uneven surface and soft light, blurred edges", {"count": "one", "demarcation": "soft"}),
        ("dim orange colon wall", {"brightness": "dim", "tint": "orange"}),
    ],
)
def test_free_text(prompt: str, wanted: dict[str, str]) -> None:
    assert read_attributes(prompt) == wanted


def test_text_without_a_background_is_all_foreground() -> None:
    assert split_clauses("a red polyp, with a smooth surface.") == ("a red polyp, with a smooth surface", "")
    assert split_clauses("a polyp, paler than the mucosa; dim mucosa") == (
        "a polyp, paler than the mucosa",
        "dim mucosa",
    )
    assert split_clauses("a polyp, with the mucosa red; dim mucosa") == ("a polyp, with the mucosa red", "dim mucosa")
