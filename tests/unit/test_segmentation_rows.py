"""Rows of a segmentation table: their names, budgets, baselines and order."""

import pytest

from ccbench.errors import UsageError
from ccbench.segmenters.table_rows import BASELINES, BUDGETS, KINDS, Row, list_rows

NAMES = {
    "real": "real",
    "real-x2": "real-x2",
    "classic": "classic",
    "classic-x2": "classic-x2",
    "copy-paste": "real+copy-paste",
    "mixed": "real+a",
    "synthetic": "a",
    "synthetic-x2": "a-x2",
}


def make(kind: str) -> Row:
    return Row(kind, {"copy-paste": "copy-paste"}.get(kind, "a" if kind in KINDS[5:] else ""))


def names(*args: object) -> list[str]:
    return [row.name for row in list_rows(*args)]


def test_names() -> None:
    assert {kind: make(kind).name for kind in KINDS} == NAMES


def test_what_each_is_trained_on() -> None:
    """Passes times images: equal in steps for all rows of the budget `steps`, equal in passes in `epochs`."""
    for kind in KINDS:
        row = make(kind)
        images = row.real + (row.doubled or not row.real)
        assert row.augment == ("classic" in kind) and row.doubled == (images == 2)
        if "epochs" in row.budgets:
            assert row.repeat == 1
        if "steps" in row.budgets:
            assert row.repeat * images == 2
        assert row.budgets
    both = [kind for kind in KINDS if make(kind).budgets == BUDGETS]
    assert both == ["copy-paste", "mixed"]
    assert {budget: row.name for budget, row in BASELINES.items()} == {"epochs": "real", "steps": "real-x2"}
    assert all(budget in row.budgets for budget, row in BASELINES.items())


def test_their_order_is_source_by_source() -> None:
    first = ["real", "real-x2", "classic", "classic-x2", "real+copy-paste"]
    of_methods = ["real+a", "a", "a-x2", "real+b", "b", "b-x2"]
    assert names(["a", "b"], BUDGETS) == first + of_methods
    assert names([], BUDGETS) == first
    assert names(["a"], ("epochs",)) == ["real", "classic", "real+copy-paste", "real+a", "a"]
    assert names(["a"], ("steps",)) == ["real-x2", "classic-x2", "real+copy-paste", "real+a", "a-x2"]


def test_baselines_come_with_what_is_compared() -> None:
    assert names(["a"], BUDGETS, ("synthetic",)) == ["real", "a"]
    assert names(["a"], BUDGETS, ("mixed",)) == ["real", "real-x2", "real+a"]
    assert names(["a"], BUDGETS, ("real", "mixed")) == ["real", "real-x2", "real+a"]
    assert names(["a"], ("steps",), ("mixed",)) == ["real-x2", "real+a"]
    assert names([], BUDGETS, ("real-x2",)) == ["real-x2"] and names([], BUDGETS, ("real", "real")) == ["real"]


def test_rows_that_cannot_be() -> None:
    with pytest.raises(UsageError, match=r"--rows fake: wanted some of real, real-x2"):
        list_rows(["a"], BUDGETS, ("real", "fake"))
    with pytest.raises(UsageError, match="--rows mixed,synthetic: needs images of a method"):
        list_rows([], BUDGETS, ("real", "mixed", "synthetic"))
    with pytest.raises(UsageError, match="--rows real-x2: none of them belongs to the budget epochs"):
        list_rows([], ("epochs",), ("real-x2",))
