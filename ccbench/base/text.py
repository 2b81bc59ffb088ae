"""Text from elsewhere, made safe to show: names of files, messages of other libraries, values of somebody's record."""

import difflib
import json
import re
from collections.abc import Iterable
from typing import Any

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_NOT_RAW = re.compile(r"[\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # valid in JSON; readers of lines stumble


def printable(text: str) -> str:
    """Return text without what steers a terminal or is no UTF-8: escape codes and surrogates are shown as `\\x1b`.

    Line feeds and tabs stay.
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def one_line(text: object, most: int = 400) -> str:
    """Return a message as one printable line of at most `most` characters; an empty one is named by its type."""
    line = printable(" ".join(str(text).split())) or type(text).__name__
    return line if len(line) <= most else f"{line[: most - 3]}..."


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the one of `known` that looks most like `name`; None if none does."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), None)


def suggest(name: str, known: Iterable[str], otherwise: str | None = None) -> str:
    """Return the question whether the nearest known name was meant; without one `otherwise`, or all that are known."""
    known = list(known)
    near = nearest(name, known)
    return f"did you mean {near!r}?" if near else otherwise or f"known: {', '.join(known)}"


def json_line(value: Any) -> str:
    """Return JSON on one line, without a line feed: any reader of lines finds it whole, and any text can be written.

    Raises:
        ValueError: a number is not finite.
    """
    return escape_json(json.dumps(value, ensure_ascii=False, allow_nan=False))


def escape_json(text: str) -> str:
    """Return a JSON document with the characters escaped that some readers take for line ends or that are no UTF-8."""
    return _NOT_RAW.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
