"""Several cells at once: processes of one thread each, which on a CPU are faster than one process of several."""

import multiprocessing
import queue
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from ccbench.data.segmentation_sets import SegmentationSets, open_segmentation_sets
from ccbench.downstream.grid import Cell, finish_cell
from ccbench.downstream.material import Material
from ccbench.errors import CcbenchError
from ccbench.protocols import Protocol
from ccbench.types import Progress, ProgressStep, SilentProgress

_PATIENCE = 1.0  # seconds between two looks at whether a process is still there


def pick_devices(device: str, workers: int) -> list[str]:
    """Return the device of each worker: `workers` times the CPU, every GPU for `cuda`, or the one that is named."""
    if device != "cuda":
        return ["cpu"] * workers if device == "cpu" else [device]
    import torch

    return [f"cuda:{number}" for number in range(torch.cuda.device_count())]


@dataclass(frozen=True)
class DataPlace:
    """Where the real pairs of a table are: what `open_segmentation_sets` is given."""

    protocol: Protocol
    data_root: Path | None
    limit: int | None
    native: bool

    def open_sets(self) -> SegmentationSets:
        """Open them; see `open_segmentation_sets`."""
        return open_segmentation_sets(self.protocol, self.data_root, self.limit, self.native)


def finish_cells(
    cells: Sequence[Cell],
    root: Path,
    place: DataPlace,
    devices: Sequence[str],
    progress: Progress = SilentProgress(),
    note: Callable[[str], None] = lambda text: None,
) -> None:
    """Finish cells, see `finish_cell`, in one process of one thread for each of `devices`; on one GPU in this process.

    Raises:
        CcbenchError: what the first cell that failed raised; the others are stopped and can be resumed.
    """
    if len(devices) == 1 and devices[0] != "cpu":
        _finish(cells, root, place, devices[0], progress, note)
        return
    context = multiprocessing.get_context("spawn")
    messages: Any = context.Queue()
    started: list[BaseProcess] = [
        context.Process(target=_work, args=(share, root, place, device, messages), daemon=True)
        for share, device in zip(_share_out(cells, min(len(devices), len(cells))), devices, strict=False)
    ]
    for process in started:
        process.start()
    try:
        with progress.step(f"training {len(cells)} segmenters", sum(cell.steps for cell in cells)) as step:
            _watch(started, messages, step, note)
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.join()


def _finish(
    cells: Sequence[Cell],
    root: Path,
    place: DataPlace,
    device: str,
    progress: Progress,
    note: Callable[[str], None],
) -> None:
    opened: dict[int, Material] = {}
    for cell in cells:
        size = cell.settings.size
        if size not in opened:
            opened[size] = Material(place.open_sets(), size)
        record = finish_cell(cell, root, opened[size], device, progress)
        dice = f", Dice {max(record.dice):.3f} in validation" if record.plan.select == "validation" else ""
        note(f"{cell.title}: done, {record.steps} steps{dice}")


def _share_out(cells: Sequence[Cell], workers: int) -> list[list[Cell]]:
    """Return a list of cells for each worker, as even in steps as the longest first makes them, kept in order."""
    shares: list[list[Cell]] = [[] for _ in range(workers)]
    for cell in sorted(cells, key=lambda cell: -cell.steps):
        min(shares, key=lambda share: sum(one.steps for one in share)).append(cell)
    return [sorted(share, key=cells.index) for share in shares]


def _watch(started: Sequence[BaseProcess], messages: Any, step: ProgressStep, note: Callable[[str], None]) -> None:
    """Pass on what the workers say until all have ended."""
    finished = 0
    while finished < len(started):
        try:
            kind, content = messages.get(timeout=_PATIENCE)
        except queue.Empty:
            codes = [process.exitcode for process in started]
            if any(code not in (None, 0) for code in codes) or None not in codes:
                raise CcbenchError(
                    "segment: a worker process was killed, perhaps for want of memory; the same command goes on, "
                    "--jobs 1 needs the least"
                ) from None
            continue
        if kind == "error":
            raise content
        if kind == "end":
            finished += 1
        elif kind == "note":
            note(content)
        else:
            step.advance(content)


class _Forwarded:
    """Progress, and a step of it, that another process shows."""

    def __init__(self, messages: Any) -> None:
        self._messages = messages

    def step(self, description: str, total: int) -> ProgressStep:
        return self

    def __enter__(self) -> ProgressStep:
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    def advance(self, amount: int = 1, note: str = "") -> None:
        self._messages.put(("steps", amount))


def _work(cells: Sequence[Cell], root: Path, place: DataPlace, device: str, messages: Any) -> None:
    """Finish cells in this process, and say so."""
    import torch

    torch.set_num_threads(1)
    try:
        _finish(cells, root, place, device, _Forwarded(messages), lambda text: messages.put(("note", text)))
        messages.put(("end", None))
    except KeyboardInterrupt:
        return
    except CcbenchError as error:
        messages.put(("error", error))
    except Exception as error:  # noqa: BLE001  it is raised again where the others are stopped
        messages.put(("error", CcbenchError(f"segment: {type(error).__name__}: {error}")))
