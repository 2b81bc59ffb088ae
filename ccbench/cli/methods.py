"""`ccbench methods`: the generators and controls that are installed, a new one, and whether one keeps the contract."""

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ccbench.cli import options
from ccbench.cli.commands import command, interpreter
from ccbench.cli.output import Output

if TYPE_CHECKING:
    from ccbench.plugins.registry import MethodEntry

FAILED = 1

app = typer.Typer(
    help="List the installed methods and the controls, start a new method, or check one.", invoke_without_command=True
)


@app.callback()
def methods(context: typer.Context, as_json: options.Json = False) -> None:
    """List the installed methods and the controls, start a new method, or check one."""
    if context.invoked_subcommand is not None:
        return
    from ccbench.plugins.registry import list_methods

    out = Output(as_json)
    cards = [_card(entry) for entry in list_methods()]
    out.json({"methods": cards})
    _show([card for card in cards if not card["control"]], out)
    controls = [card for card in cards if card["control"]]
    if controls:
        out.line("controls: reference rows, run and scored like methods, shown separately on a board")
        _show(controls, out)


def _show(cards: list[dict[str, Any]], out: Output) -> None:
    out.table(
        ("name", "title", "needs", "licence", "year", "status", "paper"),
        [
            (
                card["name"],
                card["title"] or "",
                " + ".join(card["needs"]),
                card["licence"] or "",
                str(card["year"] or ""),
                card["status"],
                card["paper"] or "",
            )
            for card in cards
        ],
        right=(4,),
        wrap=(1, 3, 5, 6),
    )
    out.line("ccbench methods new NAME starts one of your own; ccbench methods check NAME says whether one works.")


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="Name of the method, such as my-method.", metavar="NAME")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="New folder to write; ./NAME unless given.", metavar="DIR")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Write a plugin that works: a toy that trains in seconds, to be replaced file by file."""
    from ccbench.plugins.scaffold import new_method

    out = Output(as_json)
    folder = output or Path(name)
    files = new_method(name, folder)
    out.json({"method": name, "output": str(folder), "files": [file.as_posix() for file in files]})
    out.line(f"wrote {folder}:")
    for file in files:
        out.line(f"  {file.as_posix()}")
    out.line()
    out.line("next:")
    install = shlex.join([interpreter(), "-m", "pip", "install", "-e", str(folder)])
    for line, why in (
        (install, "once, in this environment: ccbench finds it then, and changes of its code count at once"),
        (command("methods", "check", name), "train and sample it for two steps and check what the contract promises"),
        (command("run", "--method", name, "--limit", 4), "a small run: training, images, scores and a gallery"),
    ):
        out.line(f"  {line}\n      {why}")


@app.command("check")
def check(
    name: Annotated[str, typer.Argument(help="Installed method to check.", metavar="NAME")],
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train and sample a method for two steps, and say which promises of the contract it keeps."""
    import tempfile

    from ccbench.plugins.check import CheckResult, check_method
    from ccbench.plugins.registry import find_entry

    out = Output(as_json, quiet)
    entry = find_entry(name)
    if entry.method is None:
        results = [CheckResult("import", False, entry.error or "")]
    else:
        out.note(f"check: {name} of {entry.distribution} {entry.version}, two steps on four phantoms")
        with tempfile.TemporaryDirectory(prefix="ccbench-check-") as folder:
            results = check_method(entry.method, workdir=Path(folder))
    failed = [result.name for result in results if not result.passed]
    out.json({"method": name, "passed": not failed, "checks": [asdict(result) for result in results]})
    rows = [(result.name, "ok" if result.passed else "failed", result.detail) for result in results]
    out.table(("check", "result", "found"), rows, wrap=(2,))
    for result in results:
        if result.traceback:
            out.warn(f"{result.name}:\n{result.traceback.rstrip()}")
    if failed:
        out.line(f"{name} breaks the contract: {', '.join(failed)}")
        raise typer.Exit(FAILED)
    out.line(f"{name} keeps the contract: {len(results)} checks")


def _card(entry: "MethodEntry") -> dict[str, Any]:
    info = entry.method.info if entry.method else None
    return {
        "name": entry.name,
        "title": info.title if info else None,
        "control": bool(info and info.control),
        "needs": list(info.needs) if info else [],
        "licence": info.licence if info else None,
        "year": info.year if info else None,
        "paper": info.paper if info else None,
        "code": info.code if info else None,
        "revision": info.revision if info else None,
        "status": "ok" if info else f"broken: {entry.error}",
        "distribution": entry.distribution,
        "version": entry.version,
    }
