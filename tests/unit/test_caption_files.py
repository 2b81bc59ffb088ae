"""Captions beside a data set, in the forms in which people keep them; none is dropped without a word."""

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from ccbench.data.captions.caption_files import annotate, read_captions
from ccbench.data.name_matching import PairFiles
from ccbench.errors import DataError

WANTED = {"a b": "one", "é": "two"}


@pytest.fixture
def pairs(tmp_path: Path) -> list[PairFiles]:
    found = []
    for name in WANTED:
        files = tmp_path / "images" / f"{name}.jpg", tmp_path / "masks" / f"{name}.png"
        for file in files:
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(b"")
        found.append(PairFiles(name, *files))
    return found


def lines(*rows: dict[str, Any], ascii_only: bool = False) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=ascii_only) + "\n" for row in rows).encode()


FORMS = {
    "captions.jsonl": lines({"id": "a b", "caption": "one"}, {"id": "é", "caption": "two"}),
    "captions.jsonl ": lines({"id": "a b.jpg", "caption": "one"}, {"id": "é.jpg", "caption": "two"}),
    "captions.jsonl  ": b"\xef\xbb\xbf" + lines({"id": "a b", "caption": "one"}, {"id": "é", "caption": "two"}),
    "captions.jsonl   ": lines(
        {"id": "a b", "text": "one"}, {"id": unicodedata.normalize("NFD", "é"), "prompt": "two"}
    ),
    "captions.csv": "id,caption\r\na b,one\r\né,two\r\n".encode(),
    "metadata.jsonl": lines(
        {"file_name": "images/a b.jpg", "text": "one"}, {"file_name": "images/é.jpg", "text": "two"}
    ),
    "images/metadata.jsonl": lines({"file_name": "a b.jpg", "text": "one"}, {"file_name": "é.jpg", "text": "two"}),
    "images/metadata.csv": 'file_name,text\n"a b.jpg",one\né.jpg,two\n'.encode(),
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_read(tmp_path: Path, pairs: list[PairFiles], form: str) -> None:
    (tmp_path / form.strip()).write_bytes(FORMS[form])
    found, notes = annotate(tmp_path, pairs)
    assert {pair.id: pair.caption for pair in found} == WANTED and not notes


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "captions.jsonl",
            lines({"id": "x1", "caption": "c"}),
            r"none of its 1 captions is of an image .* 'x1' there, 'a b.jpg'",
        ),
        ("captions.jsonl", b"\n\n" + lines({"caption": "c"}), r"captions\.jsonl:3: found no id that is text"),
        ("captions.jsonl", b"\n" + lines({"id": "a b"}), r"captions\.jsonl:2: found no caption that is text"),
        ("captions.jsonl", lines({"id": "a b", "caption": "c"}) * 2, r"captions\.jsonl:2: a second caption for 'a b'"),
        ("captions.csv", b"id;caption\na b;one\n", r"found the columns \['id;caption'\], wanted id,caption"),
        ("captions.csv", b"id,caption\na b,one,two\n", r"captions\.csv:2: wanted the columns id, caption"),
        ("metadata.jsonl", lines({"file_name": "images/no.jpg", "text": "c"}), r"'images/no.jpg' is no image below"),
        ("captions.json", b"[]", r"captions\.json: captions in this form are not read; wanted captions\.jsonl"),
    ],
)
def test_what_cannot_be_read_is_refused(
    tmp_path: Path, pairs: list[PairFiles], name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        annotate(tmp_path, pairs)
    assert "\n" not in str(caught.value)


def test_captions_of_other_images_are_told(tmp_path: Path, pairs: list[PairFiles]) -> None:
    (tmp_path / "captions.jsonl").write_bytes(FORMS["captions.jsonl"] + lines({"id": "gone", "caption": "c"}))
    found, notes = annotate(tmp_path, pairs)
    assert {pair.id: pair.caption for pair in found} == WANTED
    assert len(notes) == 1 and "1 of its 3 captions are of no pair, such as 'gone'" in notes[0]


def test_two_files_of_captions_are_refused(tmp_path: Path, pairs: list[PairFiles]) -> None:
    for name in ("captions.jsonl", "images/metadata.csv"):
        (tmp_path / name).write_bytes(FORMS[name])
    with pytest.raises(DataError, match=r"found captions\.jsonl and images/metadata\.csv; keep one"):
        annotate(tmp_path, pairs)


def test_separators_inside_a_caption_end_no_line(tmp_path: Path) -> None:
    text = "one\u2028two\u0085three"
    (tmp_path / "c.jsonl").write_bytes(lines({"id": "a", "caption": text}))
    assert read_captions(tmp_path / "c.jsonl") == {"a": text}
