"""The wheel: what is in it, and that it works alone. Needs the dev extra, builds without a network."""

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.packaging


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def clean_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that sees the installed dependencies, and of ccbench only the wheel."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    here = Path(pytest.__file__).parents[1]  # site-packages of the environment that runs the tests
    there = next((folder / "lib").glob("python3.*/site-packages"))
    for entry in here.iterdir():
        if not entry.name.startswith(("ccbench", "_ccbench", "_editable_impl_ccbench")):
            (there / entry.name).symlink_to(entry)
    command = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--no-deps",
        "--no-index",
        "-q",
        str(wheel),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return python


def ccbench(python: Path, folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    command = [str(python.parent / "ccbench"), *args]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=env)


def test_holds_every_module_and_weight_and_nothing_else(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    sources = [ROOT / "ccbench", *(path for path in (ROOT / "methods").iterdir() if path.is_dir())]
    tracked = {
        path.relative_to(source.parent).as_posix()
        for source in sources
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }
    assert names == tracked
    assert wheel.stat().st_size < 100 * 2**20  # the limit of the package index


def test_metadata_names_the_command_the_plugins_and_the_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        info = {name.rpartition("/")[2]: name for name in archive.namelist() if ".dist-info/" in name}
        points = archive.read(info["entry_points.txt"]).decode()
        metadata = archive.read(info["METADATA"]).decode()
    assert "ccbench = ccbench.cli:main" in points
    assert "ccis-diff = ccbench_ccis_diff:METHOD" in points and "controlnet = ccbench_controlnet:METHOD" in points
    assert "License-Expression: Apache-2.0" in metadata and "LICENSE" in info


def test_installed_alone_it_lists_the_plugins(clean_python: Path, tmp_path: Path) -> None:
    where = "import ccbench; print(ccbench.__file__)"
    shown = subprocess.run([str(clean_python), "-c", where], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert str(clean_python.parents[1]) in shown.stdout  # the wheel's, not the checkout's
    done = ccbench(clean_python, tmp_path, "methods", "--json")
    assert done.returncode == 0, done.stderr
    cards = json.loads(done.stdout)["methods"]
    assert [card["name"] for card in cards if not card["control"]] == [
        "arsdm",
        "ccis-diff",
        "controlnet",
        "uni-controlnet",
    ]
    assert {card["status"] for card in cards} == {"ok"} and sum(card["control"] for card in cards) == 7


def test_installed_alone_it_finds_its_weights_and_phantoms(clean_python: Path, tmp_path: Path) -> None:
    found = json.loads(ccbench(clean_python, tmp_path, "doctor", "--json").stdout)["findings"]
    shipped = {item["name"]: item["found"] for item in found if item["topic"] == "weights"}
    assert shipped["backbone sd-mini"] and shipped["encoder mini-clip"] and shipped["encoder lite0"]
    done = ccbench(clean_python, tmp_path, "data", "phantom", "--n", "2", "--output", "out", "--quiet")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "contact_sheet.png").is_file()
