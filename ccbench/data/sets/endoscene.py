"""EndoScene (CVC-EndoSceneStill): CVC-300 and CVC-612 with one layout, BMP images and BMP or TIFF masks.

CVC-612 holds the frames of CVC-ClinicDB, and CVC-300 frames of CVC-ColonDB: never train on one and test on the other.
"""

from ccbench.data.sets.data_set import RESEARCH_ONLY, DataSet, Layout, Part


def _part(name: str) -> Part:
    images = tuple(f"{name}/{folder}" for folder in ("bbdd", "images", "image"))
    masks = tuple(f"{name}/{folder}" for folder in ("gtpolyp", "masks", "mask"))
    return Part(images, masks, name=name.lower())


ENDOSCENE = DataSet(
    name="endoscene",
    title="EndoScene",
    prefix="endoscene",
    url="http://pages.cvc.uab.es/CVC-Colon/index.php/databases/cvc-endoscenestill/",
    licence=RESEARCH_ONLY,
    layouts=(Layout("CVC-300/bbdd/ + gtpolyp/, CVC-612/bbdd/ + gtpolyp/", (_part("CVC-300"), _part("CVC-612"))),),
    aliases=("CVC-EndoSceneStill", "CVC-912"),
    release_pairs=912,
)
