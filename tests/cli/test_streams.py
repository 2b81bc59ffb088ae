"""What a command prints reaches any terminal, log or pipe, and costs no result."""

import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TextIO

import pytest

from ccbench.cli.output import Output
from ccbench.cli.streams import finish_streams, prepare_streams, say
from ccbench.errors import UsageError

TEXT = "größe 结肠 fd ↓ 1 ± 2 → next \udcff"


def encoded(monkeypatch: pytest.MonkeyPatch, encoding: str) -> io.BytesIO:
    """Replace stdout by one of an encoding, as `PYTHONIOENCODING` and old locales do; return what reaches it."""
    taken = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(taken, encoding=encoding, write_through=True))
    prepare_streams()
    return taken


@contextmanager
def full_disk() -> Iterator[None]:
    """Give a stdout whose disk is full; set here and not by a fixture, after which pytest sets its own."""
    with Path("/dev/full").open("w") as stream, redirect_stdout(stream):
        yield


@contextmanager
def left_pipe() -> Iterator[TextIO]:
    """Give a stdout into a pipe whose reader has gone, as behind `| head -1`."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream, redirect_stdout(stream):
        yield stream


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_any_text_is_printed_in_any_encoding(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    taken = encoded(monkeypatch, encoding)
    out = Output()
    out.line(TEXT)
    out.table(("name", "value"), [(TEXT, "1")])
    shown = taken.getvalue().decode(encoding)
    assert "\\udcff" in shown and ("größe" if encoding != "ascii" else "gr\\xf6\\xdfe") in shown
    assert ("→" if encoding == "utf-8" else "->") in shown


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_is_whole_in_any_encoding(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    taken = encoded(monkeypatch, encoding)
    Output(as_json=True).json({TEXT: ["\u2028", "\x9b", "\u202e"]})
    assert json.loads(taken.getvalue().decode(encoding)) == {TEXT: ["\u2028", "\x9b", "\u202e"]}


def test_names_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output()
    out.line("a\x1b[2Jb")
    out.note("a\x1b]0;title\x07b")
    out.table(("name",), [("a\x1b[31mb",)])
    shown = capsys.readouterr()
    assert "\x1b" not in shown.out + shown.err and r"a\x1b[2Jb" in shown.out and r"a\x1b[31mb" in shown.out


@pytest.mark.parametrize("variable", ["FORCE_COLOR", "TTY_COMPATIBLE", "CLICOLOR_FORCE"])
def test_a_table_in_a_file_has_no_colours(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str
) -> None:
    monkeypatch.setenv(variable, "1")
    Output().table(("name",), [("a",)])
    assert "\x1b" not in capsys.readouterr().out


def test_a_full_disk_behind_stdout_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with full_disk():
        say("short")  # it is in the buffer
        assert finish_streams(0) == 2
    assert "stdout: cannot be written (No space left on device)" in capsys.readouterr().err


def test_a_full_disk_is_seen_at_once_where_the_buffer_is_full() -> None:
    with full_disk():
        with pytest.raises(UsageError, match="No space left"):
            say("x" * 100_000)
        assert finish_streams(4) == 4


@pytest.mark.parametrize("code", [0, 1, 4])
def test_a_reader_that_has_gone_changes_no_exit_code(code: int, capsys: pytest.CaptureFixture[str]) -> None:
    with left_pipe() as stream:
        for _ in range(3):
            say("x" * 100_000)
        assert finish_streams(code) == code and capsys.readouterr().err == ""
        stream.flush()  # what is left in the buffer does not surface when Python ends


def test_streams_that_were_closed_before_take_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    prepare_streams()
    out = Output()
    out.line("a")
    out.note("b")
    out.table(("name",), [("a",)])
    with out.progress().step("train", 2) as step:
        step.advance()
    assert finish_streams(4) == 4
