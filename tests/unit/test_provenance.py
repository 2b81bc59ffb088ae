"""What a record says of the machine and the source tree."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ccbench.base.environment import collect_environment, package_version, source_state


def test_the_environment_names_versions_and_device_without_importing_torch() -> None:
    code = (
        "import json, sys; from ccbench.base.environment import collect_environment as c; env = c('cpu');"
        "print(json.dumps([env['device'], env['packages']['torch'], 'torch' in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f'["cpu", "{package_version("torch")}", false]'


def test_the_environment_names_neither_user_nor_folder() -> None:
    text = str(collect_environment("cpu"))
    assert str(Path.home()) not in text
    assert str(Path.cwd()) not in text


def test_a_package_that_is_not_there_has_no_version() -> None:
    assert package_version("no-such-distribution-xyz") is None


needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed; then no commit is recorded")


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(["git", "-C", str(folder), *identity, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@needs_git
def test_the_source_state_follows_commit_and_changes_of_the_package_only(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "a.py").write_text("1")
    git(tmp_path, "init")
    assert source_state(package) == {"commit": None, "dirty": None}  # nothing committed
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "log.txt").write_text("outside the package")
    assert source_state(package) == {"commit": commit, "dirty": False}
    (package / "b.py").write_text("2")
    assert source_state(package) == {"commit": commit, "dirty": True}


@needs_git
def test_an_installed_package_inside_a_git_tree_has_no_commit(tmp_path: Path) -> None:
    git(tmp_path, "init")
    (tmp_path / "tracked.txt").write_text("")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    installed = tmp_path / ".venv" / "package"
    installed.mkdir(parents=True)
    assert source_state(installed) == {"commit": None, "dirty": None}


def test_without_git_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert source_state(tmp_path) == {"commit": None, "dirty": None}
