"""`ccbench data list | check | prepare`: public data sets as they lie on people's disks."""

from collections import Counter
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ccbench.cli import options
from ccbench.cli.output import Output

if TYPE_CHECKING:
    from ccbench.data.prepare.findings import Finding
    from ccbench.data.prepare.fitness import CheckReport
    from ccbench.data.sets import DataSet

_EXAMPLES = 3
_SPLITS = ("train", "validation", "test")

Name = Annotated[str, typer.Argument(help="Data set; `ccbench data list` lists them.", metavar="NAME")]


def register(app: typer.Typer) -> None:
    """Add these commands to `ccbench data`."""
    app.command("list")(list_data_sets)
    app.command("check")(check)
    app.command("prepare")(prepare_data_set)


def list_data_sets(as_json: options.Json = False) -> None:
    """List the data sets that ccbench reads, with their licence and their layouts on disk."""
    from ccbench.data.sets import DATA_SETS

    out = Output(as_json)
    out.json({"data_sets": [_facts(data_set) for data_set in DATA_SETS.values()]})
    rows = [
        (
            data_set.name,
            data_set.title,
            str(data_set.release_pairs or ""),
            _listed(_split_counts(data_set)),
            data_set.licence,
            "\n".join(layout.title for layout in data_set.layouts),
        )
        for data_set in DATA_SETS.values()
    ]
    header = ("name", "title", "pairs", "split by ccbench", "licence", "layout")
    out.table(header, rows, right=(2,), wrap=(1, 3, 4, 5))
    out.line("ccbench data check DIR looks at one; ccbench data prepare NAME --source DIR --output DIR writes it anew.")


