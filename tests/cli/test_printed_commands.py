"""Commands that ccbench prints work when they are pasted."""

import shlex
import sys
from pathlib import Path

import pytest

from ccbench.cli.commands import command, interpreter
from ccbench.cli.options import run_words

ODD = ["my run (1)", "$HOME", "a'b", "semi;colon", "two\nlines", "*"]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment in the current folder, called by path as `make demo` does."""
    called = tmp_path / ".venv" / "bin" / "ccbench"
    called.parent.mkdir(parents=True)
    called.write_text("#!/bin/sh\n")
    called.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(called)])
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return called


@pytest.mark.parametrize("path", ODD)
def test_every_word_stays_one_word(path: str) -> None:
    assert shlex.split(command("score", Path(path)))[-2:] == ["score", path]


def test_an_environment_that_is_not_active_is_named_by_its_path(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command("methods") == ".venv/bin/ccbench methods"
    monkeypatch.chdir(tmp_path.parent)
    monkeypatch.setattr(sys, "argv", [str(installed)])
    assert command("methods") == f"{tmp_path.name}/.venv/bin/ccbench methods"
    monkeypatch.setenv("PATH", str(installed.parent))
    assert command("methods") == "ccbench methods"


def test_as_a_module_the_interpreter_is_named(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = installed.with_name("python")
    python.symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setattr(sys, "argv", ["/somewhere/ccbench/__main__.py"])
    assert command("methods") == ".venv/bin/python -m ccbench methods" and interpreter() == ".venv/bin/python"


def test_options_come_back_as_they_were_typed() -> None:
    sets, output = ["a.b=1", "c=x y"], Path("out (1)")
    line = command("synthesize", *run_words("m", "polyp-128", Path("my data"), 2, sets=sets, output=output, limit=8))
    assert (
        shlex.split(line)[-16:]
        == [
            *("synthesize", "--method", "m", "--protocol", "polyp-128", "--data-root", "my data", "--seed", "2"),
            *("--output", "out (1)", "--limit", "8"),
            *("--set", "a.b=1", "--set", "c=x y"),
        ][-16:]
    )
    assert run_words("m", "phantom-128", None, 0) == ["--method", "m"]
