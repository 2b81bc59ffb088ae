"""Reading prompts back: which attributes a text states, with which values, and where its two clauses meet.

Knows the words of `ccbench.data.captions.words` and no others. A word counts only where it speaks of what it is the
attribute of: `dark` of a polyp, not of a lumen; `pink` of mucosa, not of a polyp.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from ccbench.data.attributes.accuracy import MEASURED_AS
from ccbench.data.attributes.measured_attributes import MEASURED_BACKGROUND, MEASURED_FOREGROUND
from ccbench.data.captions.words import ADJECTIVES, BACKGROUND, COLOUR_CLAUSES, COUNTS, NO_POLYP, PLACES

FROM_MASK = ("count", "size", "position", "outline")
"""Measurable attributes that the mask gives to whoever follows it; a prompt adds nothing."""

FROM_TEXT_POLYP = ("colour", "surface", "demarcation")
FROM_TEXT_MUCOSA = ("brightness", "highlights", "lumen", "tint")
FROM_TEXT = (*FROM_TEXT_POLYP, *FROM_TEXT_MUCOSA)
"""Measurable attributes that only the prompt tells."""

_POLYP, _MUCOSA = ("polyp", "polyps"), ("mucosa", "wall")
_NOUNS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("count", "size", "form", "colour"), _POLYP),
    "outline": (*_POLYP, "outline", "shape"),
    "surface": (*_POLYP, "surface"),
    "demarcation": ("margin", "margins", "border", "borders", "edge", "edges"),
    "brightness": _MUCOSA,
    "tint": _MUCOSA,
}
"""What an adjective of each attribute may stand before. The polyp's, but for its edge, may also stand behind it."""

_TABLES: tuple[Mapping[str, Mapping[str, tuple[str, ...]]], ...] = (
    ADJECTIVES,
    BACKGROUND,
    {"colour": COLOUR_CLAUSES, "position": PLACES, "count": {**COUNTS, "none": NO_POLYP}},
)
_MEANINGS = {
    phrase: (name, value)
    for table in _TABLES
    for name, values in table.items()
    for value, phrases in values.items()
    for phrase in phrases
}
_WHOLE = {phrase for phrases in (*COLOUR_CLAUSES.values(), *PLACES.values(), NO_POLYP) for phrase in phrases}
_PHRASE = re.compile(
    rf"(?<![\w-])(?:{'|'.join(re.escape(phrase) for phrase in sorted(_MEANINGS, key=len, reverse=True))})(?![\w-])"
)
_OTHER_NOUNS = ("lumen", "fold", "folds", "vessel", "vessels", "highlight", "highlights", "stalk")
_ANY_NOUN = {noun for nouns in (*_NOUNS.values(), _OTHER_NOUNS) for noun in nouns}
_NEXT = re.compile(rf"[,;.:()]|(?<![\w-])(?:than|against|compared|as|to|with|{'|'.join(sorted(_ANY_NOUN))})(?![\w-])")
_NEGATED = re.compile(r"\b(?:no|not|without|neither|nor)\s+(?:an?\s+|the\s+|very\s+|clearly\s+)?$")
_JOINT = re.compile(r"(?:; |, with )(?=[^,;.]*(?<!the )\b(?:mucosa|colon wall)(?![\w-]))")


class TwoClauses(NamedTuple):
    """The polyp's and the background's part of a prompt; an empty one is not there."""

    foreground: str
    background: str


def read_attributes(prompt: str) -> dict[str, str]:
    """Return the value of each attribute that a prompt states, by name, in any order and wording of `words`.

    What is not stated, denied, or said in two ways is absent. Captions of `write_caption` are read back exactly.
    """
    text = " ".join(prompt.lower().split())
    stated: dict[str, set[str]] = {}
    for match in _PHRASE.finditer(text):
        name, value = _MEANINGS[match.group()]
        if not _NEGATED.search(text[: match.start()]) and _speaks_of(name, match.group(), text[match.end() :]):
            stated.setdefault(name, set()).add(value)
    if "count" not in stated and re.search(r"(?<!the )\bpolyp\b", text) and not re.search(r"\bpolyps\b", text):
        stated["count"] = {"one"}
    return {name: values.pop() for name, values in stated.items() if len(values) == 1}


def measurable(stated: Mapping[str, str]) -> dict[str, str]:
    """Return those of the stated attributes that `measure_attributes` tells, by the values that it gives them."""
    names = (*MEASURED_FOREGROUND, *MEASURED_BACKGROUND)
    return {name: MEASURED_AS.get((name, stated[name]), stated[name]) for name in names if name in stated}


def split_clauses(prompt: str) -> TwoClauses:
    """Split a prompt where its background begins, without the full stop; all is foreground where none is found."""
    text = prompt.strip().removesuffix(".")
    joint = _JOINT.search(text)
    return TwoClauses(text[: joint.start()], text[joint.end() :]) if joint else TwoClauses(text, "")


def _speaks_of(name: str, phrase: str, rest: str) -> bool:
    """Return whether what follows a phrase lets it speak of its attribute."""
    if phrase in _WHOLE or name not in _NOUNS:
        return True
    found = _NEXT.search(rest)
    noun = found.group() if found and found.group() in _ANY_NOUN else None
    return noun in _NOUNS[name] or (noun is None and "polyp" in _NOUNS[name])
