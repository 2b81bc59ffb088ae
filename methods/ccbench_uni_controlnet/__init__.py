"""Uni-ControlNet: the card of the method. Imports no torch."""

from ccbench.plugins.contract import Method, MethodInfo
from ccbench_uni_controlnet.config import UniControlNetConfig

METHOD: Method[UniControlNetConfig] = Method(
    info=MethodInfo(
        name="uni-controlnet",
        title="Uni-ControlNet",
        paper="Zhao et al., Uni-ControlNet: All-in-One Control to Text-to-Image Diffusion Models, NeurIPS 2023",
        code="https://github.com/ShihaoZhaoZSH/Uni-ControlNet",
        licence="MIT",
        year=2023,
        reported={"fid": 92.74, "clip_score": 30.57, "clip_image": 86.46},
        reported_in="CCIS-DIFF, Table 1; n, encoder, resize and seeds are not stated",
    ),
    config=UniControlNetConfig,
    train_ref="ccbench_uni_controlnet.train:train",
    load_ref="ccbench_uni_controlnet.generator:load",
)
