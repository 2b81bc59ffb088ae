"""Cells shared out to processes: evenly, in order, and whatever happens to a process is said in one line."""

import queue
from types import SimpleNamespace
from typing import Any

import pytest

from ccbench.downstream import workers
from ccbench.downstream.workers import _share_out, _watch
from ccbench.errors import CcbenchError, DataError


def cell(steps: int, name: str) -> Any:
    return SimpleNamespace(steps=steps, name=name)


def test_shares_are_even_and_keep_the_tables_order() -> None:
    cells = [cell(steps, name) for steps, name in zip((1, 2, 4, 3, 2), "abcde", strict=True)]
    shares = _share_out(cells, 2)
    assert [[one.name for one in share] for share in shares] == [["c", "e"], ["a", "b", "d"]]
    assert [sum(one.steps for one in share) for share in shares] == [6, 6]
    assert _share_out(cells, 1) == [cells] and sorted(map(len, _share_out(cells, 5))) == [1] * 5


class Shown:
    """A step of progress that counts."""

    total = 0

    def advance(self, amount: int = 1, note: str = "") -> None:
        self.total += amount


def watch(codes: list[int | None], *messages: tuple[str, Any]) -> tuple[int, list[str]]:
    said: queue.Queue[tuple[str, Any]] = queue.Queue()
    for message in messages:
        said.put(message)
    shown, notes = Shown(), []
    _watch([SimpleNamespace(exitcode=code) for code in codes], said, shown, notes.append)
    return shown.total, notes


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_PATIENCE", 0.01)


def test_steps_and_notes_are_passed_on_until_all_have_ended() -> None:
    messages = [("steps", 1), ("note", "done"), ("end", None), ("steps", 4), ("end", None)]
    assert watch([None, 0], *messages) == (5, ["done"])


def test_what_a_process_raises_is_raised() -> None:
    with pytest.raises(DataError, match="a file is missing"):
        watch([None, None], ("steps", 1), ("error", DataError("a file is missing")))


@pytest.mark.parametrize("codes", [[-9, None], [None, 1], [0, 0]])
def test_a_process_that_says_no_more_is_not_waited_for(codes: list[int | None]) -> None:
    """Killed, failed, or interrupted alone, which ends with 0."""
    with pytest.raises(CcbenchError, match=r"a worker process was killed.*--jobs 1 needs the least"):
        watch(codes, ("end", None))
