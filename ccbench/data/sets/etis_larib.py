"""ETIS-Larib: 196 frames of 1225 x 966; the original TIFFs with masks `pN`, or the PNG re-release."""

from ccbench.data.name_matching import NameRule
from ccbench.data.sets.data_set import RESEARCH_ONLY, DataSet, Layout, Part

_ORIGINAL = Part(("ETIS-LaribPolypDB",), ("Ground Truth",), NameRule(image=r"(\d+)", mask=r"p?(\d+)"))

ETIS_LARIB = DataSet(
    name="etis-larib",
    title="ETIS-Larib",
    prefix="etis",
    url="https://polyp.grand-challenge.org/EtisLarib/",
    licence=RESEARCH_ONLY,
    layouts=(
        Layout("ETIS-LaribPolypDB/ + Ground Truth/ with pN.tif", (_ORIGINAL,)),
        Layout("images/ + masks/", (Part(("images", "image"), ("masks", "mask")),), telling=False),
    ),
    aliases=("ETIS", "ETIS-LaribPolypDB"),
    release_pairs=196,
)
