"""`ccbench data audit`: duplicates, near-duplicates and shared videos within and across splits or folders."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from ccbench.cli import options
from ccbench.cli.leaderboard import DEFAULT_BOARDS, Boards
from ccbench.cli.output import Output
from ccbench.errors import DataError, UsageError

if TYPE_CHECKING:
    from ccbench.studies.leak_audit.audit import AuditSet
    from ccbench.studies.leak_audit.audit_record import Audit, ImageName
    from ccbench.types import Image

PICTURED, PRINTED = 24, 10  # pairs

_Protocol = Annotated[
    str | None, typer.Option("--protocol", "-p", help="Audit the splits of this protocol.", metavar="NAME")
]
_Images = Annotated[
    list[str] | None,
    typer.Option("--images", help="Audit a folder of images; once for each folder.", metavar="NAME=DIR"),
]
_Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Folder of the report; runs/audits/NAMES unless given.", metavar="DIR"),
]
_Store = Annotated[bool, typer.Option("--store", help="Keep the audit with the protocol's board, which shows it.")]


def register(app: typer.Typer) -> None:
    """Add this command to `ccbench data`."""
    app.command("audit")(audit)


def audit(
    protocol: _Protocol = None,
    images: _Images = None,
    data_root: options.DataRoot = None,
    output: _Output = None,
    store: _Store = False,
    boards: Boards = DEFAULT_BOARDS,
    limit: options.Limit = None,
    device: options.Device = "auto",
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Look for duplicates, near-duplicates and shared videos within and across splits or folders.

    Ends with code 4 if one image, or one video sequence or patient, is in two sets. Near-duplicates are listed and
    drawn for people to judge.
    """
    from ccbench.base.workers import pick_device
    from ccbench.studies.leak_audit.audit import audit_sets, open_audit_encoder

    if (protocol is None) == (images is None):
        raise UsageError("data audit: give either --protocol NAME or --images NAME=DIR, once for each folder")
    if store and (protocol is None or limit is not None):
        raise UsageError("--store: a board keeps the audit of a whole protocol; give --protocol, without --limit")
    if images and (data_root or limit):
        raise UsageError("data audit: --data-root and --limit belong to --protocol; --images takes whole folders")
    out = Output(as_json, quiet)
    sets = _open_folders(images, out) if images else _open_splits(str(protocol), data_root, limit, out)
    folder = output or Path("runs", "audits", protocol or "-".join(part.name for part in sets))
    encoder = open_audit_encoder(pick_device(device))
    found = audit_sets(sets, encoder, protocol=None if limit else protocol, progress=out.progress())
    files = _write_report(found, sets, folder)
    if store:
        from ccbench.boards.additions import store_audit

        files.append(store_audit(found, boards))
    out.json({**found.model_dump(mode="json"), "leaks": found.leaks, "files": [str(file) for file in files]})
    _show(found, files, out)
    if found.leaks:
        raise DataError(f"leak: {'; '.join(found.leaks)}; remove these images from one side")


def _open_splits(name: str, data_root: Path | None, limit: int | None, out: Output) -> "list[AuditSet]":
    from ccbench.data.split import Split, open_split
    from ccbench.protocols.protocol import find_protocol
    from ccbench.studies.leak_audit.audit import audit_split

    protocol = find_protocol(name)
    splits = [open_split(protocol, split, data_root, limit) for split in get_args(Split)]
    with out.progress().step(f"opening {name}", len(splits)) as step:
        sets = []
        for split in splits:
            sets.append(audit_split(split))
            step.advance()
    return sets


def _open_folders(named: Sequence[str], out: Output) -> "list[AuditSet]":
    from ccbench.base.image_folders import look_into
    from ccbench.studies.leak_audit.audit import audit_folder

    sets = []
    for text in named:
        name, equals, folder = text.partition("=")
        if not (re.fullmatch(r"\w[\w.-]*", name) and equals and folder):
            raise UsageError(
                f"--images: found {text!r}, wanted NAME=DIR, such as --images train=data/train; a name is of letters, "
                "digits, dots and hyphens"
            )
        sets.append(audit_folder(name, Path(folder)))
        if left_out := look_into(Path(folder)).note():
            out.warn(left_out)
    return sets


def _write_report(found: "Audit", sets: "Sequence[AuditSet]", folder: Path) -> list[Path]:
    """Write `audit.json`, and `pairs.png` if there is a pair; return what was written."""
    from ccbench.base.files import make_folder, remove_file, write_atomic
    from ccbench.studies.leak_audit.audit_tables import pair_caption
    from ccbench.tables.pictures import PairCell, draw_pairs

    make_folder(folder)
    record, picture = folder / "audit.json", folder / "pairs.png"
    write_atomic(record, found.to_text().encode())
    if not found.pairs:
        remove_file(picture)  # of an earlier audit
        return [record]
    load = {part.name: part.load for part in sets}

    def picture_of(name: "ImageName") -> "Image":
        return load[name.set](name.index).image

    shown = found.pairs[:PICTURED]
    cells = [PairCell(picture_of(pair.first), picture_of(pair.second), pair_caption(pair)) for pair in shown]
    names = ", ".join(part.name for part in found.sets)
    draw_pairs(cells, picture, f"Leak audit of {names}: the worst {len(shown)} of {found.total} pairs")
    return [record, picture]


def _show(found: "Audit", files: Sequence[Path], out: Output) -> None:
    from ccbench.studies.leak_audit.audit_tables import (
        CLUSTER_HEADER,
        COUNT_HEADER,
        COUNT_LEGEND,
        PAIR_HEADER,
        cluster_rows,
        count_rows,
        known_clusters,
        method_text,
        pair_rows,
        verdict,
    )

    out.table(COUNT_HEADER, count_rows(found), right=range(1, len(COUNT_HEADER)))
    out.line(COUNT_LEGEND)
    if found.clusters:
        out.table(CLUSTER_HEADER, cluster_rows(found))
    if found.pairs:
        shown = found.pairs[:PRINTED]
        out.line(f"The worst {len(shown)} of {found.total} pairs, those across sets first:")
        out.table(PAIR_HEADER, pair_rows(shown), right=range(3, 7))
    out.line(known_clusters(found))
    out.line(method_text(found).replace("`", ""))
    out.line(verdict(found))
    for file in files:
        out.line(f"wrote {file}")
