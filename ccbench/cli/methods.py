"""`ccbench methods`: the generators that are installed, and the controls."""

from typing import TYPE_CHECKING, Any

from ccbench.cli import options
from ccbench.cli.output import Output

if TYPE_CHECKING:
    from ccbench.registry import MethodEntry


def methods(as_json: options.Json = False) -> None:
    """List the installed methods, then the controls: what each needs, its licence and whether it loads."""
    from ccbench.registry import list_methods

    out = Output(as_json)
    cards = [_card(entry) for entry in list_methods()]
    out.json({"methods": cards})
    _show([card for card in cards if not card["control"]], out)
    controls = [card for card in cards if card["control"]]
    if controls:
        out.line("controls: run and scored as methods are, shown apart on a board, no method's rivals")
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
        "status": "ok" if info else f"broken: {entry.error}",
        "distribution": entry.distribution,
        "version": entry.version,
    }
