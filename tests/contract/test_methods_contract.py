"""Every installed method and control keeps the contract of `ccbench.plugins.contract`: one on the shipped backbone."""

from pathlib import Path

import pytest

from ccbench.plugins.check import assert_method
from ccbench.plugins.registry import find_method, list_methods
from tiny_backbone import write_tiny_backbone

ON_THE_SHIPPED_BACKBONE = "ccis-diff"

NAMES = [entry.name for entry in list_methods()]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_backbone(tmp_path_factory.mktemp("tiny-sd"))


def test_the_methods_of_this_repository_are_installed() -> None:
    wanted = {"arsdm", "ccis-diff", "controlnet", "uni-controlnet", "real-split", "copy-paste", "shuffled-mask"}
    assert wanted <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_method_keeps_the_contract(name: str, tiny: Path, tmp_path: Path) -> None:
    backbone = {"backbone": str(tiny)} if name != ON_THE_SHIPPED_BACKBONE else {}
    assert_method(find_method(name), workdir=tmp_path, **backbone)
