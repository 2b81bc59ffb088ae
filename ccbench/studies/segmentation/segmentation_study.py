"""`ccbench segment`'s one call: plan a table's cells, make the images they lack, train what is missing, tabulate."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ccbench.base.workers import pick_devices, work_in_processes
from ccbench.data.segmentation_sets import SegmentationSets, open_segmentation_sets
from ccbench.errors import DataError, UsageError
from ccbench.pipeline.make_run import open_run, run_config
from ccbench.pipeline.session import Session
from ccbench.pipeline.synthesis import add_training_images
from ccbench.pipeline.training import train_run
from ccbench.protocols.config import OutsideConfig
from ccbench.protocols.given_settings import override_settings
from ccbench.protocols.protocol import Protocol
from ccbench.protocols.row_names import row_name, variant_hash
from ccbench.runs import RunFolder
from ccbench.segmenters import Segmenter, SegmenterSettings
from ccbench.segmenters.cell_plan import Cell, finish_share, plan_cell
from ccbench.segmenters.cells import CellFolder, Select
from ccbench.segmenters.segmenter_training import build_network
from ccbench.segmenters.table_rows import BUDGETS, COPY_PASTE, BudgetName, Row, list_rows
from ccbench.studies.segmentation.segmentation_results import Finished, SegmentationTable, tabulate

PUBLISHED = ("polyp-512",)
"""Protocols at the papers' scale: segmenters are trained as published, on images in their own sizes."""

_MINI_PASSES = {"phantom-128": 3, "polyp-128": 2}
"""Of the small protocols: 600 and 664 optimiser steps on the real images."""


