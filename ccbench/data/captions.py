"""Captions of phantoms: varied wording, the polyp first, then the background.

Each value of an attribute has its own words, so a caption states all attributes and can be read back.
"""

from collections.abc import Mapping

import numpy as np

from ccbench.data.phantom_attributes import PhantomAttributes

_ADJECTIVES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
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
_COLOUR_CLAUSES: Mapping[str, tuple[str, ...]] = {
    "paler": ("paler than the mucosa", "whitish against the mucosa"),
    "similar": ("similar in colour to the mucosa", "of the same colour as the mucosa"),
    "redder": ("redder than the mucosa", "reddish against the mucosa"),
    "darker": ("darker than the mucosa", "dark against the mucosa"),
}
_PLACES: Mapping[str, tuple[str, ...]] = {
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
_BACKGROUND: Mapping[str, Mapping[str, tuple[str, ...]]] = {
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
    "brightness": {"bright": ("bright", "brightly lit"), "dim": ("dim", "dimly lit")},
    "tint": {
        "pink": ("pink",),
        "orange": ("orange",),
        "red-brown": ("red-brown", "brownish"),
        "pale": ("pale",),
    },
}


def write_phantom_caption(attributes: PhantomAttributes, rng: np.random.Generator) -> str:
    """A caption that states every attribute of a phantom, the polyp's before the background's.

    Returns:
        One sentence of at most 45 words.
    """
    return f"{_foreground(attributes, rng)}{_pick(rng, ('; ', ', with '))}{_background(attributes, rng)}."


def _pick(rng: np.random.Generator, choices: tuple[str, ...]) -> str:
    return choices[int(rng.integers(len(choices)))]


def _article(words: str) -> str:
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"


def _foreground(attributes: PhantomAttributes, rng: np.random.Generator) -> str:
    size, form, outline, colour, surface, demarcation = (
        _pick(rng, _ADJECTIVES[name][getattr(attributes, name)])
        for name in ("size", "form", "outline", "colour", "surface", "demarcation")
    )
    place = _pick(rng, _PLACES[attributes.position])
    colour_clause = _pick(rng, _COLOUR_CLAUSES[attributes.colour])
    margin = f"{demarcation} {_pick(rng, ('margins', 'borders', 'edges'))}"
    texture = _article(f"{surface} surface")
    templates = (
        f"{_article(f'{size} {outline} {form} polyp')} {place}, {colour_clause}, with {texture} and {margin}",
        f"{_article(f'{size} {form} polyp')} {place} with {texture}, {_article(f'{outline} outline')} and {margin},"
        f" {colour_clause}",
        f"{_article(f'{size}, {colour}, {surface} {form} polyp')} {place} with {_article(f'{outline} outline')}"
        f" and {margin}",
        f"{_article(f'{size} {form} polyp')}, {outline} and {colour}, {place}, {surface} surface, {margin}",
        f"{place}, {_article(f'{size} {outline} {form} polyp')} with {texture} and {margin}, {colour_clause}",
    )
    return _pick(rng, templates)


def _background(attributes: PhantomAttributes, rng: np.random.Generator) -> str:
    lumen, folds, vessels, brightness, tint = (
        _pick(rng, _BACKGROUND[name][getattr(attributes, name)])
        for name in ("lumen", "folds", "vessels", "brightness", "tint")
    )
    details = [lumen, folds, vessels]
    order = rng.permutation(3)
    listed = f"{details[order[0]]}, {details[order[1]]} and {details[order[2]]}"
    return _pick(rng, (f"{brightness} {tint} mucosa, {listed}", f"{brightness} {tint} colon wall, {listed}"))
