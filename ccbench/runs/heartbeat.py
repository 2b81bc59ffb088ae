"""The sign of life of a run that is worked on: progress tells it, now and then."""

import time
from collections.abc import Callable, Sequence

from ccbench.runs.record import StepRecord
from ccbench.types import Part, Progress, ProgressStep

BEAT_EVERY = 20.0
"""Seconds between two signs; a long step of the work may take longer."""

Beat = Callable[[StepRecord], None]
"""Is told what is done now, as often as something has advanced."""


class BeatingProgress:
    """Progress as another shows it, which calls `beat` wherever something has advanced."""

    def __init__(self, progress: Progress, beat: Beat) -> None:
        self._progress, self._beat = progress, beat

    def step(self, description: str, total: int) -> ProgressStep:
        """Return the other's step, listened to."""
        return _BeatingStep(self._progress.step(description, total), self._beat, description, total)

    def plan(self, parts: Sequence[Part]) -> None:
        """Hand the plan on."""
        self._progress.plan(parts)


class _BeatingStep:
    def __init__(self, step: ProgressStep, beat: Beat, description: str, total: int) -> None:
        self._step, self._beat, self._description, self._total = step, beat, description, total
        self._began, self._done, self._found = time.monotonic(), 0, 0

    def __enter__(self) -> "_BeatingStep":
        self._step.__enter__()
        self._began = time.monotonic()
        return self

    def __exit__(self, *exc: object) -> None:
        self._step.__exit__(*exc)

    def advance(self, amount: int = 1, note: str = "") -> None:
        self._step.advance(amount, note)
        self._done += amount
        pace = (time.monotonic() - self._began) / max(1, self._done - self._found)
        left = pace * max(0, self._total - self._done)
        self._beat(StepRecord(step=self._description, done=self._done, total=self._total, seconds_left=left))

    def found(self, amount: int) -> None:
        self._step.found(amount)
        self._done, self._found = self._done + amount, self._found + amount