@dataclass(frozen=True)
class TablePlan:
    """What a table is made of.

    Attributes:
        runs: whose images are used, by the name of their method, in the order of their seeds; `copy-paste` too, where
            its row is wanted.
        kinds: of rows; None = all that the budgets have.
        seeds: of the segmenters.
        overrides: changed settings of the segmenters, as `key=value`.
        limit: the first `limit` pairs of each set; None = all.
    """

    protocol: Protocol
    runs: dict[str, tuple[RunFolder, ...]]
    segmenters: tuple[Segmenter, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    budgets: tuple[BudgetName, ...] = BUDGETS
    kinds: tuple[str, ...] | None = None
    select: Select = "validation"
    overrides: tuple[str, ...] = ()
    limit: int | None = None

    def open_sets(self, data_root: Path | None) -> SegmentationSets:
        """Open the real pairs; see `open_segmentation_sets`. At the papers' scale they keep their own sizes."""
        return open_segmentation_sets(self.protocol, data_root, self.limit, self.protocol.name in PUBLISHED)

    def settings(self, segmenter: Segmenter) -> SegmenterSettings:
        """Return a segmenter's settings under the protocol, with what was changed.

        Raises:
            UsageError: an unknown key, or a value that it does not take.
        """
        name = self.protocol.name
        passes = {"passes": _MINI_PASSES.get(name, segmenter.mini.passes)}
        base = segmenter.published if name in PUBLISHED else segmenter.mini.model_copy(update=passes)
        return override_settings(base, self.overrides)

    def check(self) -> None:
        """Say what is wrong with the plan before anything is made.

        Raises:
            UsageError: two segmenters of one name, or as `settings` and `list_rows`.
        """
        titles = [segmenter.title for segmenter in self.segmenters]
        if twice := next((title for title in titles if titles.count(title) > 1), None):
            raise UsageError(f"--segmenter {twice}: named twice; a table has one of each name")
        for segmenter in self.segmenters:
            self.settings(segmenter)
        _rows(self)


class Made(NamedTuple):
    """A table, its cells in the table's order, and the data they were tried on."""

    table: SegmentationTable
    cells: list[Cell]
    sets: SegmentationSets


def group_runs(
    runs: Sequence[RunFolder], protocol: Protocol, limit: int | None = None
) -> dict[str, tuple[RunFolder, ...]]:
    """Return trained runs of one protocol by the name of their board's row, in the order of their seeds.

    Raises:
        UsageError: a run is not trained, its images come from outside, or two runs have one name and seed.
        DataError: it is of another protocol.
    """
    grouped: dict[str, dict[int, RunFolder]] = {}
    variants: dict[str, str] = {}
    for run in runs:
        record, name = run.record, row_name(run.config)
        if record.protocol_hash != protocol.hash:
            raise DataError(f"{run.path}: made under {record.protocol} {record.protocol_hash}, not {protocol.name}")
        if run.config.limit != limit:
            raise UsageError(f"{run.path}: made with --limit {run.config.limit}, not {limit}; give the same one")
        if run.config.quick:
            raise UsageError(f"{run.path}: a quick run has seen a part of the training images; make it without --quick")
        if isinstance(run.config.settings, OutsideConfig):
            raise UsageError(f"{run.path}: another program made its images, and of training masks none; leave it out")
        if record.training is None:
            raise UsageError(f"{run.path}: the run is not trained; finish it with ccbench run")
        if record.method is not None and record.method.control and run.config.method != COPY_PASTE:
            raise UsageError(f"{run.path}: {run.config.method} makes no image of a training mask; leave it out")
        if variants.setdefault(name, variant_hash(run.config)) != variant_hash(run.config):
            raise UsageError(f"{run.path}: another configuration of {name}; give the runs of one")
        if grouped.setdefault(name, {}).setdefault(record.seed, run) is not run:
            raise UsageError(f"{run.path}: a second run of {name} with seed {record.seed}; give one a seed")
    return {name: tuple(by_seed[seed] for seed in sorted(by_seed)) for name, by_seed in grouped.items()}


def with_copy_paste(plan: TablePlan, session: Session) -> TablePlan:
    """Return the plan with a run of the control that every table has a row of, made now unless it was given."""
    if COPY_PASTE in plan.runs or (plan.kinds is not None and COPY_PASTE not in plan.kinds):
        return plan
    with open_run(run_config(COPY_PASTE, plan.protocol.name, limit=plan.limit), session) as run:
        train_run(run, session)
    return replace(plan, runs={**plan.runs, COPY_PASTE: (run,)})


def make_images(plan: TablePlan, session: Session) -> None:
    """Make the images of training masks that the runs of a table lack, where a row needs them."""
    wanted = {row.source for row in _rows(plan)}
    for name, runs in plan.runs.items():
        for run in runs[: len(plan.seeds)] if name in wanted else ():
            with RunFolder.open(run.path) as held:
                made = add_training_images(held, session)
            if made:
                session.note(f"{run.record.run_id}: {made} images of training masks made")


def plan_cells(plan: TablePlan, sets: SegmentationSets) -> list[Cell]:
    """Return the cells of a table, seed by seed within a row: segmenter k of a row has the images of the row's run k.

    Where a method has fewer runs than there are seeds, they are taken in turn.
    """
    cells = []
    for segmenter in plan.segmenters:
        settings = plan.settings(segmenter)
        for row in _rows(plan):
            runs = plan.runs.get(row.source, ())
            for number, seed in enumerate(plan.seeds):
                run = runs[number % len(runs)] if runs else None
                cells.append(plan_cell(segmenter, settings, row, seed, run, sets, plan.protocol.name, plan.select))
    return cells


def segment(plan: TablePlan, root: Path, session: Session, workers: int = 1) -> Made:
    """Return the table of a plan; what is there already under `root` is not made again.

    Raises:
        CcbenchError: see `add_training_images`, `finish_cell` and `open_segmentation_sets`.
    """
    for segmenter in plan.segmenters:
        if (settings := plan.settings(segmenter)).weights not in ("package", "random"):
            build_network(segmenter, settings, 0)  # fetches its weights, or says now that they are missing
    make_images(plan, session)
    open_sets = partial(plan.open_sets, session.data_root)
    sets = open_sets()
    cells = plan_cells(plan, sets)
    missing = [cell for cell in cells if not _is_finished(cell, root, sets)]
    session.note(f"segmenters: {len(cells) - len(missing)} of {len(cells)} are there")
    if missing:
        work_in_processes(
            partial(finish_share, root, open_sets),
            missing,
            lambda cell: cell.steps,
            pick_devices(session.torch_device, workers),
            f"training {len(missing)} segmenters",
            progress=session.progress,
            note=session.note,
        )
    finished = [_read(cell, root, sets) for cell in cells]
    protocol = plan.protocol
    table = tabulate(finished, protocol.name, protocol.hash, plan.budgets, sets.own, _notes(plan, sets))
    return Made(table, cells, sets)


def _rows(plan: TablePlan) -> list[Row]:
    return list_rows([name for name in plan.runs if name != COPY_PASTE], plan.budgets, plan.kinds)


def _is_finished(cell: Cell, root: Path, sets: SegmentationSets) -> bool:
    record = CellFolder(root, cell.plan).record()
    return record is not None and all(record.tried(name) == split.manifest_sha256 for name, split in sets.tests.items())


def _read(cell: Cell, root: Path, sets: SegmentationSets) -> Finished:
    folder = CellFolder(root, cell.plan)
    record = folder.record()
    if record is None:
        raise DataError(f"{folder.path}: the cell is not finished; run the same command again")
    return Finished(cell.row, record, {name: folder.scores(name) for name in sets.tests})


def _notes(plan: TablePlan, sets: SegmentationSets) -> list[str]:
    """Say what a reader must know of this table beside its numbers."""
    notes = []
    few = [name for name, runs in plan.runs.items() if len(runs) < len(plan.seeds)]
    if few:
        notes.append(
            f"All seeds of {', '.join(few)} share the images of fewer generator runs: their spread is the segmenter's."
        )
    if plan.limit is not None:
        notes.append(f"The first {plan.limit} images of each set only: numbers for a try, not to be compared.")
    if plan.protocol.backbone == "sd-mini" and any(name.startswith("polypgen") for name in sets.tests):
        notes.append(
            "The embedded backbone was trained on frames of PolypGen: on its centres, rows with synthetic images are "
            "not clean."
        )
    if plan.select == "test":
        notes.append("Passes were chosen on the test images, as Polyp-PVT's published script does: optimistic.")
    return notes
