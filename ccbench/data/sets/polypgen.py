"""PolypGen: single frames of six centres; the parts are the centres `c1` to `c6`.

Masks end in `_mask` and are L or RGB. About 120 are empty although most of those files are called "positive": they are
images without a polyp. One name holds a space, C5 holds two byte-identical pairs of images, and the originals of C1
carry device and date in EXIF. `sequenceData/` is not read.
"""

from ccbench.data.sets.data_set import DataSet, Layout, Part

POLYPGEN = DataSet(
    name="polypgen",
    title="PolypGen",
    prefix="polypgen",
    url="https://doi.org/10.7303/syn26376615",
    licence="CC BY 4.0 (Ali et al., PolypGen, Scientific Data 2023)",
    layouts=(
        Layout(
            "data_C1/images_C1/ + masks_C1/ to data_C6/",
            tuple(Part((f"data_C{k}/images_C{k}",), (f"data_C{k}/masks_C{k}",), name=f"c{k}") for k in range(1, 7)),
        ),
    ),
    aliases=("PolypGen2021_MultiCenterData_v3", "PolypGen2021"),
    shippable=True,
    release_pairs=1537,
    has_negatives=True,
)
