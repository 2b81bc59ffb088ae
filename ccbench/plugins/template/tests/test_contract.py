"""My Method keeps the contract of ccbench; `ccbench methods check my-method` runs the same checks."""

from pathlib import Path

from ccbench.plugins.check import assert_method

from ccbench_my_method import METHOD


def test_the_method_keeps_the_contract(tmp_path: Path) -> None:
    assert_method(METHOD, workdir=tmp_path)
