"""Progress of a work of several steps: what is shown of one step, and of all."""

import time
from collections.abc import Iterator

import pytest
from rich.console import Console

import ccbench.cli.progress_display
from ccbench.cli.progress_display import BarProgress, LineProgress, PlannedWork
from ccbench.types import Part

PARTS = [Part("encoding", 2.0), Part("training", 6.0), Part("sampling", 4.0)]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def work(clock: Clock) -> PlannedWork:
    return PlannedWork(PARTS, clock)


def test_the_pace_so_far_tells_the_time_of_all_that_is_left(work: PlannedWork, clock: Clock) -> None:
    clock.now = 100.0  # to make ready
    work.begin("encoding")
    assert work.describe() == "step 1 of 3" and work.seconds_left() is None
    clock.now = 110.0
    work.advance("encoding", 1.0)
    assert work.seconds_left() == 50.0  # 2 of 12 in 10 s
    work.begin("training")
    clock.now = 130.0
    work.advance("training", 0.5)
    assert work.seconds_left() == 42.0  # 5 in 30 s, 7 are left
    assert work.describe() == "step 2 of 3, about 42 s left in all"


def test_what_was_there_before_does_not_make_it_look_fast(work: PlannedWork, clock: Clock) -> None:
    work.begin("training")  # the encoding was there too
    work.advance("training", 0.5, found=True)
    clock.now = 6.0
    work.advance("training", 0.25)
    assert work.seconds_left() == 6.0 / 1.5 * (1.5 + 4)


def test_a_step_that_is_no_part_changes_nothing(work: PlannedWork, clock: Clock) -> None:
    work.begin("checking")
    work.advance("checking", 1.0)
    assert work.describe() == ""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(ccbench.cli.progress_display, "_LINE_EVERY", 0.0)
    monkeypatch.setattr(ccbench.cli.progress_display, "_LINE_AT_LEAST", 0.05)
    yield


@pytest.mark.usefixtures("quick")
def test_a_log_hears_of_a_step_that_stands_still(capsys: pytest.CaptureFixture[str]) -> None:
    with LineProgress().step("loading", 2):
        time.sleep(0.3)
    lines = capsys.readouterr().err.splitlines()
    assert lines.count("loading  0/2  so far nothing new") >= 2
    assert lines[-1].startswith("loading  0/2  took ")


@pytest.mark.usefixtures("quick")
def test_the_time_left_of_a_resumed_step_is_that_of_its_new_units(capsys: pytest.CaptureFixture[str]) -> None:
    progress = LineProgress()
    progress.plan(PARTS)
    with progress.step("training", 1000) as step:
        step.found(900)
        time.sleep(0.02)
        step.advance()
    line = capsys.readouterr().err.splitlines()[0]
    assert line.startswith("training  901/1000  ") and "; step 2 of 3, about " in line
    left = float(line.split()[2])
    assert left > 1.5  # 99 units of 0.02 s; with the found ones it would be 2 ms


def test_a_line_below_the_bars_tells_of_all(capsys: pytest.CaptureFixture[str]) -> None:
    progress = BarProgress(Console(force_terminal=True, width=100))
    progress.plan(PARTS)
    with progress.step("sampling", 4) as step:
        step.found(1)
        step.advance(3)
    shown = capsys.readouterr().out
    assert "4/4" in shown and "step 3 of 3, about 1 s left in all" in shown
