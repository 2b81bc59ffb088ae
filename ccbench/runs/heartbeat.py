"""The sign of life of a run that is worked on: progress tells it, now and then."""

from collections.abc import Callable

from ccbench.types import Progress, ProgressStep

BEAT_EVERY = 20.0
"""Seconds between two signs; a long step of the work may take longer."""


class BeatingProgress:
    """Progress as another shows it, which calls `beat` wherever something has advanced."""

    def __init__(self, progress: Progress, beat: Callable[[], None]) -> None:
        self._progress, self._beat = progress, beat

    def step(self, description: str, total: int) -> ProgressStep:
        """Return the other's step, listened to."""
        return _BeatingStep(self._progress.step(description, total), self._beat)


class _BeatingStep:
    def __init__(self, step: ProgressStep, beat: Callable[[], None]) -> None:
        self._step, self._beat = step, beat

    def __enter__(self) -> "_BeatingStep":
        self._step.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._step.__exit__(*exc)

    def advance(self, amount: int = 1, note: str = "") -> None:
        self._step.advance(amount, note)
        self._beat()
