"""Captions from attributes: varied wording, the polyp first, then the background; for phantoms and real frames alike.

Each value of an attribute has its own words, so a caption can be read back. What is not known is not stated.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import NamedTuple

import numpy as np

from ccbench.data.captions.words import ADJECTIVES, BACKGROUND, COLOUR_CLAUSES, COUNTS, NO_POLYP, PLACES, article, pick
from ccbench.data.phantom.phantom_attributes import PhantomAttributes

_TEMPLATE_NEEDS = {"outline", "colour", "surface", "demarcation"}


class Clauses(NamedTuple):
    """The clauses of a caption, and the caption: one sentence of at most 45 words."""

    foreground: str
    background: str
    text: str


def write_phantom_caption(attributes: PhantomAttributes, rng: np.random.Generator) -> str:
    """A caption that states every attribute of a phantom, the polyp's before the background's.

    Returns:
        One sentence of at most 45 words.
    """
    return write_caption({"count": "one", **asdict(attributes)}, rng).text


def write_caption(words: Mapping[str, str], rng: np.random.Generator) -> Clauses:
    """A caption that states every attribute it is given.

    Args:
        words: value of each attribute by name. `count` is `none`, `one`, `two` or `several`; of several polyps, size,
            outline and position are those of the largest. `count`, and `size` and `position` of a polyp, are needed;
            any other may be left out. Without one of the background, `background` is empty.
        rng: chooses among the wordings.
    """
    if words["count"] == "none":
        foreground = pick(rng, NO_POLYP)
    else:
        foreground = (_foreground if words.keys() >= _TEMPLATE_NEEDS else _partial_foreground)(words, rng)
    joint = pick(rng, ("; ", ", with "))
    background = _background(words, rng)
    return Clauses(foreground, background, f"{foreground}{joint if background else ''}{background}.")


def _partial_foreground(words: Mapping[str, str], rng: np.random.Generator) -> str:
    """The polyp's clause where outline, colour, surface or demarcation are not known."""
    names = ("size", "form", "outline", "surface", "demarcation")
    said = {name: pick(rng, ADJECTIVES[name][words[name]]) for name in names if name in words}
    polyp = " ".join((*([said["form"]] if "form" in said else []), "polyp"))
    place = pick(rng, PLACES[words["position"]])
    more = [pick(rng, COLOUR_CLAUSES[words["colour"]])] if "colour" in words else []
    texture = [article(f"{said['surface']} surface")] if "surface" in said else []
    edge = [f"{said['demarcation']} {pick(rng, ('margins', 'borders', 'edges'))}"] if "demarcation" in said else []
    if texture or edge:
        more.append(f"with {' and '.join(texture + edge)}")
    described = [said[name] for name in ("size", "outline") if name in said]
    if words["count"] != "one":
        count, largest = pick(rng, COUNTS[words["count"]]), "larger" if words["count"] == "two" else "largest"
        return ", ".join((f"{count} {polyp}s", f"the {largest} one {', '.join(described)} and {place}", *more))
    head = article(f"{' '.join(described)} {polyp}")
    return ", ".join((pick(rng, (f"{head} {place}", f"{place}, {head}")), *more))


def _foreground(words: Mapping[str, str], rng: np.random.Generator) -> str:
    names = ("size", "form", "outline", "colour", "surface", "demarcation")
    said = {name: pick(rng, ADJECTIVES[name][words[name]]) for name in names if name in words}
    size, outline, colour, surface = (said[name] for name in ("size", "outline", "colour", "surface"))
    polyp = f"{said['form']} polyp" if "form" in said else "polyp"
    place = pick(rng, PLACES[words["position"]])
    colour_clause = pick(rng, COLOUR_CLAUSES[words["colour"]])
    margin = f"{said['demarcation']} {pick(rng, ('margins', 'borders', 'edges'))}"
    texture = article(f"{surface} surface")
    if words["count"] != "one":
        count, largest = pick(rng, COUNTS[words["count"]]), "larger" if words["count"] == "two" else "largest"
        return pick(
            rng,
            (
                f"{count} {polyp}s, the {largest} one {size}, {outline} and {place}, {colour_clause}, with {texture}"
                f" and {margin}",
                f"{count} {colour}, {surface} {polyp}s with {margin}, the {largest} one {size}, {outline} and {place}",
                f"{count} {polyp}s, {colour_clause}, the {largest} one {size} and {outline}, {place},"
                f" {surface} surface, {margin}",
            ),
        )
    templates = (
        f"{article(f'{size} {outline} {polyp}')} {place}, {colour_clause}, with {texture} and {margin}",
        f"{article(f'{size} {polyp}')} {place} with {texture}, {article(f'{outline} outline')} and {margin},"
        f" {colour_clause}",
        f"{article(f'{size}, {colour}, {surface} {polyp}')} {place} with {article(f'{outline} outline')} and {margin}",
        f"{article(f'{size} {polyp}')}, {outline} and {colour}, {place}, {surface} surface, {margin}",
        f"{place}, {article(f'{size} {outline} {polyp}')} with {texture} and {margin}, {colour_clause}",
    )
    return pick(rng, templates)


def _background(words: Mapping[str, str], rng: np.random.Generator) -> str:
    details = [
        pick(rng, BACKGROUND[name][words[name]])
        for name in ("lumen", "folds", "vessels", "highlights")
        if name in words
    ]
    adjectives = [pick(rng, BACKGROUND[name][words[name]]) for name in ("brightness", "tint") if name in words]
    if not details and not adjectives:
        return ""
    shuffled = [details[index] for index in rng.permutation(len(details))]
    wall = " ".join((*adjectives, pick(rng, ("mucosa", "colon wall"))))
    return ", ".join((wall, *_listed(shuffled)))


def _listed(details: list[str]) -> list[str]:
    """The details with `and` before the last of several."""
    return [*details[:-2], f"{details[-2]} and {details[-1]}"] if len(details) > 1 else details
