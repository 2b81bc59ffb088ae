"""The table of metrics, their names and signatures. The functions beside it are pure functions of arrays."""

import dataclasses
import difflib
from dataclasses import dataclass
from typing import Literal

from ccbench.errors import UsageError

Direction = Literal["up", "down"]


@dataclass(frozen=True)
class MetricInfo:
    """The card of a metric.

    Attributes:
        version: raised by every change that moves its numbers. direction: where better lies.
        scope: "image" = one value an image and their mean; "set" = of whole sets only.
        needs: what it is computed from. paper: where it is defined.
    """

    name: str
    title: str
    version: int
    direction: Direction
    unit: str
    scope: Literal["image", "set"]
    needs: tuple[str, ...]
    paper: str


_FRECHET = MetricInfo(
    name="fid",
    title="Frechet distance",
    version=1,
    direction="down",
    unit="squared feature units",
    scope="set",
    needs=("images", "reference"),
    paper="Heusel et al., GANs Trained by a Two Time-Scale Update Rule, NeurIPS 2017",
)
_KERNEL = MetricInfo(
    name="kid",
    title="Kernel distance (unbiased)",
    version=1,
    direction="down",
    unit="squared MMD",
    scope="set",
    needs=("images", "reference"),
    paper="Binkowski et al., Demystifying MMD GANs, ICLR 2018",
)

METRICS: dict[str, MetricInfo] = {
    info.name: info
    for info in (
        dataclasses.replace(_FRECHET, title="Frechet Inception distance"),
        dataclasses.replace(_KERNEL, title="Kernel Inception distance (unbiased)"),
        dataclasses.replace(_FRECHET, name="fd_lite0", title="Frechet distance, EfficientNet-Lite0 features"),
        dataclasses.replace(_KERNEL, name="kid_lite0", title="Kernel distance (unbiased), EfficientNet-Lite0 features"),
        MetricInfo(
            name="clip_score",
            title="CLIP-score: image against its prompt",
            version=1,
            direction="up",
            unit="100 cos",
            scope="image",
            needs=("images", "prompts"),
            paper="Hessel et al., CLIPScore, EMNLP 2021 (100 cos, as the colonoscopy papers print it)",
        ),
        MetricInfo(
            name="clip_image",
            title="CLIP-image: image against its real partner",
            version=1,
            direction="up",
            unit="100 cos",
            scope="image",
            needs=("images", "real partners"),
            paper="CCIS-DIFF, Table 1",
        ),
    )
}


def metric_info(name: str) -> MetricInfo:
    """Return the card of a metric; `fd_<encoder>` and `kid_<encoder>` exist for every encoder.

    Raises:
        UsageError: unknown name; says the nearest one.
    """
    if name in METRICS:
        return METRICS[name]
    for prefix, family in (("fd_", _FRECHET), ("kid_", _KERNEL)):
        encoder = name.removeprefix(prefix)
        if encoder not in (name, "", "inception"):  # with Inception features the names are `fid` and `kid`
            return dataclasses.replace(family, name=name, title=f"{family.title}, {encoder} features")
    near = difflib.get_close_matches(name, METRICS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(METRICS)}, fd_<encoder>, kid_<encoder>"
    raise UsageError(f"unknown metric {name!r}; {hint}")


def set_metric_name(family: Literal["fd", "kid"], encoder: str) -> str:
    """Return the public name of a set distance: `fid` and `kid` are kept for Inception features."""
    if encoder == "inception":
        return {"fd": "fid", "kid": "kid"}[family]
    return f"{family}_{encoder}"


def sign(metric: str, encoder_signature: str, n: str, **references: str) -> str:
    """Return the signature of a number: two numbers compare only when everything after `n` and it are equal.

    Args:
        encoder_signature: such as `enc:lite0|w:57934424|resize:clean-bicubic128`.
        n: sample sizes, such as `200x800`. references: what was compared with, such as `ref="train@0123456789ab"`.
    """
    parts = [metric, encoder_signature, f"n:{n}", *(f"{key}:{value}" for key, value in references.items())]
    return "|".join([*parts, f"v:{metric_info(metric).version}"])
