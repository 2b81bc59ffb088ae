"""`ccbench protocols`: what is frozen so that rows compare."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ccbench.cli import options
from ccbench.cli.output import Output

if TYPE_CHECKING:
    from ccbench.protocols import Protocol

app = typer.Typer(help="List the frozen protocols, or show one in full.", invoke_without_command=True)


@app.callback()
def protocols(context: typer.Context, as_json: options.Json = False) -> None:
    """List the frozen protocols, or show one in full."""
    if context.invoked_subcommand is not None:
        return
    from ccbench.protocols import PROTOCOLS

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
    from ccbench.protocols import find_protocol

    out = Output(as_json)
    facts = _facts(find_protocol(name))
    out.json(facts)
    out.table(("setting", "value"), _flat(facts), wrap=(1,))


def _facts(protocol: "Protocol") -> dict[str, Any]:
    return {**protocol.model_dump(mode="json"), "hash": protocol.hash}


def _flat(facts: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in facts.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", ", ".join(map(str, value)) if isinstance(value, list) else str(value)))
    return rows
