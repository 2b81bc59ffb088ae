"""Work shared out to processes of one thread each, which on a CPU are faster than one process of several threads."""

import multiprocessing
import os
import queue
import threading
import time
from collections.abc import Callable, Collection, Sequence
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from ccbench.base.signals import Terminated, handled_signals
from ccbench.errors import CcbenchError, UsageError
from ccbench.types import Part, Progress, ProgressStep, SilentProgress

T = TypeVar("T")

Note = Callable[[str], None]
Work = Callable[[Sequence[T], str, Progress, Note], None]
"""Does a share of the work on a device; a module's function, or a `functools.partial` of one."""

_GRACE = 30.0  # seconds in which a worker that is ended may keep what it has
_PATIENCE = 1.0  # seconds between two looks at whether a process is still there


class Room:
    """Room for so many pixels in memory at a time, given to threads in the order of their numbers.

    In order, so that a reader who waits for the next number cannot wait for ever. One image always has room.

    Args:
        most: pixels.
    """

    def __init__(self, most: int) -> None:
        self._most, self._held, self._turn, self._open = most, 0, 0, True
        self._changed = threading.Condition()

    def enter(self, number: int, size: int) -> None:
        """Wait for the turn of `number` and for room of `size`; every number enters once, those without pixels too."""
        with self._changed:
            self._changed.wait_for(
                lambda: not self._open or (self._turn == number and (not self._held or self._held + size <= self._most))
            )
            self._held += size
            self._turn = max(self._turn, number + 1)
            self._changed.notify_all()

    def leave(self, size: int) -> None:
        """Give room back."""
        with self._changed:
            self._held -= size
            self._changed.notify_all()

    def close(self) -> None:
        """Let nobody wait any longer: nothing of what they hold is wanted."""
        with self._changed:
            self._open = False
            self._changed.notify_all()


def pick_device(name: str) -> str:
    """Return the device to use for `auto`, `cpu`, `cuda` or `cuda:N`.

    Raises:
        UsageError: CUDA on a machine where torch sees none, or not so many.
    """
    if name == "cpu":
        return name
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    found = torch.cuda.device_count()
    if int(name.partition(":")[2] or 0) >= found:
        raise UsageError(f"--device: {name} asked for and torch sees {found} CUDA devices; use --device cpu")
    return name


def pick_devices(device: str, workers: int) -> list[str]:
    """Return the device of each worker: `workers` times the CPU, every GPU for `cuda`, or the one that is named."""
    if device != "cuda":
        return ["cpu"] * workers if device == "cpu" else [device]
    import torch

    return [f"cuda:{number}" for number in range(torch.cuda.device_count())]


def work_in_processes(
    work: Work[T],
    items: Sequence[T],
    size: Callable[[T], int],
    devices: Sequence[str],
    title: str,
    *,
    counted: Collection[str] | None = None,
    progress: Progress = SilentProgress(),
    note: Note = lambda text: None,
) -> None:
    """Do `work` on all items, in one process of one thread for each of `devices`; on one GPU in this process.

    Args:
        work: is given a share of the items, in their order.
        size: of an item, in the steps that it reports.
        title: of what the bar shows.
        counted: descriptions of the steps that `size` counts; None = all.

    Raises:
        CcbenchError: what the first share that failed raised; the others are stopped.
    """
    if len(devices) == 1 and devices[0] != "cpu":
        work(items, devices[0], progress, note)
        return
    context = multiprocessing.get_context("spawn")
    messages: Any = context.Queue()
    shares = share_out(items, size, min(len(devices), len(items)))
    started: list[BaseProcess] = [
        context.Process(target=_run, args=(work, share, device, messages, counted), daemon=True)
        for share, device in zip(shares, devices, strict=False)
    ]
    for process in started:
        process.start()
    try:
        with progress.step(title, sum(map(size, items))) as step:
            _watch(started, messages, step, note)
    finally:
        for process in started:
            process.terminate()
        end = time.monotonic() + _GRACE
        for process in started:
            process.join(max(0.0, end - time.monotonic()))
            process.kill()
            process.join()


def share_out(items: Sequence[T], size: Callable[[T], int], workers: int) -> list[list[T]]:
    """Return a list of items for each worker, as even in size as the largest first makes them, kept in order."""
    shares: list[list[int]] = [[] for _ in range(workers)]
    sizes = [size(item) for item in items]
    for number in sorted(range(len(items)), key=lambda number: -sizes[number]):
        min(shares, key=lambda share: sum(sizes[one] for one in share)).append(number)
    return [[items[number] for number in sorted(share)] for share in shares]


def _watch(started: Sequence[BaseProcess], messages: Any, step: ProgressStep, note: Note) -> None:
    """Pass on what the workers say until all have ended."""
    finished = 0
    while finished < len(started):
        try:
            kind, content = messages.get(timeout=_PATIENCE)
        except queue.Empty:
            codes = [process.exitcode for process in started]
            if any(code not in (None, 0) for code in codes) or None not in codes:
                raise CcbenchError(
                    "a worker process was killed, perhaps because memory ran out; the same command goes on, "
                    "--jobs 1 needs the least"
                ) from None
            continue
        if kind == "error":
            raise content
        if kind == "end":
            finished += 1
        elif kind == "note":
            note(content)
        elif kind == "found":
            step.found(content)
        else:
            step.advance(content)


class _Forwarded:
    """Progress that another process shows."""

    def __init__(self, messages: Any, counted: Collection[str] | None) -> None:
        self._messages, self._counted = messages, counted

    def step(self, description: str, total: int) -> ProgressStep:
        return _ForwardedStep(self._messages, self._counted is None or description in self._counted)

    def plan(self, parts: Sequence[Part]) -> None:
        return None


class _ForwardedStep:
    def __init__(self, messages: Any, counts: bool) -> None:
        self._messages, self._counts = messages, counts

    def __enter__(self) -> ProgressStep:
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    def advance(self, amount: int = 1, note: str = "") -> None:
        if self._counts:
            self._messages.put(("steps", amount))

    def found(self, amount: int) -> None:
        if self._counts:
            self._messages.put(("found", amount))


def _end_with_parent() -> None:
    """End this process when the one that started it is gone, killed perhaps: nobody waits for what it would make."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run(work: Work[T], share: Sequence[T], device: str, messages: Any, counted: Collection[str] | None) -> None:
    """Do a share of the work in this process, and say so."""
    import torch

    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        with handled_signals():
            work(share, device, _Forwarded(messages, counted), lambda text: messages.put(("note", text)))
        messages.put(("end", None))
    except (KeyboardInterrupt, Terminated):
        return
    except CcbenchError as error:
        messages.put(("error", error))
    except Exception as error:  # noqa: BLE001  it is raised again where the others are stopped
        messages.put(("error", CcbenchError(f"{type(error).__name__}: {error}")))
