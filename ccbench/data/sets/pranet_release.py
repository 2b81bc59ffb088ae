"""The re-release that came with PraNet and that most polyp papers train and test on: PNG, 1450 train and 798 test.

Its training set mixes 900 frames of Kvasir-SEG with 550 of CVC-ClinicDB cut frame by frame, so that test frames of
ClinicDB have neighbours of their own video in it. It holds the same frames as those releases.
"""

from ccbench.data.sets.data_set import RESEARCH_ONLY, DataSet, Layout, Part

_TESTS = ("CVC-300", "CVC-ClinicDB", "CVC-ColonDB", "ETIS-LaribPolypDB", "Kvasir")
_IMAGES, _MASKS = ("image", "images"), ("mask", "masks")


def _part(folder: str, name: str, split: str) -> Part:
    images, masks = (tuple(f"{folder}/{inner}" for inner in names) for names in (_IMAGES, _MASKS))
    return Part(images, masks, name=name, split=split)


PRANET_RELEASE = DataSet(
    name="pranet-release",
    title="PraNet TrainDataset and TestDataset",
    prefix="pranet",
    url="https://github.com/DengPingFan/PraNet",
    licence=f"{RESEARCH_ONLY}, as the five data sets in it",
    layouts=(
        Layout(
            "TrainDataset/image/ + mask/, TestDataset/<data set>/images/ + masks/",
            (
                _part("TrainDataset", "train", "train"),
                *(_part(f"TestDataset/{name}", f"test-{name.lower()}", "test") for name in _TESTS),
            ),
        ),
        Layout(
            "CVC-300/images/ + masks/, ... of TestDataset itself",
            tuple(_part(name, f"test-{name.lower()}", "test") for name in _TESTS),
            least=len(_TESTS),
        ),
    ),
    aliases=("PraNet",),
    release_pairs=2248,
)
