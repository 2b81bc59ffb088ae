"""`ccbench data`: look at data, such as the embedded phantoms."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from ccbench.cli import data_audit, data_caption, data_sets, options
from ccbench.cli.output import Output

SHEET_CELLS = 16

app = typer.Typer(help="Look at the data of a protocol.")
data_sets.register(app)
data_caption.register(app)
data_audit.register(app)


@app.callback()
def data() -> None:
    """Look at the data of a protocol."""


@app.command("phantom")
def phantom(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.", metavar="DIR")],
    n: Annotated[int, typer.Option("--n", min=1, max=100_000, help="How many phantoms to render.")] = 16,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The phantoms follow from it.")] = 0,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Render colonoscopy phantoms: images/, masks/, captions.jsonl and contact_sheet.png."""
    from ccbench.base.files import json_lines, make_folder, write_atomic
    from ccbench.base.images import write_png
    from ccbench.base.seeding import derive_seed
    from ccbench.data.phantom.render import render_phantom
    from ccbench.tables.pictures import SheetCell, draw_contact_sheet, draw_mask

    out = Output(as_json, quiet)
    for folder in ("images", "masks"):
        make_folder(output / folder)
    lines: list[dict[str, Any]] = []
    cells: list[SheetCell] = []
    with out.progress().step("render phantoms", n) as step:
        for index in range(n):
            item = render_phantom(derive_seed("data phantom", seed, index))
            name = f"phantom-{index:05d}"
            write_png(output / "images" / f"{name}.png", item.image)
            write_png(output / "masks" / f"{name}.png", draw_mask(item.mask))
            lines.append({"id": name, "caption": item.caption, "attributes": asdict(item.attributes)})
            if len(cells) < SHEET_CELLS:
                cells.append(SheetCell(item.image, item.mask, item.caption))
            step.advance()
    write_atomic(output / "captions.jsonl", json_lines(lines))
    sheet = output / "contact_sheet.png"
    shown = f": the first {len(cells)}" if n > len(cells) else ""
    draw_contact_sheet(cells, sheet, f"{n} phantoms, seed {seed}{shown}")
    out.json({"n": n, "seed": seed, "output": str(output), "contact_sheet": str(sheet)})
    out.line(f"wrote {n} phantoms to {output}: images/, masks/, captions.jsonl")
    out.line(f"contact sheet: {sheet}")
