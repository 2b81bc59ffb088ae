"""The same conditions across the variants of an ablation, in one picture."""

from collections.abc import Sequence
from pathlib import Path

from ccbench.base.images import read_image
from ccbench.pipeline.session import Session
from ccbench.runs import RunFolder
from ccbench.studies.ablation.variant_runs import AblationRun
from ccbench.tables.pictures import draw_columns, draw_mask, draw_outline, shrink_picture

CONDITIONS = 6
"""The picture shows the first this many test conditions: a rule, so that nobody picks."""

_PUBLIC_WIDTH = 112  # pixels a column


def draw_samples(runs: Sequence[AblationRun], session: Session, path: Path, title: str, public: bool = False) -> None:
    """Write the PNG: mask, real image and every variant's image of the first seed, a line a condition.

    Args:
        public: small enough to keep in a repository, and where users bring the data, without what its licence may keep
            on their disk: the real image, and the mask but for its outline on the first variant's image.
    """
    seed = runs[0].config.seed
    shown = [run for run in runs if run.config.seed == seed]
    files = [RunFolder.read(run.path).image_files() for run in shown]
    protocol = runs[0].config.protocol
    hidden = public and protocol.needs_data_root
    rows = []
    pairs = session.split(protocol, "test").pairs
    for number in range(min(CONDITIONS, len(pairs))):
        pair, images = pairs[number], [read_image(held[number]) for held in files]
        mask = pair.condition.mask
        first = [draw_outline(images[0], mask)] if hidden else [draw_mask(mask), pair.image]
        rows.append(((*first, *images), pair.condition.prompt))
    names = ["the mask's outline"] if hidden else ["mask", "real"]
    head = f"{title}, {protocol.name}, seed {seed}: the first {len(rows)} test conditions"
    columns = (*names, *(run.variant for run in shown))
    draw_columns(rows, columns, path, head)
    if public:
        shrink_picture(path, path, _PUBLIC_WIDTH * len(columns))
