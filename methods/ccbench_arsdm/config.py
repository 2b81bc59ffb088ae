"""ArSDM's settings. Defaults are the paper's, except where a description says otherwise."""

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from ccbench.plugins.contract import MethodConfig, Settings

TRAIN_TIMESTEPS = 1000
Bce = Literal["legacy_mean", "weighted"]


class UNetSettings(Settings):
    """The shape of the network."""

    model_channels: int = Field(256, ge=4, description="width of the first level")
    channel_mult: tuple[int, ...] = Field((1, 1, 2, 2, 4, 4), min_length=1, description="widths of the levels")
    num_res_blocks: int = Field(2, ge=1, description="blocks of an encoder level; a decoder level has one more")
    attention_factors: tuple[int, ...] = Field((8, 16, 32), description="downsampling factors with attention")
    head_channels: int = Field(64, ge=1, description="width of an attention head")
    spade_channels: int = Field(128, ge=1, description="hidden width of the layers that turn the mask into a norm")
    norm_groups: int = Field(32, ge=1, description="groups of the group norms")


class RefineSettings(Settings):
    """Refinement: a frozen polyp segmenter judges what the network would draw."""

    mode: Literal["off", "official_nograd", "x0_onestep"] = Field(
        "off", description="official_nograd: as released, a logged constant; x0_onestep: with gradient"
    )
    steps: int = Field(362, ge=1, description="last training steps that are refined; 2 epochs of 1,450 images by 8")
    scale: float = Field(0.5, ge=0, description="factor on the segmenter's loss in x0_onestep")
    max_timestep: int = Field(200, ge=0, lt=TRAIN_TIMESTEPS, description="x0_onestep judges samples up to it")
    bce: Bce = Field(
        "legacy_mean",
        description="cross-entropy of the segmenter's loss: legacy_mean, as released, is a plain mean; weighted, as "
        "written, is heavier near the mask's edge",
        json_schema_extra={"added_later": True},
    )
    segmenter_steps: int = Field(500, ge=1, description="training steps of the segmenter")
    segmenter_channels: int = Field(16, ge=8, multiple_of=8, description="width of the segmenter's first level")


class ArsdmConfig(MethodConfig):
    """Settings of ArSDM. There is no unconditional prediction, hence no guidance."""

    num_inference_steps: int = Field(
        200, ge=1, le=TRAIN_TIMESTEPS // 2, description="denoising steps, a divisor of 1000"
    )
    guidance_scale: float = Field(1.0, ge=1.0, le=1.0, description="1 = off: the method has no guidance")
    eta: float = Field(1.0, ge=0, le=1, description="share of fresh noise at every step; 0 = DDIM, 1 = DDPM")
    unet: UNetSettings = UNetSettings()
    native_size: int = Field(384, ge=8, validate_default=True, description="side in pixels at which the network works")
    geometry: Literal["squash", "letterbox"] = Field("letterbox", description="how a frame that is no square fits")
    learning_rate: float = Field(8e-6, gt=0, description="instead of the protocol's")
    ema_decay: float = Field(0.9999, ge=0, lt=1, description="of the moving average of the weights, which is sampled")
    adaptive_loss: bool = Field(True, description="weigh polyp and background by the other's area")
    refine: RefineSettings = RefineSettings()

    @field_validator("native_size")
    @classmethod
    def _fit_levels(cls, value: int, info: ValidationInfo) -> int:
        levels = len(info.data["unet"].channel_mult) if "unet" in info.data else 1  # 1: it is refused itself
        if value % (shrink := 2 ** (levels - 1)):
            raise ValueError(
                f"it is halved between the {levels} levels of unet.channel_mult; wanted a multiple of {shrink}, such "
                f"as {max(1, round(value / shrink)) * shrink}"
            )
        return value

    @field_validator("num_inference_steps")
    @classmethod
    def _divide_evenly(cls, value: int) -> int:
        if TRAIN_TIMESTEPS % value:
            # The steps would not reach the noisiest ones, and sampling starts there.
            raise ValueError("the steps are evenly spaced over 1000; wanted a divisor of it, such as 20, 50 or 200")
        return value
