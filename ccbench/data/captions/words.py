"""The words of captions: how each value of an attribute is said, for phantoms and real frames alike.

Each value has its own words, so a caption that states an attribute can be read back.
"""

from collections.abc import Mapping

import numpy as np

ADJECTIVES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "size": {
        "small": ("small", "tiny", "diminutive"),
        "medium": ("medium", "medium-sized", "mid-sized"),
        "large": ("large", "big", "bulky"),
    },
    "form": {
        "pedunculated": ("pedunculated", "stalked"),
        "sessile": ("sessile", "dome-shaped"),
        "flat": ("flat", "slightly elevated"),
    },
    "outline": {
        "round": ("round", "circular"),
        "oval": ("oval", "elongated"),
        "irregular": ("irregular", "uneven"),
    },
    "colour": {
        "paler": ("paler", "whitish"),
        "similar": ("similar-coloured", "mucosa-coloured"),
        "redder": ("redder", "reddish"),
        "darker": ("darker", "dark"),
    },
    "surface": {
        "smooth": ("smooth",),
        "granular": ("granular", "grainy"),
        "lobulated": ("lobulated", "lobed"),
    },
    "demarcation": {
        "sharp": ("sharp", "crisp", "well-defined"),
        "soft": ("soft", "blurred", "ill-defined"),
    },
}
COLOUR_CLAUSES: Mapping[str, tuple[str, ...]] = {
    "paler": ("paler than the mucosa", "whitish against the mucosa"),
    "similar": ("similar in colour to the mucosa", "of the same colour as the mucosa"),
    "redder": ("redder than the mucosa", "reddish against the mucosa"),
    "darker": ("darker than the mucosa", "dark against the mucosa"),
}
PLACES: Mapping[str, tuple[str, ...]] = {
    "upper left": ("in the upper left", "at the top left"),
    "upper": ("in the upper middle", "at the top center"),
    "upper right": ("in the upper right", "at the top right"),
    "left": ("on the left side", "at the middle left"),
    "center": ("in the center", "in the middle of the image"),
    "right": ("on the right side", "at the middle right"),
    "lower left": ("in the lower left", "at the bottom left"),
    "lower": ("in the lower middle", "at the bottom center"),
    "lower right": ("in the lower right", "at the bottom right"),
}
BACKGROUND: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "lumen": {
        "visible": ("visible lumen", "open lumen"),
        "hidden": ("no visible lumen", "lumen out of view"),
    },
    "folds": {
        "none": ("no folds", "no haustral folds"),
        "few": ("few folds", "a few haustral folds"),
        "many": ("many folds", "several haustral folds"),
    },
    "vessels": {
        "faint": ("faint vessels", "hardly seen vessels"),
        "prominent": ("prominent vessels", "clearly seen vessels"),
    },
    "highlights": {
        "none": ("no highlights", "no specular highlights"),
        "few": ("few highlights", "a few specular highlights"),
        "many": ("many highlights", "many specular highlights"),
    },
    "brightness": {"bright": ("bright", "brightly lit"), "dim": ("dim", "dimly lit")},
    "tint": {
        "pink": ("pink",),
        "orange": ("orange",),
        "red-brown": ("red-brown", "brownish"),
        "pale": ("pale",),
        "bluish": ("bluish", "blue-green"),
    },
}
NO_POLYP = ("no polyp", "no polyp in view", "no visible polyp")
COUNTS: Mapping[str, tuple[str, ...]] = {"two": ("two",), "several": ("several", "multiple")}


def pick(rng: np.random.Generator, choices: tuple[str, ...]) -> str:
    """One of the choices, each as likely."""
    return choices[int(rng.integers(len(choices)))]


def article(words: str) -> str:
    """The words after `a` or `an`."""
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"
