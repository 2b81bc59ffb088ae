"""The first signal lets a command keep what it has, the second ends it at once."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from ccbench.base.signals import INTERRUPTED, TERMINATED, Terminated, handled_signals, keeping

NUMBERS = pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)], ids=["SIGINT", "SIGTERM"]
)


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@NUMBERS
def test_a_signal_is_raised_at_once(number: int, error: type[BaseException]) -> None:
    with handled_signals(), pytest.raises(error):
        send(number)
        pytest.fail("went on")


@NUMBERS
def test_a_held_signal_is_raised_at_the_end(number: int, error: type[BaseException]) -> None:
    seen: list[int | None] = []
    with handled_signals() as signals, pytest.raises(error), signals.held():
        seen.append(signals.received)
        send(number)
        seen.append(signals.received)
    assert seen == [None, number]


def test_an_error_within_a_held_block_goes_before_the_signal() -> None:
    with handled_signals() as signals, pytest.raises(OSError, match="disk"), signals.held():
        send(signal.SIGTERM)
        raise OSError("disk")


def test_what_was_handled_before_is_handled_again() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with handled_signals() as outer, handled_signals() as inner:
        assert outer is inner
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with handled_signals() as signals:
            send(signal.SIGTERM)
            assert signals.received is None
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_thread_leaves_signals_alone() -> None:
    found: list[object] = []

    def work() -> None:
        with handled_signals():
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGTERM)]


def test_what_is_kept_is_noted_where_a_signal_passes() -> None:
    with handled_signals() as signals:
        with pytest.raises(Terminated), keeping(lambda: "three images are kept"):
            send(signal.SIGTERM)
        with pytest.raises(OSError), keeping(lambda: "nothing"):
            raise OSError
    assert signals.kept == ["three images are kept"]


TWICE = """
import os, signal
from ccbench.base.signals import handled_signals
with handled_signals() as signals, signals.held():
    os.kill(os.getpid(), signal.{})
    print("held", flush=True)
    os.kill(os.getpid(), signal.{})
    print("went on", flush=True)
"""


@pytest.mark.parametrize(("second", "code"), [("SIGINT", INTERRUPTED), ("SIGTERM", TERMINATED)])
@pytest.mark.parametrize("alone", [True, False], ids=["alone", "one of two"])
def test_the_second_ends_at_once_a_process_that_works_alone(second: str, code: int, alone: bool) -> None:
    """One of several has the same signal from two sides: from outside, and from the process that started it."""
    environment = {**os.environ, "WORLD_SIZE": "1" if alone else "2"}
    script = TWICE.format("SIGTERM", second)
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60)
    said = done.stdout.split("\n")[:-1]
    assert (done.returncode, said) == ((code, ["held"]) if alone else (TERMINATED, ["held", "went on"]))
