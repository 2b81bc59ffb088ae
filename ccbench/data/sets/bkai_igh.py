"""BKAI-IGH NeoPolyp: 1000 training pairs; the masks are JPEG in colour, red neoplastic and green not.

A grey conversion of pure red is 76 and falls below the threshold of 127, so masks are read as the maximum over the
channels. The 200 test images were released without masks and are left out.
"""

from ccbench.data.sets.data_set import RESEARCH_ONLY, DataSet, Layout, Part

_TRAIN = Part(("train/train", "train"), ("train_gt/train_gt", "train_gt"))

BKAI_IGH = DataSet(
    name="bkai-igh",
    title="BKAI-IGH NeoPolyp",
    prefix="bkai",
    url="https://www.kaggle.com/c/bkai-igh-neopolyp",
    licence=RESEARCH_ONLY,
    layouts=(Layout("train/train/ + train_gt/train_gt/", (_TRAIN,)),),
    aliases=("BKAI-IGH", "bkai-igh-neopolyp"),
    release_pairs=1000,
)
