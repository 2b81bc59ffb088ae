"""ArSDM: the card of the method. Imports no torch."""

from ccbench.plugins.contract import Method, MethodInfo, Module
from ccbench_arsdm.config import ArsdmConfig

# In pixels, from scratch and without guidance: nothing of the others' settings would fit.
_SMALL = {
    "native_size": 64,
    "unet": {
        "model_channels": 16,
        "channel_mult": [1, 2, 3, 4],
        "num_res_blocks": 1,
        "attention_factors": [4, 8],
        "head_channels": 32,
        "spade_channels": 8,
        "norm_groups": 8,
    },
    "learning_rate": 4e-3,
    "ema_decay": 0.995,
    "num_inference_steps": 25,
    "eta": 1.0,
    "guidance_scale": 1.0,
}

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
    settings_at={"small": _SMALL, "paper": {"num_inference_steps": 200}},
)
