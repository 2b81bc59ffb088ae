"""CVC-ClinicDB: 612 frames of 29 video sequences, 384 x 288; TIFF originals or their lossless PNG re-release.

The TIFF images hold three samples a pixel under a grey PhotometricInterpretation (see `ccbench.base.images`); some
masks have grey edges.

Split (`splits/cvc-clinicdb.csv`), by whole sequence, so that no frame has a neighbour on another side. In the order of
`derive_seed("cvc-clinicdb", "split", sequence)`, test is the first four sequences that have 62 frames together, the
size of the test set in the literature: 4, 10, 20, 24. Validation is the first two of the others that have 44, 8 % of
550: 13, 21. 506 train, 44 validation, 62 test.
"""

from ccbench.data.sets.data_set import RESEARCH_ONLY, DataSet, Layout, Part

CVC_CLINICDB = DataSet(
    name="cvc-clinicdb",
    title="CVC-ClinicDB",
    prefix="clinicdb",
    url="https://polyp.grand-challenge.org/CVCClinicDB/",
    licence=RESEARCH_ONLY,
    layouts=(
        Layout("PNG/Original/ + PNG/Ground Truth/", (Part(("PNG/Original",), ("PNG/Ground Truth",)),)),
        Layout("TIF/Original/ + TIF/Ground Truth/", (Part(("TIF/Original",), ("TIF/Ground Truth",)),)),
        Layout("Original/ + Ground Truth/", (Part(("Original",), ("Ground Truth",)),)),
        Layout("images/ + masks/", (Part(("images", "image"), ("masks", "mask")),), telling=False),
    ),
    aliases=("ClinicDB", "CVC-612"),
    release_pairs=612,
)
