"""The agent captioner: a vision-language or chat model is asked for both clauses, and its answer is checked."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from scipy import ndimage

from ccbench.base.seeding import derive_seed
from ccbench.data.attributes.sure_attributes import measure_sure_words
from ccbench.data.captioners.captioner import Caption, NoCaption
from ccbench.data.captions.words import ADJECTIVES, COUNTS, PLACES
from ccbench.types import Image, Mask

TEMPLATE = "agent-2"
"""Version of all that is said to the model and of what is accepted from it."""

ATTEMPTS = 3
_AGAIN = "Answer again with the JSON object and nothing else."
MAX_CLAUSE_WORDS, MAX_WORDS, MAX_LETTERS = 25, 45, 300

ASPECTS: Mapping[str, str] = {
    "colour": "its colour against the mucosa around it",
    "shape": "the shape of its outline",
    "texture": "the texture of its surface",
    "swelling": "how far and how sharply it rises from the wall",
}
_NAMES = tuple(ASPECTS)
_OPPOSITES = (("left", "right"), ("upper", "lower"))
_SAID_AS = {"top": "upper", "bottom": "lower"}
_OUTLINE = (0, 255, 0)


class Turn(NamedTuple):
    """One message of a conversation."""

    role: Literal["user", "assistant"]
    text: str


class ChatModel(Protocol):
    """A model that answers. `sees`: it takes an image; `name` and `revision` identify it in records."""

    name: str
    revision: str
    sees: bool

    def answer(self, turns: Sequence[Turn], image: Image | None) -> str:
        """Answer the last turn.

        Args:
            image: (H, W, 3) uint8 RGB that belongs to the first turn; None for a model that does not see.
        """
        ...


class AgentCaptioner:
    """Asks a model for the clauses of each image; two aspects of the polyp, rotated by the image's id."""

    def __init__(self, model: ChatModel, attempts: int = ATTEMPTS) -> None:
        self._model = model
        self._attempts = attempts

    @property
    def id(self) -> str:
        """Template, model and revision."""
        return f"{TEMPLATE}:{self._model.name}@{self._model.revision}"

    def caption(self, image: Image, mask: Mask, id: str) -> Caption:
        """Caption one image; an answer that cannot be used is sent back with the reason.

        Args:
            image: (H, W, 3) uint8 RGB of any size.
            mask: (H, W) bool, True = polyp; may be empty.
            id: of the image; chooses the aspects that are asked for.

        Raises:
            DataError: image and mask do not fit together. NoCaption: no attempt gave an answer that can be used.
        """
        words, aspects = measure_sure_words(image, mask), choose_aspects(id)
        shown = outline_polyp(image, mask) if self._model.sees else None
        turns = [Turn("user", write_request(words, aspects, self._model.sees))]
        refused: list[str] = []
        while len(refused) < self._attempts:
            answer = self._model.answer(turns, shown)
            try:
                foreground, background = read_answer(answer, words)
            except ValueError as error:
                refused.append(str(error))
                turns += [Turn("assistant", answer), Turn("user", f"That answer cannot be used: {error}. {_AGAIN}")]
                continue
            details = {
                "model": self._model.name,
                "revision": self._model.revision,
                "template": TEMPLATE,
                "aspects": list(aspects),
                "attempts": len(refused) + 1,
                "refused": refused,
            }
            return Caption(f"{foreground}; {background}.", foreground, background, words, details)
        raise NoCaption(
            f"{id}: {self._model.name} gave no caption that can be used in {self._attempts} attempts; "
            f"the last one: {refused[-1]}"
        )


def choose_aspects(id: str) -> tuple[str, str]:
    """Two different aspects of the polyp, drawn from the image's id."""
    first, second = np.random.default_rng(derive_seed("caption aspects", id)).permutation(len(_NAMES))[:2]
    return _NAMES[first], _NAMES[second]


