"""`ccbench verify`: whether a run still is what its record says."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ccbench.cli import leaderboard, options
from ccbench.cli.output import Output

_Run = Annotated[Path, typer.Argument(help="Folder of a complete, scored run.", metavar="RUN")]
_UseCache = Annotated[
    bool, typer.Option("--use-cache", help="Take features from the cache, by the images' content; faster.")
]
_Resample = Annotated[
    int,
    typer.Option(
        "--resample",
        min=0,
        help="Sample this many conditions again from the run's checkpoint, and compare the images; 0 = none.",
        metavar="K",
    ),
]


def verify(
    run: _Run,
    data_root: options.DataRoot = None,
    boards: leaderboard.Boards = leaderboard.DEFAULT_BOARDS,
    device: options.Device = "auto",
    backbone: options.Backbone = None,
    allow_pickle: options.AllowPickle = False,
    use_cache: _UseCache = False,
    resample: _Resample = 4,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Hash a run's files, score it and sample some images again: match, within tolerance, or drift (exit code 5)."""
    from ccbench.boards.held_record import check_held
    from ccbench.pipeline.verification import verify_run

    out = Output(as_json, quiet)
    session = options.open_session(out, data_root, device, backbone, allow_pickle, no_cache=not use_cache)
    found = verify_run(run, session, partial(check_held, boards=boards, note=out.note), resample)
    out.json(found.to_json())
    out.table(("checked", "state", "detail"), [(one.what, one.state, one.detail) for one in found.checks], wrap=(2,))
    out.line(f"{found.run_id}: {found.state}")
    found.require_no_drift(run)
