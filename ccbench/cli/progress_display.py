"""Progress as a command shows it on stderr: bars on a terminal, a line now and then in a log."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress
from rich.progress import TimeRemainingColumn as TimeLeftColumn
from rich.text import Text

from ccbench.cli.streams import say
from ccbench.tables.format import format_seconds
from ccbench.types import Part, ProgressStep

_LINE_EVERY = 15.0  # seconds between two lines of a step that advances
_LINE_AT_LEAST = 30.0  # seconds between two lines of any step


class PlannedWork:
    """How far a work of several steps is, and how long the rest takes at the pace so far.

    Args:
        parts: the steps, in their order; those that are not begun before a later one had nothing to do.
        clock: seconds.
    """

    def __init__(self, parts: Sequence[Part] = (), clock: Callable[[], float] = time.monotonic) -> None:
        self._parts, self._clock = tuple(parts), clock
        self._names = [part.description for part in parts]
        self._here = -1
        self._began: float | None = None  # the first part: what is made ready before it says nothing of the pace
        self._done = self._worked = 0.0  # shares: of the part that is under way, and of all that was done here

    def begin(self, description: str) -> None:
        """Say that a step begins; one that is no part changes nothing."""
        if description in self._names:
            self._here, self._done = self._names.index(description), 0.0
            self._began = self._clock() if self._began is None else self._began

    def advance(self, description: str, fraction: float, found: bool = False) -> None:
        """Say that a fraction of a step is done, or was `found` done."""
        if self._here >= 0 and description == self._names[self._here]:
            share = fraction * self._parts[self._here].share
            self._done += share
            self._worked += 0.0 if found else share

    def seconds_left(self) -> float | None:
        """Return how long the rest takes; None before anything is done."""
        if not self._worked or self._began is None:
            return None
        rest = sum(part.share for part in self._parts[self._here :]) - self._done
        return max(0.0, rest) * (self._clock() - self._began) / self._worked

    def describe(self) -> str:
        """Return the line of the whole work, empty while no part is under way."""
        if self._here < 0:
            return ""
        left = self.seconds_left()
        return f"step {self._here + 1} of {len(self._parts)}" + (
            "" if left is None else f", about {format_seconds(max(1.0, left))} left in all"
        )


class BarProgress(RichProgress):
    """Bars with the time left, for a terminal; steps inside steps stack, and a line below tells of the whole work."""

    def __init__(self, console: Console) -> None:
        self._open, self.work = 0, PlannedWork()
        super().__init__(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", markup=False, style="dim"),
            TextColumn("left"),
            TimeLeftColumn(compact=True),
            TextColumn("taken"),
            TimeElapsedColumn(),
            console=console,
        )

    def step(self, description: str, total: int) -> ProgressStep:
        """Return a bar of `total` units."""
        return _Bar(self, description, total)

    def plan(self, parts: Sequence[Part]) -> None:
        """Tell of the whole work from now on."""
        self.work = PlannedWork(parts)

    def get_renderables(self) -> Iterable[RenderableType]:
        """Return the bars, and the line of the whole work below them."""
        yield self.make_tasks_table(self.tasks)
        if line := self.work.describe():
            yield Text(line, style="dim")

    def hold(self, change: int) -> None:
        """Count the steps that are open; the live display runs while there is one."""
        self._open += change
        if change > 0 and self._open == 1:
            self.start()
        elif self._open == 0:
            self.stop()
            for task in self.task_ids:
                self.remove_task(task)


class _Bar:
    def __init__(self, owner: BarProgress, description: str, total: int) -> None:
        self._owner, self._description, self._total = owner, description, total
        self._task = owner.add_task(description, total=total, note="", start=False)

    def __enter__(self) -> "_Bar":
        self._owner.start_task(self._task)
        self._owner.work.begin(self._description)
        self._owner.hold(+1)
        return self

    def __exit__(self, *exc: object) -> None:
        self._owner.hold(-1)

    def advance(self, amount: int = 1, note: str = "") -> None:
        self._owner.work.advance(self._description, amount / max(1, self._total))
        self._owner.advance(self._task, amount)
        if note:
            self._owner.update(self._task, note=note)

    def found(self, amount: int) -> None:
        self._owner.work.advance(self._description, amount / max(1, self._total), found=True)
        self._owner.reset(self._task, completed=amount)  # an advance would count for the pace


class LineProgress:
    """A line now and then, for a log file or a pipe."""

    def __init__(self) -> None:
        self.work = PlannedWork()

    def step(self, description: str, total: int) -> ProgressStep:
        """Return a step that says where it stands now and then, also while nothing advances, and when it ends."""
        return _Lines(self, description, total)

    def plan(self, parts: Sequence[Part]) -> None:
        """Tell of the whole work from now on."""
        self.work = PlannedWork(parts)


class _Lines:
    def __init__(self, owner: LineProgress, description: str, total: int) -> None:
        self._owner, self._description, self._total = owner, description, total
        self._done, self._found, self._note = 0, 0, ""
        self._begin()

    def __enter__(self) -> "_Lines":
        self._begin()
        self._owner.work.begin(self._description)
        self._wait()
        return self

    def __exit__(self, *exc: object) -> None:
        self._timer.cancel()
        self._say(f"took {format_seconds(time.monotonic() - self._start)}", whole=False)

    def advance(self, amount: int = 1, note: str = "") -> None:
        self._done += amount
        self._note = note or self._note
        self._owner.work.advance(self._description, amount / max(1, self._total))
        if time.monotonic() - self._last >= _LINE_EVERY and 0 < self._done < self._total:
            self._timer.cancel()
            self._tell()

    def found(self, amount: int) -> None:
        self._done, self._found = self._done + amount, self._found + amount
        self._owner.work.advance(self._description, amount / max(1, self._total), found=True)

    def _begin(self) -> None:
        self._start = self._last = time.monotonic()

    def _wait(self) -> None:
        self._timer = threading.Timer(_LINE_AT_LEAST, self._tell)
        self._timer.daemon = True
        self._timer.start()

    def _tell(self) -> None:
        """Say where the step stands, and again when nothing else has said it for a while."""
        self._last, new = time.monotonic(), self._done - self._found
        taken = self._last - self._start
        left = f"{format_seconds(taken / new * (self._total - self._done))} left" if new > 0 else "so far nothing new"
        self._say(left, whole=True)
        self._wait()

    def _say(self, end: str, whole: bool) -> None:
        note = f"  {self._note}" if self._note else ""
        work = self._owner.work.describe() if whole else ""
        say(f"{self._description}  {self._done}/{self._total}{note}  {end}{f'; {work}' if work else ''}", error=True)
