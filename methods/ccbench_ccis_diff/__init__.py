"""CCIS-DIFF: the card of the method. Imports no torch."""

from ccbench.plugins.contract import Method, MethodInfo, Module
from ccbench_ccis_diff.config import CcisDiffConfig

METHOD: Method[CcisDiffConfig] = Method(
    info=MethodInfo(
        name="ccis-diff",
        title="CCIS-DIFF",
        paper="CCIS-Diff: A Generative Model with Stable Diffusion Prior for Controlled Colonoscopy Image Synthesis",
        code=None,
        licence="no public code; re-implemented from the paper, Apache-2.0",
        year=2024,
        revision=2,
        reported={"fid": 71.73, "clip_score": 31.96, "clip_image": 88.70},
        reported_in="CCIS-DIFF, Table 1; n, encoder, resize and seeds are not stated",
    ),
    config=CcisDiffConfig,
    train_ref="ccbench_ccis_diff.train:train",
    load_ref="ccbench_ccis_diff.generator:load",
    modules=(
        Module(
            "bmws",
            {"bmws": "off"},
            "polyps that blend into the mucosa without a seam",
            ("seam_gradient", "seam_colour"),
        ),
        Module("taam", {"taam": "off"}, "images that follow the prompt", ("text_fidelity", "clip_score")),
    ),
)