def write_request(words: Mapping[str, str], aspects: Sequence[str], sees: bool) -> str:
    """Write what the model is asked.

    Args:
        words: the measured attributes by name; a model that does not see is given all of them.
    """
    if words["count"] == "none":
        facts, what = "There is no polyp in it", "say that there is no polyp"
    else:
        polyps = "one polyp," if words["count"] == "one" else f"{COUNTS[words['count']][0]} polyps, the largest one"
        facts = f"It shows {polyps} {words['size']} and {PLACES[words['position']][0]}"
        told = " and ".join(ASPECTS[name] for name in aspects)
        what = f"the polyp: its size, where it lies, {told}"
    if sees:
        outlined = "" if words["count"] == "none" else "; the green line around it was drawn by hand, do not mention it"
        given = f"The image is a frame of a colonoscopy. {facts}{outlined}."
        rest, limit = "light, colour, folds, vessels, highlights, lumen", "Say only what can be seen."
    else:
        listed = ", ".join(f"{name}: {value}" for name, value in words.items())
        given = f"A frame of a colonoscopy was measured. {facts}. Measured attributes: {listed}."
        rest, limit = "brightness, tint, highlights, lumen", "Say only what was measured."
    return (
        f"{given} Write two short descriptions in plain English, at most {MAX_CLAUSE_WORDS} words each. "
        f'"foreground": {what}. "background": the mucosa and the rest of the frame: {rest}; not the polyp. {limit} '
        'Answer with one JSON object and nothing else: {"foreground": "...", "background": "..."}'
    )


def read_answer(answer: str, words: Mapping[str, str]) -> tuple[str, str]:
    """Return foreground and background clause of a model's answer.

    Raises:
        ValueError: it holds no such JSON object, a clause is empty or too long, or it contradicts the mask.
    """
    found = _find_object(answer)
    foreground, background = (_clause(found, key) for key in ("foreground", "background"))
    count = len(foreground.split()) + len(background.split())
    if count > MAX_WORDS or len(foreground) + len(background) > MAX_LETTERS:
        raise ValueError(f"both clauses together have {count} words, wanted at most {MAX_WORDS} short ones")
    if words["count"] == "none":
        if not re.search(r"\bno\b[\w\s-]*\bpolyps?\b", foreground, re.IGNORECASE):
            raise ValueError('the foreground must say "no polyp", since there is none in this frame')
        return foreground, background
    if not re.search(r"\bpolyps?\b", foreground, re.IGNORECASE):
        raise ValueError('the foreground does not speak of a "polyp"')
    if words["count"] == "one":
        _compare_with_mask(set(re.findall(r"[a-z-]+", foreground.lower())), words)
    return foreground, background


def outline_polyp(image: Image, mask: Mask) -> Image:
    """Return the image with a green line around the polyp, for a model that is shown one image."""
    width = max(1, round(min(mask.shape) / 200))
    line = ndimage.binary_dilation(mask, iterations=1 + width) & ~ndimage.binary_dilation(mask)
    outlined = image.copy()
    outlined[line] = _OUTLINE
    return outlined


def _find_object(answer: str) -> dict[str, Any]:
    """The first JSON object with both clauses, wherever it stands in the answer."""
    decoder = json.JSONDecoder()
    for start in (match.start() for match in re.finditer(r"\{", answer)):
        try:
            found, _ = decoder.raw_decode(answer, start)
        except json.JSONDecodeError:
            continue
        if isinstance(found, dict) and {"foreground", "background"} <= found.keys():
            return found
    raise ValueError('no JSON object with "foreground" and "background" was found')


def _clause(found: dict[str, Any], key: str) -> str:
    value = found[key]
    if not isinstance(value, str):
        raise ValueError(f'"{key}" is not a text')
    clause = " ".join(value.split()).rstrip(" .;,")
    if not re.search(r"[a-zA-Z]{2}", clause):
        raise ValueError(f'"{key}" is empty')
    if (count := len(clause.split())) > MAX_CLAUSE_WORDS:
        raise ValueError(f'"{key}" has {count} words, wanted at most {MAX_CLAUSE_WORDS}')
    return clause


def _compare_with_mask(said: set[str], words: Mapping[str, str]) -> None:
    """Raise `ValueError` when words of a clause name another size than the mask's, or the opposite side."""
    sizes = {size for size, names in ADJECTIVES["size"].items() if said & set(names)}
    if sizes and words["size"] not in sizes:
        raise ValueError(f"the foreground calls the polyp {min(sizes)}, by its mask it is {words['size']}")
    sides = {_SAID_AS.get(word, word) for word in said}
    place = words["position"].split()
    for pair in _OPPOSITES:
        for side, other in (pair, pair[::-1]):
            if side in sides and other in place and other not in sides:
                raise ValueError(f"the foreground places the polyp {side}, by its mask it lies {words['position']}")
