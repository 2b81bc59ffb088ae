"""CVC-ColonDB: frames `N`, masks `pN` and contours `cpN` flat in one folder, `.tif` and `.tiff` mixed.

The release holds 34 byte-identical duplicates, some with different masks, which `ccbench data check` refuses.
"""

from ccbench.data.name_matching import NameRule
from ccbench.data.sets.data_set import RESEARCH_ONLY, DataSet, Layout, Part

_FLAT = NameRule(image=r"(\d+)", mask=r"p(\d+)", ignore=r"cp\d+")

CVC_COLONDB = DataSet(
    name="cvc-colondb",
    title="CVC-ColonDB",
    prefix="colondb",
    url="http://vi.cvc.uab.es/colon-qa/cvccolondb/",
    licence=RESEARCH_ONLY,
    layouts=(
        Layout("N.tiff + pN.tiff in one folder", (Part((".",), (".",), _FLAT),)),
        Layout("images/ + masks/", (Part(("images", "image"), ("masks", "mask")),), telling=False),
    ),
    aliases=("ColonDB", "CVC-ColonDB-380"),
    release_pairs=380,
)
