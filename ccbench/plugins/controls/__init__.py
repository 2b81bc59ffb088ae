"""Controls: rows that give the scale of a board's numbers. Run and scored like methods, and shown apart from them.

Their cards; imports no torch. Unlike a method, a control is given the real images, see `RealData` in
`ccbench.plugins.contract`.
"""

from ccbench.plugins.contract import Method, MethodInfo, Need
from ccbench.plugins.controls.control_settings import CorruptedRealConfig, NoSettings, ShuffledConfig

__all__ = [
    "COPY_PASTE",
    "CORRUPTED_REAL",
    "REAL_SPLIT",
    "SHUFFLED_MASK",
    "SHUFFLED_PROMPT",
    "TRAIN_COPY",
    "VAE_CEILING",
]


def _card(name: str, title: str, needs: tuple[Need, ...] = (), seeded: bool = False, paper: str = "") -> MethodInfo:
    return MethodInfo(
        name=name,
        title=title,
        paper=paper,
        code=None,
        licence="Apache-2.0",
        year=2026,
        needs=needs,
        guidance=False,
        control=True,
        seeded=seeded,
    )


_HERE = "ccbench.plugins.controls"

REAL_SPLIT = Method(_card("real-split", "real test images"), NoSettings, None, f"{_HERE}.real_split:load")

VAE_CEILING = Method(
    _card("vae-ceiling", "real test images through the VAE"),
    NoSettings,
    None,
    f"{_HERE}.vae_ceiling:load",
)

CORRUPTED_REAL = Method(
    _card("corrupted-real", "real test images, blurred and noisy", seeded=True),
    CorruptedRealConfig,
    None,
    f"{_HERE}.corrupted_real:load",
)

TRAIN_COPY = Method(
    _card("train-copy", "the training image of the most similar mask", needs=("mask",)),
    NoSettings,
    None,
    f"{_HERE}.train_copy:load",
)

COPY_PASTE = Method(
    _card(
        "copy-paste",
        "a training polyp pasted into another training image",
        needs=("mask",),
        seeded=True,
        paper="Ghiasi et al., Simple Copy-Paste is a Strong Data Augmentation Method for Instance Segmentation, "
        "CVPR 2021",
    ),
    NoSettings,
    None,
    f"{_HERE}.copy_paste:load",
)

SHUFFLED_MASK = Method(
    _card("shuffled-mask", "a method given another condition's mask", needs=("mask", "prompt"), seeded=True),
    ShuffledConfig,
    f"{_HERE}.shuffled:train",
    f"{_HERE}.shuffled:load_mask",
)

SHUFFLED_PROMPT = Method(
    _card("shuffled-prompt", "a method given another condition's prompt", needs=("mask", "prompt"), seeded=True),
    ShuffledConfig,
    f"{_HERE}.shuffled:train",
    f"{_HERE}.shuffled:load_prompt",
)
