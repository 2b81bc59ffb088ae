"""`ccbench protocols`: what is frozen so that rows compare."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from ccbench.cli import options
from ccbench.cli.commands import command
from ccbench.cli.output import Output
from ccbench.errors import UsageError

if TYPE_CHECKING:
    from ccbench.data.split import Split
    from ccbench.protocols.protocol import Protocol

SPLITS = ("test", "validation", "train")

app = typer.Typer(help="List the frozen protocols, show one, or export its conditions.", invoke_without_command=True)


def _known_split(name: str) -> str:
    if name not in SPLITS:
        raise UsageError(f"--split: found {name!r}, wanted {', '.join(SPLITS)}")
    return name


@app.callback()
def protocols(context: typer.Context, as_json: options.Json = False) -> None:
    """List the frozen protocols, show one, or export its conditions."""
    if context.invoked_subcommand is not None:
        return
    from ccbench.protocols.protocol import PROTOCOLS

    out = Output(as_json)
    out.json({"protocols": [_facts(protocol) for protocol in PROTOCOLS.values()]})
    rows = [
        (
            protocol.name,
            protocol.title,
            f"{protocol.image_size} px",
            "--data-root" if protocol.needs_data_root else "nothing",
            protocol.hash,
        )
        for protocol in PROTOCOLS.values()
    ]
    out.table(("name", "title", "size", "needs", "hash"), rows, wrap=(1,))
    out.line("ccbench protocols show NAME prints everything that a protocol freezes.")


@app.command("show")
def show(name: Annotated[str, typer.Argument(help="Protocol to show.")], as_json: options.Json = False) -> None:
    """Print everything that a protocol freezes."""
    from ccbench.protocols.given_settings import flatten
    from ccbench.protocols.protocol import find_protocol

    out = Output(as_json)
    facts = _facts(find_protocol(name))
    out.json(facts)
    rows = [
        (key, ", ".join(map(str, value)) if isinstance(value, list) else str(value)) for key, value in flatten(facts)
    ]
    out.table(("setting", "value"), rows, wrap=(1,))


@app.command("export-conditions")
def export_conditions(
    name: Annotated[str, typer.Argument(help="Protocol whose conditions to write.", metavar="NAME")],
    output: Annotated[Path, typer.Option("--output", "-o", help="New folder to write.", metavar="DIR")],
    data_root: options.DataRoot = None,
    split: Annotated[
        str, typer.Option("--split", help="test, validation or train.", metavar="NAME", callback=_known_split)
    ] = "test",
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write masks, prompts and seeds for a program of any framework; its images join with ccbench run --from-dir."""
    from ccbench.data.prepare.export_conditions import export
    from ccbench.protocols.protocol import find_protocol

    out = Output(as_json, quiet)
    protocol = find_protocol(name)
    done = export(protocol, cast("Split", split), data_root, output, out.progress())
    out.json({"protocol": protocol.name, "protocol_hash": protocol.hash, "output": str(output), **asdict(done)})
    folders = "conditions.jsonl, masks/" + (", images/" if done.images else "")
    out.line(f"wrote {done.n} {split} conditions of {protocol.name} to {output}: {folders}, README.md with the rules")
    out.line(f"licence: {done.licence}")
    if protocol.needs_data_root:
        out.note("no real image is in it, and the masks are the data sets': do not publish this folder")
    if split == "test":
        data = ["--data-root", data_root] if protocol.needs_data_root else []
        words = ("run", "--from-dir", "IMAGES", "--method", "NAME", "--protocol", protocol.name, *data, "--seed", 0)
        out.line(f"next, with your folder of images and a name for its row: {command(*words)}")


def _facts(protocol: "Protocol") -> dict[str, Any]:
    return {**protocol.model_dump(mode="json"), "hash": protocol.hash}
