"""`ccbench report`: one self-contained page about scored runs."""

from pathlib import Path
from typing import Annotated

import typer

from ccbench.cli import options
from ccbench.cli.output import Output
from ccbench.tables.format import format_bytes

_Runs = Annotated[list[Path], typer.Argument(help="Complete, scored runs of one protocol.", metavar="RUN...")]
_Output = Annotated[Path, typer.Option("--output", "-o", help="The page to write.", metavar="FILE")]
_Title = Annotated[str | None, typer.Option("--title", help="Title of the page.", metavar="TEXT")]
_Public = Annotated[
    bool, typer.Option("--public", help="Leave out real images that the data's licence may keep with its users.")
]


def report(
    runs: _Runs,
    output: _Output = Path("report.html"),
    data_root: options.DataRoot = None,
    title: _Title = None,
    public: _Public = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write one HTML page, which needs no network: scores, plots, the same conditions, worst cases, provenance."""
    from ccbench.base.files import write_output
    from ccbench.report import collect_report, render_report
    from ccbench.runs import RunFolder

    out = Output(as_json, quiet)
    found = collect_report([RunFolder.read(path) for path in runs], data_root, public)
    text = render_report(found, title)
    data = text.encode()
    write_output(output, data)
    out.json({"output": str(output), "bytes": len(data), "methods": [entry.name for entry in found.entries]})
    out.line(f"report: {output}, {format_bytes(len(data))}; open it in any browser")
    if found.protocol.needs_data_root and not found.public:
        out.line("it holds real images: their licence may forbid to pass it on; --public leaves them out")