def check(
    folder: Annotated[Path, typer.Argument(help="Folder of the data set.", metavar="DIR")],
    name: Annotated[
        str | None, typer.Option("--name", help="Which data set it is; told from the layout unless given.")
    ] = None,
    polyp_is: options.PolypIs = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Look at every file of a data set; end with code 4 if no benchmark may run on what is there."""
    from ccbench.base.mask_files import parse_mask_rule
    from ccbench.data.prepare.fitness import check_data_set
    from ccbench.data.sets import find_data_set, recognise
    from ccbench.errors import DataError

    out, rule = Output(as_json, quiet), parse_mask_rule(polyp_is)
    data_set = find_data_set(name) if name else recognise(folder)
    report = check_data_set(data_set, folder, out.progress(), rule)
    out.json(_report(report))
    out.table(("", ""), _rows(report), wrap=(1,))
    if report.findings:
        findings = [("fatal" if f.fatal else "note", str(f.count), f.text, _examples(f)) for f in report.findings]
        out.table(("", "count", "what", "where"), findings, right=(1,), wrap=(2, 3))
    for finding in report.findings:
        if finding.fatal and finding.reason and finding.reason not in finding.where[0]:
            out.line(f"{finding.where[0]}: {finding.reason}")
    if report.fatal:
        kinds = ", ".join(map(str, report.fatal))
        raise DataError(f"{report.root}: not fit for a benchmark as it is: {kinds}; {_mend(report)}")
    out.line(f"{data_set.title}: fit for a benchmark")
    out.line(f"next: {_next(report, folder, polyp_is)}")


def prepare_data_set(
    name: Name,
    source: Annotated[Path, typer.Option("--source", help="The data set: a folder, a zip or a tar.", metavar="PATH")],
    output: Annotated[Path, typer.Option("--output", "-o", help="New folder to write.", metavar="DIR")],
    skip_faulty: Annotated[
        bool, typer.Option("--skip-faulty", help="Leave out faulty pairs, name them and list them in left_out.jsonl.")
    ] = False,
    polyp_is: options.PolypIs = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write images/, masks/ and metadata.jsonl: image, mask and caption triplets that Hugging Face datasets load."""
    from ccbench.base.mask_files import parse_mask_rule
    from ccbench.data.captioners import MeasuredCaptioner
    from ccbench.data.prepare.findings import KINDS
    from ccbench.data.prepare.prepared_set import prepare
    from ccbench.data.sets import find_data_set

    out, rule = Output(as_json, quiet), parse_mask_rule(polyp_is)
    data_set = find_data_set(name)
    done = prepare(data_set, source, output, MeasuredCaptioner(), skip_faulty, out.progress(), rule)
    out.json(
        {
            "data_set": data_set.name,
            "output": str(output),
            "pairs": done.pairs,
            "captioned": done.captioned,
            "left_out": done.left_out,
            "notes": _notes(done.report),
            "licence": data_set.licence,
            "shippable": data_set.shippable,
        }
    )
    captions = "each with a caption" if done.captioned == done.pairs else f"{done.captioned} with a caption"
    out.line(f"wrote {done.pairs} pairs of {data_set.title} to {output}, {captions}: images/, masks/, metadata.jsonl")
    for note in _notes(done.report):
        out.warn(note)
    for left, kind in done.left_out.items():
        out.line(f"left out {left}: {done.report.reasons.get(left) or KINDS[kind].text}")
    if done.left_out:
        out.line(f"left out {len(done.left_out)} in all, listed in left_out.jsonl")
    out.line(f"licence: {data_set.licence}")
    if not data_set.shippable:
        out.note("do not publish this folder: the licence does not let these images be passed on")


def _facts(data_set: "DataSet") -> dict[str, Any]:
    return {
        "name": data_set.name,
        "title": data_set.title,
        "pairs": data_set.release_pairs,
        "splits": _split_counts(data_set),
        "licence": data_set.licence,
        "shippable": data_set.shippable,
        "url": data_set.url or None,
        "layouts": [layout.title for layout in data_set.layouts],
    }


def _split_counts(data_set: "DataSet") -> dict[str, int]:
    from ccbench.data.sets.splits import read_split

    counts = Counter(row.split for row in read_split(data_set.name).values()) if data_set.has_split else Counter()
    return {split: counts[split] for split in _SPLITS if split in counts}


def _notes(report: "CheckReport") -> list[str]:
    return [note for finding in report.findings if finding.kind == "left_out" for note in finding.where]


def _mend(report: "CheckReport") -> str:
    """Say what to do about fatal findings."""
    from ccbench.data.prepare.findings import KINDS

    todo = "; ".join(dict.fromkeys(KINDS[finding.kind].todo for finding in report.fatal))
    return todo + (
        f"; or `ccbench data prepare` the other {report.good} pairs with --skip-faulty" if report.good else ""
    )


def _next(report: "CheckReport", folder: Path, polyp_is: str | None) -> str:
    """Return the command that comes after a good check."""
    title = report.data_set.title
    root = next((path.parent for path in (report.root, *report.root.parents) if path.name == title), None)
    if report.data_set.has_split and root is not None:
        return f"ccbench run --method real-split --protocol polyp-128 --data-root {quote(str(root))}"
    rule = f" --polyp-is {quote(polyp_is)}" if polyp_is else ""
    name, source = report.data_set.name, quote(str(folder))
    return f"ccbench data prepare {name} --source {source} --output {quote(f'{folder.name}-prepared')}{rule}"


def _report(report: "CheckReport") -> dict[str, Any]:
    return {
        "data_set": report.data_set.name,
        "folder": str(report.root),
        "layout": report.layout,
        "licence": report.data_set.licence,
        "pairs": report.pairs,
        "release_pairs": report.data_set.release_pairs,
        "captions": report.captions,
        "parts": report.parts,
        "splits": report.splits,
        "sizes": report.sizes,
        "image_formats": report.image_formats,
        "mask_formats": report.mask_formats,
        "mask_values": report.mask_values,
        "pairing": report.pairing,
        "fit": not report.fatal,
        "findings": [
            {"kind": f.kind, "fatal": f.fatal, "count": f.count, "text": f.text, "where": list(f.where)}
            for f in report.findings
        ],
    }


def _rows(report: "CheckReport") -> list[tuple[str, str]]:
    data_set = report.data_set
    of_release = f" of the release's {data_set.release_pairs}" if data_set.release_pairs else ""
    rows = {
        "data set": f"{data_set.title} ({data_set.name}) {data_set.url}".strip(),
        "licence": data_set.licence,
        "folder": f"{report.root}: {report.layout}",
        "pairs": f"{report.pairs}{of_release}",
        "parts": _listed(report.parts),
        "split": f"{_listed(report.splits)}{_verdict(report)}" if report.splits else "none",
        "images": _listed(report.image_formats),
        "sizes": _sizes(report.sizes),
        "masks": _listed(report.mask_formats),
        "mask values": _values(report.mask_values),
        "captions": str(report.captions or "none"),
        "names": report.pairing,
    }
    return [(key, text) for key, text in rows.items() if text]


def _verdict(report: "CheckReport") -> str:
    """Say whether the files are the ones that the package's split lists, where it has one."""
    if not report.data_set.has_split:
        return ", as released"
    drift = {"missing", "unlisted", "image_drift", "mask_drift"} & {finding.kind for finding in report.findings}
    return "; not the listed files, see below" if drift else "; every hash as listed"


def _values(ranges: list[tuple[int, int]]) -> str:
    shown = [str(low) if low == high else f"{low}-{high}" for low, high in ranges]
    return ", ".join(shown if len(shown) <= 2 * _EXAMPLES else [*shown[:_EXAMPLES], "...", *shown[-_EXAMPLES:]])


def _sizes(sizes: dict[str, int]) -> str:
    if len(sizes) <= _EXAMPLES:
        return _listed(sizes)
    by_area = sorted(sizes, key=lambda size: int.__mul__(*map(int, size.split("x"))))
    return f"{len(sizes)} sizes from {by_area[0]} to {by_area[-1]}"


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _examples(finding: "Finding") -> str:
    shown = ", ".join(finding.where[:_EXAMPLES])
    more = len(finding.where) - _EXAMPLES
    return f"{shown} and {more} more" if more > 0 else shown
