"""ControlNet: the card of the method. Imports no torch."""

from ccbench.plugins.contract import Method, MethodInfo
from ccbench_controlnet.config import ControlNetConfig

METHOD: Method[ControlNetConfig] = Method(
    info=MethodInfo(
        name="controlnet",
        title="ControlNet",
        paper="Zhang et al., Adding Conditional Control to Text-to-Image Diffusion Models, ICCV 2023",
        code="https://github.com/lllyasviel/ControlNet",
        licence="Apache-2.0",
        year=2023,
        reported={"fid": 87.32, "clip_score": 30.78, "clip_image": 87.09},
        reported_in="CCIS-DIFF, Table 1; n, encoder, resize and seeds are not stated",
    ),
    config=ControlNetConfig,
    train_ref="ccbench_controlnet.train:train",
    load_ref="ccbench_controlnet.generator:load",
)
