"""Finished cells written by hand, for tables whose numbers are known."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ccbench.metrics.images.map_scores import MAP_METRICS
from ccbench.segmenters import cells
from ccbench.segmenters.table_rows import Row
from ccbench.studies.segmentation.segmentation_results import Finished

COLUMNS = [metric for metric in MAP_METRICS if metric != "dice_pooled"]


def scores(
    values: Sequence[float], shares: Sequence[float] | None = None, clusters: Sequence[str | None] | None = None
) -> pd.DataFrame:
    """Scores of one test set: every metric has the same values, n pixels shared of 10 of the image number n."""
    count = len(values)
    table = pd.DataFrame(
        {
            "image_id": [f"i{number}" for number in range(count)],
            "cluster": pd.Series(clusters if clusters is not None else [None] * count, dtype=object),
            "share": list(shares) if shares is not None else [0.1] * count,
            **{metric: np.array(values, float) for metric in COLUMNS},
        }
    )
    return table.assign(shared=range(count), areas=[10] * count)


def finish(
    segmenter: str, row: Row, seed: int, tables: Mapping[str, pd.DataFrame], known: Sequence[str] = ()
) -> Finished:
    """A cell of 2 passes and 8 steps; `known`: test sets that it was tried on and that have gone since."""
    plan = cells.CellPlan(
        protocol="phantom-128",
        segmenter=segmenter,
        settings={"backbone": "lite0", "size": 96, "ratios": [0.667, 1.0], "bce": "legacy_mean"},
        model={},
        row=row.name,
        augment=row.augment,
        passes=2 * row.repeat,
        seed=seed,
        select="validation",
        selecting=(),
        train="t",
        synthetic="",
        synthetic_run=f"{row.source}-seed0" if row.source else "",
    )
    names = [*known, *tables]
    record = cells.CellRecord(
        plan=plan,
        images=4 * (2 if row.doubled else 1),
        steps=8 * row.repeat * (2 if row.doubled else 1),
        dice=(0.5,),
        taken=1,
        parameters=1_234_567,
        seconds=61.0 + seed,
        weights_sha256=f"{seed}" * 64,
        env={},
        finished="now",
        tests={name: cells.TestRecord(manifest_sha256="m", n=len(tables.get(name, ()))) for name in names},
    )
    return Finished(row, record, dict(tables))
