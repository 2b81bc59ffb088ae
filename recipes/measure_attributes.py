"""How right the words of captions are on 100 frames of PolypGen that were labelled by looking at them.

    python recipes/measure_attributes.py --polypgen DIR [--phantoms 500]

The labels are `polypgen_labels.csv`: names and words, no picture. PolypGen: Ali et al., Scientific Data 2023,
CC BY 4.0. In each centre, C1 to C5, the frames with a polyp were ordered by `derive_seed("attribute labels", centre,
stem)` and the first 20 taken; every second one is of the part `set`, on which thresholds were set, the others are
`held-out`. One reader labelled them at 384 px before any of them was measured: a vision-language model, no clinician.
A frame between two words has both; a word that could not be judged is left empty.
"""

import argparse
from collections import Counter
from pathlib import Path

from ccbench.base.images import read_image
from ccbench.base.mask_files import read_mask
from ccbench.base.seeding import derive_seed
from ccbench.data.attributes.accuracy import CHECKED, MEASURED_AS, StatedAccuracy, compare_with_labels, read_labels
from ccbench.data.attributes.sure_attributes import measure_sure_words
from ccbench.data.captioners.measured import measure_words
from ccbench.data.phantom.render import render_phantom
from ccbench.data.sets.polypgen import POLYPGEN
from ccbench.tables.markdown import markdown_table

LABELS = Path(__file__).with_name("polypgen_labels.csv")
CAPTIONERS = {"measured-1": measure_words, "measured-2": measure_sure_words}
PARTS = {"all": ("set", "held-out"), "held out": ("held-out",)}


def cell(right: int, stated: int) -> str:
    """Right of stated, and the share."""
    return f"{right} of {stated}, {right / stated:.0%}" if stated else "-"


def measure_labelled(polypgen: Path) -> None:
    """Print right of stated for each attribute and each of its words, by captioner and part of the frames."""
    frames = read_labels(LABELS)
    files = {pair.id: pair for pair in POLYPGEN.list_pairs(polypgen)}
    pairs = [(read_image(files[frame.id].image), read_mask(files[frame.id].mask)) for frame in frames]
    columns: dict[str, list[StatedAccuracy]] = {}
    for captioner, measure in CAPTIONERS.items():
        stated = [measure(*pair) for pair in pairs]
        for part, kept in PARTS.items():
            chosen = [(frame, words) for frame, words in zip(frames, stated, strict=True) if frame.part in kept]
            columns[f"{captioner}, {part}"] = compare_with_labels(*zip(*chosen, strict=True))
    rows = []
    for found in zip(*columns.values(), strict=True):
        totals = [cell(one.right.total(), one.stated.total()) for one in found]
        rows.append((f"**{found[0].name}**", f"{found[0].labelled} labelled", *totals))
        for word in sorted({word for one in found for word in one.stated}):
            rows.append(("", word, *(cell(one.right[word], one.stated[word]) for one in found)))
    print(markdown_table(("attribute", "word", *columns), rows))


def measure_phantoms(n: int) -> None:
    """Print how often what `measured-2` states of phantoms is right."""
    stated, right = Counter[str](), Counter[str]()
    for index in range(n):
        phantom = render_phantom(derive_seed("attributes", 0, index))
        words = measure_sure_words(phantom.image, phantom.mask)
        for name in CHECKED:
            true = getattr(phantom.attributes, name)
            stated[name] += name in words
            right[name] += words.get(name) == MEASURED_AS.get((name, true), true)
    rows = [(name, f"{stated[name] / n:.0%}", f"{right[name] / stated[name]:.1%}") for name in CHECKED]
    print(f"{n} phantoms\n\n{markdown_table(('attribute', 'stated', 'right of stated'), rows, right=(1, 2))}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--polypgen", type=Path, required=True, help="holds data_C1/ to data_C5/")
    parser.add_argument("--phantoms", type=int, default=500)
    arguments = parser.parse_args()
    measure_labelled(arguments.polypgen)
    measure_phantoms(arguments.phantoms)


if __name__ == "__main__":
    main()
