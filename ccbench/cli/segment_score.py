"""`ccbench segment score`: a folder of predicted polyp maps against a folder of masks."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ccbench.cli import options
from ccbench.cli.output import Output
from ccbench.cli.score import interval_level, interval_text
from ccbench.tables.csv import csv_table
from ccbench.tables.format import format_value, interval_notes, metric_heading

if TYPE_CHECKING:
    from ccbench.studies.segmentation.map_folders import MapFolderScores
    from ccbench.types import Score

_Pred = Annotated[Path, typer.Option("--pred", help="Folder of predicted maps, 8-bit grey images.", metavar="DIR")]
_Gt = Annotated[Path, typer.Option("--gt", help="Folder of masks, of the same names.", metavar="DIR")]
_Png = Annotated[
    bool,
    typer.Option("--png", help="Stretch each map to 0..255 first, as the published test scripts save theirs."),
]
_Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="Write the scores of each image, as CSV.", metavar="FILE")
]


def score(
    pred: _Pred,
    gt: _Gt,
    png: _Png = False,
    output: _Output = None,
    polyp_is: options.PolypIs = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Score predicted polyp maps against masks in every convention that papers print, joined on their names."""
    from ccbench.base.mask_files import parse_mask_rule
    from ccbench.studies.segmentation.map_folders import score_map_folders

    out = Output(as_json, quiet)
    found = score_map_folders(pred, gt, png=png, rule=parse_mask_rule(polyp_is), progress=out.progress())
    for note in found.notes:
        out.note(note)
    if output is not None:
        _write_rows(found, output)
    scores = [asdict(one) for one in found.scores]
    written = None if output is None else str(output)
    out.json({"pred": pred.name, "gt": gt.name, "png": png, "n": len(found.rows), "scores": scores, "output": written})
    _show(found.scores, out)
    if output is not None:
        out.line(f"wrote {output}")


def _write_rows(found: "MapFolderScores", output: Path) -> None:
    from ccbench.base.files import write_output
    from ccbench.metrics.images.map_scores import map_columns
    from ccbench.runs.scorecard import per_sample_table

    columns = {metric: values.tolist() for metric, values in map_columns(list(found.rows.values())).items()}
    table = per_sample_table(list(found.rows), columns).drop(columns="index").rename(columns={"condition_id": "id"})
    write_output(output, csv_table(table).encode())


def _show(scores: "Sequence[Score]", out: Output) -> None:
    rows = [
        (metric_heading(one.metric), format_value(one.metric, one.value), interval_text(one), str(one.n))
        for one in scores
    ]
    out.table(("metric", "value", f"{interval_level(scores)}interval", "n"), rows, right=(1, 2, 3))
    for reason in dict.fromkeys(one.reason for one in scores if one.reason):
        out.line(f"{', '.join(one.metric for one in scores if one.reason == reason)}: {reason}")
    for note in interval_notes([(one.metric, one.no_interval) for one in scores]):
        out.line(note)
