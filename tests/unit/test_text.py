"""Text from elsewhere on its way to a terminal or a file."""

import json

import pytest

from ccbench.base.text import json_line, one_line, printable


@pytest.mark.parametrize("text", ["plain", "größe", "tab\there", "two\nlines", "😀", "a → b"])
def test_ordinary_text_stays(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", "\\x1b[2J"),
        ("\x9b31m", "\\x9b31m"),
        ("a\rb", "a\\rb"),
        ("\x07", "\\x07"),
        ("\udcff", "\\udcff"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
    ],
)
def test_what_steers_a_terminal_is_shown(text: str, shown: str) -> None:
    assert printable(f"x{text}y") == f"x{shown}y"


def test_a_message_is_one_line_and_never_empty() -> None:
    assert one_line(" a\n  b\t c ") == "a b c"
    assert one_line(ValueError()) == "ValueError"
    assert one_line("x" * 500, most=20) == "x" * 17 + "..."


@pytest.mark.parametrize("text", ["\u2028", "\x85", "\x1b", "\ud800", "é"])
def test_json_lines_are_utf_8_and_one_line(text: str) -> None:
    line = json_line({"a": text})
    assert len(line.splitlines()) == 1 and line.encode() and json.loads(line) == {"a": text}
