"""ArSDM: the card of the method. Imports no torch."""

from ccbench.plugins.contract import Method, MethodInfo, Module
from ccbench_arsdm.config import ArsdmConfig

METHOD: Method[ArsdmConfig] = Method(
    info=MethodInfo(
        name="arsdm",
        title="ArSDM (mask only: CLIP-score measures the domain, no prompt is read)",
        paper="Du et al., ArSDM: Colonoscopy Images Synthesis with Adaptive Refinement Semantic Diffusion Models, "
        "MICCAI 2023",
        code="https://github.com/DuYooho/ArSDM",
        licence="code without a licence; re-implemented from its description, Apache-2.0",
        year=2023,
        revision=2,
        needs=("mask",),
        guidance=False,
        native_size=384,
        geometry="letterbox",
        reported_in="not in CCIS-DIFF's Table 1; the numbers of its own paper were not to be had",
    ),
    config=ArsdmConfig,
    train_ref="ccbench_arsdm.train:train",
    load_ref="ccbench_arsdm.generator:load",
    modules=(
        Module(
            "adaptive-loss",
            {"adaptive_loss": False},
            "polyps that are drawn where the mask has them, small ones too",
            ("mask_dice", "polyp_missing"),
        ),
    ),
)
