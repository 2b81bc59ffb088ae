"""What SIGINT and SIGTERM do while a command works: the first lets it keep what it has, the second ends it at once."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from ccbench.base.process_ranks import process_count

_HANDLED = (signal.SIGINT, signal.SIGTERM)
INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM
"""Exit codes, as a shell gives them."""


class Terminated(SystemExit):
    """SIGTERM came: Slurm wants the machine back, or a container is stopped."""

    def __init__(self) -> None:
        super().__init__(TERMINATED)


class Signals:
    """The handler of both signals, for one command.

    The first is raised in the main thread as `KeyboardInterrupt` or `Terminated`, at once or, within `held`, at its
    end. The second ends the process. What several processes do together is ended by the one that started them, and
    each may have a signal twice, from there and from outside: they ignore the second.

    Attributes:
        received: the first signal's number, None before there is one.
        kept: what was said to be kept of the work.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.kept: list[str] = []
        self._held = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Take a signal, as Python calls its handler."""
        if self.received is not None:
            if process_count() == 1 and multiprocessing.parent_process() is None:
                os._exit(128 + number)
            return
        self.received = number
        if not self._held:
            self._raise()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Put the exception off until the end of the block, which looks at `received` where it may stop."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self.received is not None:
            self._raise()

    def _raise(self) -> None:
        raise Terminated if self.received == signal.SIGTERM else KeyboardInterrupt


@contextmanager
def handled_signals() -> Iterator[Signals]:
    """Handle both signals within the block, as the command around it does already, if any.

    A signal that the process was started to ignore stays ignored; in a thread nothing is changed.
    """
    signals = Signals()
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    before = {number: signal.getsignal(number) for number in _HANDLED}
    if outer := _installed():
        yield outer
        return
    taken = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    for number in taken:
        signal.signal(number, signals)
    try:
        yield signals
    finally:
        for number, handler in taken.items():
            signal.signal(number, handler)


@contextmanager
def keeping(what: Callable[[], str]) -> Iterator[None]:
    """Note what is kept of the work where a signal's exception passes; the command line prints it."""
    try:
        yield
    except (KeyboardInterrupt, Terminated):
        if signals := _installed():
            signals.kept.append(what())
        raise


def _installed() -> Signals | None:
    return next((handler for handler in map(signal.getsignal, _HANDLED) if isinstance(handler, Signals)), None)
