"""Kvasir-SEG: 1000 single frames of many sizes; images and masks are JPEG.

Its masks hold 0..8 and 247..255, so they are cut at 127 and never at 0. Frames carry burnt-in text, a green or black
ScopeGuide box and black corners.

Split (`splits/kvasir-seg.csv`): test is the published list of 100; validation is the 8 % of the published 900 with the
lowest `derive_seed("kvasir-seg", "validation", stem)`: 828 train, 72 validation, 100 test. No sequence is known.
"""

from ccbench.data.sets.data_set import RESEARCH_ONLY, DataSet, Layout, Part

KVASIR_SEG = DataSet(
    name="kvasir-seg",
    title="Kvasir-SEG",
    prefix="kvasir",
    url="https://datasets.simula.no/kvasir-seg/",
    licence=RESEARCH_ONLY,
    layouts=(Layout("images/ + masks/", (Part(("images",), ("masks",)),), telling=False, named=True),),
    release_pairs=1000,
)
