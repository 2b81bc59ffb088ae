"""What is on disk, in pyproject.toml and installed must say the same: hatchling is silent when they do not."""

import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest

from ccbench.plugins import controls
from ccbench.plugins.registry import GROUP, list_methods

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
METHOD_FOLDERS = sorted(path.name for path in (ROOT / "methods").iterdir() if (path / "__init__.py").is_file())
METHOD_FILES = ["__init__.py", "config.py", "generator.py", "model.py", "train.py", "README.md"]


def test_every_method_folder_is_packaged_and_every_packaged_folder_exists() -> None:
    packages = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert METHOD_FOLDERS
    assert packages == ["ccbench", *(f"methods/{name}" for name in METHOD_FOLDERS)]


def test_every_method_folder_has_its_entry_point() -> None:
    points = PROJECT["project"]["entry-points"][GROUP]
    methods = {name.removeprefix("ccbench_").replace("_", "-"): f"{name}:METHOD" for name in METHOD_FOLDERS}
    cards = {name.lower().replace("_", "-"): f"ccbench.plugins.controls:{name}" for name in controls.__all__}
    assert points == methods | cards
    assert all(getattr(controls, name).info.control for name in controls.__all__)


def test_installed_entry_points_are_those_of_pyproject() -> None:
    installed = {point.name: point.value for point in distribution("ccbench").entry_points.select(group=GROUP)}
    assert installed == PROJECT["project"]["entry-points"][GROUP], "stale: run `pip install -e .` again"


def test_every_listed_method_of_ours_loads() -> None:
    ours = {entry.name: entry.error for entry in list_methods() if entry.distribution == "ccbench"}
    assert ours == dict.fromkeys(PROJECT["project"]["entry-points"][GROUP])


@pytest.mark.parametrize("file", METHOD_FILES)
def test_method_folders_look_alike(file: str) -> None:
    assert [name for name in METHOD_FOLDERS if not (ROOT / "methods" / name / file).is_file()] == []


def test_checks_cover_every_package() -> None:
    names = ["ccbench", *METHOD_FOLDERS]
    assert PROJECT["tool"]["mypy"]["packages"] == [*names, "ccbench_my_method"]  # the template of a new method
    assert PROJECT["tool"]["importlinter"]["root_packages"] == names
    for contract in PROJECT["tool"]["importlinter"]["contracts"]:
        for key in ("source_modules", "forbidden_modules", "modules"):
            ours = [name for name in contract.get(key, []) if name.startswith("ccbench_")]
            assert ours in ([], METHOD_FOLDERS), contract["name"]


def test_constraints_pin_what_is_required_by_name_and_version_only() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines)
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = [*PROJECT["project"]["dependencies"], *extras["test"], *extras["segmentation"]]
    names = {line.partition(">")[0].lower().replace("_", "-") for line in wanted} - {"ccbench[segmentation]"}
    assert names <= {name.lower().replace("_", "-") for name in pinned}
    assert not {"ccbench", "pip", "setuptools"} & set(pinned)
