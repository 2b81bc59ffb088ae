"""Work shared out to processes: evenly, in order, and whatever happens to a process is said in one line."""

import queue
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ccbench.base import workers
from ccbench.base.workers import Note, _run, _watch, share_out, work_in_processes
from ccbench.errors import CcbenchError, DataError
from ccbench.types import Progress


def test_shares_are_even_and_keep_the_order() -> None:
    items = ["a", "bb", "cccc", "ddd", "ee"]
    assert share_out(items, len, 2) == [["cccc", "ee"], ["a", "bb", "ddd"]]
    assert share_out(items, len, 1) == [items] and sorted(map(len, share_out(items, len, 5))) == [1] * 5


def report(items: Sequence[str], device: str, progress: Progress, note: Note) -> None:
    """Work that counts one step an item, and one that does not count."""
    for title in ("counted", "other"):
        with progress.step(title, len(items)) as step:
            step.advance(len(items))
    note(f"{device}: {' '.join(items)}")


def test_a_worker_reports_the_steps_that_count() -> None:
    said: queue.Queue[tuple[str, Any]] = queue.Queue()
    threads = torch.get_num_threads()
    _run(report, ["a", "b", "c"], "cpu", said, ["counted"])
    assert torch.get_num_threads() == 1
    torch.set_num_threads(threads)
    shown, notes = Shown(), []
    _watch([SimpleNamespace(exitcode=0)], said, shown, notes.append)
    assert shown.total == 3 and notes == ["cpu: a b c"]


def test_one_gpu_is_used_in_this_process() -> None:
    notes: list[str] = []
    work_in_processes(report, ["a"], len, ["cuda:0"], "one", note=notes.append)
    assert notes == ["cuda:0: a"]


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


SLEEPERS = """
import os, sys, time
from ccbench.base.workers import work_in_processes

def sleep(items, device, progress, note):
    open(os.path.join(sys.argv[1], items[0]), "w").write(str(os.getpid()))
    time.sleep(600)

if __name__ == "__main__":
    work_in_processes(sleep, ["a", "b"], len, ["cpu", "cpu"], "two sleepers")
"""


def test_workers_end_when_their_command_is_killed(tmp_path: Path) -> None:
    """Else they would hold their locks, and the same command could not go on."""
    script, pids = tmp_path / "sleepers.py", tmp_path / "pids"
    script.write_text(SLEEPERS)
    pids.mkdir()
    command = subprocess.Popen([sys.executable, str(script), str(pids)])
    wait_for(lambda: sorted(path.read_text() != "" for path in pids.iterdir()) == [True, True])
    started = [int(path.read_text()) for path in pids.iterdir()]
    assert all(map(is_running, started))
    command.kill()
    command.wait()
    wait_for(lambda: not any(map(is_running, started)))


KEEPERS = """
import os, sys, time
from ccbench.base.signals import handled_signals
from ccbench.base.workers import work_in_processes

def keep(items, device, progress, note):
    file = os.path.join(sys.argv[1], items[0])
    with handled_signals() as signals, signals.held():
        open(file, "w").write("working")
        while signals.received is None:
            time.sleep(0.02)
        open(file, "w").write("kept")

if __name__ == "__main__":
    with handled_signals():
        work_in_processes(keep, ["a", "b"], len, ["cpu", "cpu"], "two keepers")
"""


@pytest.mark.slow
def test_workers_keep_what_they_have_when_their_command_is_ended(tmp_path: Path) -> None:
    script, folder = tmp_path / "keepers.py", tmp_path / "files"
    script.write_text(KEEPERS)
    folder.mkdir()
    command = subprocess.Popen([sys.executable, str(script), str(folder)])
    wait_for(lambda: [path.read_text() for path in folder.iterdir()] == ["working"] * 2)
    command.terminate()
    assert command.wait(timeout=60) == 143
    assert [path.read_text() for path in folder.iterdir()] == ["kept"] * 2


def is_running(pid: int) -> bool:
    """Return whether a process is there and works; one that has ended may wait for its parent to ask."""
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "State:\tZ" not in status.read_text()


def wait_for(fine: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not fine():
        assert time.monotonic() < end, "waited for a minute"
        time.sleep(0.05)
