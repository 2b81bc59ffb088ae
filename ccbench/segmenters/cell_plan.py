"""Trains the cells of a segmentation table that are missing, and tries each on the test sets it was not tried on."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ccbench.base.environment import collect_environment, now
from ccbench.base.folder_files import remove_folder
from ccbench.base.images import sha256_file
from ccbench.base.tensor_files import key_misfits, load_safetensors, save_state
from ccbench.data.segmentation_sets import SegmentationSets
from ccbench.errors import VerificationError
from ccbench.metrics.images.map_scores import map_columns
from ccbench.metrics.images.maps import score_map
from ccbench.runs import RunFolder
from ccbench.segmenters import Segmenter, SegmenterSettings
from ccbench.segmenters.cells import CellFolder, CellPlan, CellRecord, Select, TestRecord
from ccbench.segmenters.material import Material
from ccbench.segmenters.prediction import predict_maps
from ccbench.segmenters.segmenter_training import Budget, Exercise, build_network, train_segmenter
from ccbench.segmenters.table_rows import Row
from ccbench.types import Progress, SilentProgress


@dataclass(frozen=True)
class Cell:
    """One training of a table: a segmenter with its settings, a row, a seed, and the run whose images the row has.

    Attributes:
        steps: of the optimiser.
    """

    segmenter: Segmenter
    settings: SegmenterSettings
    row: Row
    seed: int
    run: Path | None
    plan: CellPlan
    steps: int

    @property
    def title(self) -> str:
        """Its name in messages."""
        return f"{self.segmenter.title}, {self.row.name}, seed {self.seed}"


def plan_cell(
    segmenter: Segmenter,
    settings: SegmenterSettings,
    row: Row,
    seed: int,
    run: RunFolder | None,
    sets: SegmentationSets,
    protocol: str,
    select: Select,
) -> Cell:
    """Return a cell with all that it depends on; `run` must hold its images of training masks."""
    compared = {"last": [], "validation": [sets.validation], "test": [sets.tests[name] for name in sets.own]}[select]
    config = segmenter.model_config(settings)
    shown = {"settings": settings.model_dump(mode="json", exclude={"passes"}), "model": config}
    if (file := Path(settings.weights)).is_file():  # its content counts, wherever it lies
        shown = _replaced(shown, settings.weights, f"sha256:{sha256_file(file)}")
    plan = CellPlan.model_validate_json(
        json.dumps(
            {
                **shown,
                "protocol": protocol,
                "segmenter": segmenter.title,
                "row": row.name,
                "augment": row.augment,
                "passes": settings.passes * row.repeat,
                "seed": seed,
                "select": select,
                "selecting": [split.manifest_sha256 for split in compared],
                "train": sets.train.manifest_sha256,
                "synthetic": run.training_sha256() if run else "",
                "synthetic_run": run.record.run_id if run else "",
            }
        )
    )
    images = len(sets.train.pairs) * (2 if row.doubled else 1)
    steps = settings.steps(images, plan.passes)
    return Cell(segmenter, settings, row, seed, run.path if run else None, plan, steps)


def finish_share(
    root: Path,
    open_sets: Callable[[], SegmentationSets],
    cells: Sequence[Cell],
    device: str,
    progress: Progress,
    note: Callable[[str], None],
) -> None:
    """Finish cells one after the other and say each; see `finish_cell`."""
    opened: dict[int, Material] = {}
    for cell in cells:
        size = cell.settings.size
        if size not in opened:
            opened[size] = Material(open_sets(), size)
        record = finish_cell(cell, root, opened[size], device, progress, note)
        dice = f", Dice {max(record.dice):.3f} in validation" if record.plan.select == "validation" else ""
        note(f"{cell.title}: done, {record.steps} steps{dice}")


def finish_cell(
    cell: Cell,
    root: Path,
    material: Material,
    device: str,
    progress: Progress = SilentProgress(),
    note: Callable[[str], None] = lambda text: None,
    wait: bool = False,
) -> CellRecord:
    """Train a cell unless it is trained, and try it on the test sets that it was not tried on.

    Args:
        wait: for another command that works on it, whose result is taken then.

    Raises:
        UsageError: another command works on it.
        VerificationError: its weights are not those it recorded.
    """
    folder = CellFolder(root, cell.plan)
    with folder.lock(wait):
        record = folder.record()
        network = None
        if record is None:
            network, record = _train(cell, folder, material, device, progress, note)
        remove_folder(folder.training)  # also what one that was killed just now has left
        sets = material.sets.tests
        missing = [name for name, one in sets.items() if record.tried(name) != one.manifest_sha256]
        if missing:
            network = network or load_cell(cell, folder, record, device)
            record = _try(cell, folder, record, network, missing, material)
        return record


def _train(
    cell: Cell,
    folder: CellFolder,
    material: Material,
    device: str,
    progress: Progress,
    note: Callable[[str], None],
) -> tuple[Any, CellRecord]:
    plan, begin = cell.plan, time.perf_counter()
    data = material.of_row(cell.row, RunFolder.read(cell.run) if cell.run else None)
    selecting, budget = material.selecting(plan.select), Budget(plan.passes, plan.select)
    exercise = Exercise(cell.segmenter, cell.settings, data, selecting, budget, cell.seed, plan.augment)
    network, trained = train_segmenter(
        exercise, folder.training, device=device, progress=progress, note=note, title=cell.title
    )
    save_state(folder.weights, network)
    record = CellRecord(
        plan=plan,
        images=len(data.images),
        steps=trained.steps,
        dice=trained.dice,
        taken=trained.taken,
        parameters=sum(part.numel() for part in network.parameters()),
        seconds=time.perf_counter() - begin,
        weights_sha256=sha256_file(folder.weights),
        env=collect_environment(device),
        finished=now(),
    )
    folder.write_record(record)
    return network, record


def load_cell(cell: Cell, folder: CellFolder, record: CellRecord, device: str) -> Any:
    """Return the trained network of a finished cell, in evaluation mode.

    Raises:
        VerificationError: its weights are not those it recorded, or not this segmenter's.
    """
    if not folder.weights.is_file() or sha256_file(folder.weights) != record.weights_sha256:
        raise VerificationError(f"{folder.weights}: not the weights that training left; remove {folder.path}")
    drawn = cell.settings.model_copy(update={"weights": "random"})  # its backbone's are in the cell
    network = build_network(cell.segmenter, drawn, cell.seed).to(device)
    state, wanted = load_safetensors(folder.weights), network.state_dict()
    shapes = ({name: tuple(tensor.shape) for name, tensor in part.items()} for part in (state, wanted))
    if wrong := key_misfits(*shapes):
        raise VerificationError(f"{folder.weights}: not this segmenter's weights ({min(wrong)}); remove {folder.path}")
    network.load_state_dict(state)
    return network.eval()


def _try(
    cell: Cell,
    folder: CellFolder,
    record: CellRecord,
    network: Any,
    names: Sequence[str],
    material: Material,
) -> CellRecord:
    """Write the maps and their scores, set by set, and then each set into the record."""
    for name in names:
        known, scored = [], []
        for seen, pair in predict_maps(network, material.test(name), cell.settings.size):
            condition = pair.condition
            folder.write_map(name, condition.id, seen)
            known.append((condition.id, condition.cluster, float(condition.mask.mean())))
            scored.append(score_map(seen, condition.mask))
        table = pd.DataFrame(known, columns=["image_id", "cluster", "share"])
        areas = {"shared": [one.shared for one in scored], "areas": [one.areas for one in scored]}
        folder.write_scores(name, table.assign(**map_columns(scored), **areas))
        found = TestRecord(manifest_sha256=material.sets.tests[name].manifest_sha256, n=len(scored))
        record = record.model_copy(update={"tests": {**record.tests, name: found}})
        folder.write_record(record)
    return record


def _replaced(part: Any, old: str, new: str) -> Any:
    """Return a nest of dictionaries and lists with one text in place of another."""
    if isinstance(part, Mapping):
        return {key: _replaced(value, old, new) for key, value in part.items()}
    if isinstance(part, list | tuple):
        return [_replaced(value, old, new) for value in part]
    return new if part == old else part
