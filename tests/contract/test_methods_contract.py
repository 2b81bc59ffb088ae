"""Every installed method and control keeps the contract of `ccbench.plugins.contract`, on the shipped backbone."""

from pathlib import Path

import pytest

from ccbench.plugins.check import assert_method
from ccbench.plugins.registry import find_method, list_methods

NAMES = [entry.name for entry in list_methods()]


def test_the_methods_of_this_repository_are_installed() -> None:
    wanted = {"arsdm", "ccis-diff", "controlnet", "uni-controlnet", "real-split", "copy-paste", "shuffled-mask"}
    assert wanted <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_method_keeps_the_contract(name: str, tmp_path: Path) -> None:
    assert_method(find_method(name), workdir=tmp_path)
