"""`ccbench segment`: segmenters, and the scores of what they predict."""

import typer

from ccbench.cli import segment_score

app = typer.Typer(help="Polyp segmenters, and the scores of what they predict.")
app.command("score")(segment_score.score)
