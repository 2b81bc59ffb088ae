"""The cards of the metrics: names, directions, units, sources, and the signatures of their numbers."""

import dataclasses
from dataclasses import dataclass
from typing import Literal

from ccbench.base.text import suggest
from ccbench.errors import UsageError

Direction = Literal["up", "down", "zero"]
Group = Literal["main", "realism", "mask", "prompt", "segmentation"]
SetFamily = Literal["fd", "fd_infinity", "kid", "cmmd", "precision", "recall", "density", "coverage", "diversity"]


@dataclass(frozen=True)
class MetricInfo:
    """The card of a metric.

    Attributes:
        version: raised by every change that moves its numbers. direction: where better lies; zero = nearest to 0.
        scope: "image" = one value an image and their mean; "set" = of whole sets only.
        needs: what it is computed from. paper: where it is defined.
        group: the table of a board that it stands in; "segmentation" is of segmenters, and on no board.
        ranked: False = a value past a mark is no better than the mark.
        counts: what it counts, so that its value moves in steps of one of them; None = it moves smoothly.
    """

    name: str
    title: str
    version: int
    direction: Direction
    unit: str
    scope: Literal["image", "set"]
    needs: tuple[str, ...]
    paper: str
    group: Group = "main"
    ranked: bool = True
    counts: Literal["images", "reference"] | None = None


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
_CMMD = dataclasses.replace(
    _KERNEL,
    title="CMMD (unbiased)",
    unit="1000 squared MMD",
    paper="Jayasumana et al., Rethinking FID: Towards a Better Evaluation Metric for Image Generation, CVPR 2024",
    group="realism",
)
_FRECHET_INFINITY = dataclasses.replace(
    _FRECHET,
    title="Frechet distance extrapolated to infinitely many images",
    paper="Chong and Forsyth, Effectively Unbiased FID and Inception Score and Where to Find Them, CVPR 2020",
    group="realism",
)
_PRECISION = dataclasses.replace(
    _KERNEL,
    title="Precision: share of images within reach of a real one",
    direction="up",
    unit="share",
    paper="Kynkaanniemi et al., Improved Precision and Recall Metric for Assessing Generative Models, NeurIPS 2019",
    group="realism",
    counts="images",
)
_DENSITY = dataclasses.replace(
    _PRECISION,
    title="Density: real images within whose reach an image lies, over k",
    unit="images / k",
    paper="Naeem et al., Reliable Fidelity and Diversity Metrics for Generative Models, ICML 2020",
)
_FAMILIES: dict[SetFamily, MetricInfo] = {
    "fd_infinity": _FRECHET_INFINITY,  # before `fd`, whose prefix it has
    "fd": _FRECHET,
    "kid": _KERNEL,
    "cmmd": _CMMD,
    "precision": _PRECISION,
    "recall": dataclasses.replace(
        _PRECISION, title="Recall: share of real images within reach of a synthetic one", counts="reference"
    ),
    "density": _DENSITY,
    "coverage": dataclasses.replace(
        _DENSITY,
        title="Coverage: share of real images with a synthetic one within their reach",
        unit="share",
        counts="reference",
    ),
    "diversity": dataclasses.replace(
        _KERNEL,
        title="Mean distance between images of one condition",
        direction="up",
        unit="cosine distance",
        scope="image",
        needs=("images", "copies"),
        group="realism",
        paper="after Zhu et al., Toward Multimodal Image-to-Image Translation, NeurIPS 2017, on pooled features",
    ),
}
_MASK = MetricInfo(
    name="mask_dice",
    title="Dice between the mask and where a judge sees the polyp",
    version=2,
    direction="up",
    unit="share",
    scope="image",
    needs=("images", "masks", "judge"),
    paper="ccbench: a segmenter trained on real images only, asked where it sees the polyp",
)
_MASK_MORE = dataclasses.replace(_MASK, direction="down", group="mask")
_COPIES = MetricInfo(
    name="memorised_near",
    title="Share of images nearer to a training image than 95 % of the real test images are",
    version=1,
    direction="down",
    unit="share",
    scope="set",
    needs=("images", "training images", "real test images"),
    paper="ccbench: 0.05 for fresh real images, more where training images were memorised",
    group="realism",
    ranked=False,
    counts="images",
)
_SEAM_PAPER = "ccbench: change at the mask's edge over that beside it, less the same of the real image"
_SEAM_METRICS = (
    ("seam_gradient", "Excess of the colour gradient at the mask's edge over the real image's"),
    ("seam_colour", "Excess of the step in mean colour at the mask's edge over the real image's"),
)
_TEXT_PAPER = "ccbench: attributes measured on the image against those its prompt states, beyond all others' prompts"
_TEXT_METRICS: tuple[tuple[str, str, Group], ...] = (
    ("text_fidelity", "Agreement with the prompt in what only the prompt tells, beyond chance", "main"),
    ("text_fidelity_polyp", "The same of the polyp alone: its colour, surface and demarcation", "prompt"),
    ("text_fidelity_mucosa", "The same of the mucosa alone: its light, highlights, lumen and tint", "prompt"),
)
_MAP_NEEDS = ("predicted maps", "masks")
_MATLAB = "PraNet's evaluation code (Fan et al., MICCAI 2020)"
_HALF = "mean over images, polyp only"
_MAP_METRICS: tuple[tuple[str, str, Direction, str, str], ...] = (
    ("mDice_256", "Dice of the stretched map, mean over 256 thresholds", "up", "share", _MATLAB),
    ("mIoU_256", "Intersection over union of the same", "up", "share", _MATLAB),
    ("mDice_0.5", "Dice of the map at 0.5", "up", "share", _HALF),
    ("mIoU_0.5", "Intersection over union of the map at 0.5", "up", "share", _HALF),
    ("dice_pooled", "Dice of all images' pixels together at 0.5", "up", "share", "sums over the set before the ratio"),
    ("hd95", "95th percentile of the distance between the outlines at 0.5", "down", "pixels", "as MedPy's hd95"),
    ("s_measure", "S-measure of the stretched map", "up", "share", "Fan et al., ICCV 2017"),
    ("e_measure_256", "E-measure, mean over 256 thresholds", "up", "share", "Fan et al., IJCAI 2018"),
    ("weighted_f", "Weighted F-measure of the stretched map", "up", "share", "Margolin et al., CVPR 2014"),
    ("mae", "Mean absolute error of the stretched map", "down", "share", "Perazzi et al., CVPR 2012"),
)
_INCEPTION_NAMES: dict[SetFamily, str] = {"fd": "fid", "fd_infinity": "fid_infinity", "kid": "kid"}

METRICS: dict[str, MetricInfo] = {
    info.name: info
    for info in (
        dataclasses.replace(_FRECHET, title="Frechet Inception distance"),
        dataclasses.replace(_KERNEL, title="Kernel Inception distance (unbiased)"),
        dataclasses.replace(_FRECHET_INFINITY, name="fid_infinity"),
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
            name="clip_score_polyp",
            title="CLIP-score of the square around the polyps against what the prompt says of them",
            version=1,
            direction="up",
            unit="100 cos",
            scope="image",
            needs=("images", "masks", "prompts"),
            paper="as clip_score, on a crop",
            group="prompt",
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
        _MASK,
        dataclasses.replace(
            _MASK_MORE, name="mask_iou", title="Intersection over union of the same two masks", direction="up"
        ),
        dataclasses.replace(
            _MASK_MORE,
            name="mask_hd95",
            title="95th percentile of the distance between their outlines",
            unit="pixels",
        ),
        dataclasses.replace(_MASK_MORE, name="mask_area_error", title="Difference of their areas over the sum"),
        dataclasses.replace(
            _MASK_MORE,
            name="polyp_missing",
            title="Share of an image's polyps that the judge does not see",
            counts="images",
        ),
        dataclasses.replace(
            _MASK_MORE,
            name="polyp_hallucinated",
            title="Polyps an image that the judge sees outside the mask",
            unit="polyps",
            counts="images",
        ),
        _COPIES,
        dataclasses.replace(
            _COPIES,
            name="memorised_alone",
            title="Share of images with one training image nearer than all others, as few real images have",
        ),
        *(
            MetricInfo(
                name, title, 1, "zero", "doublings", "image", ("images", "masks", "real partners"), _SEAM_PAPER, "mask"
            )
            for name, title in _SEAM_METRICS
        ),
        *(
            MetricInfo(name, title, 1, "up", "kappa", "image", ("images", "masks", "prompts"), _TEXT_PAPER, group)
            for name, title, group in _TEXT_METRICS
        ),
        *(
            MetricInfo(
                name,
                title,
                1,
                direction,
                unit,
                "set" if name == "dice_pooled" else "image",
                _MAP_NEEDS,
                paper,
                "segmentation",
            )
            for name, title, direction, unit, paper in _MAP_METRICS
        ),
    )
}


def metric_info(name: str) -> MetricInfo:
    """Return the card of a metric; those of sets, such as `fd_<encoder>`, exist for every encoder.

    Raises:
        UsageError: unknown name; says the nearest one.
    """
    if name in METRICS:
        return METRICS[name]
    family = next((family for family in _FAMILIES if name.startswith(f"{family}_")), None)
    if family is not None:
        encoder = name.removeprefix(f"{family}_")
        if encoder and set_metric_name(family, encoder) == name:
            info = _FAMILIES[family]
            return dataclasses.replace(info, name=name, title=f"{info.title}, {encoder} features")
    known = ", ".join([*METRICS, *(f"{family}_<encoder>" for family in _FAMILIES)])
    raise UsageError(f"unknown metric {name!r}; {suggest(name, METRICS, f'known: {known}')}")


def badness(metric: str, value: float) -> float:
    """Return a number that is lower the better a metric's value is: the value, its negative or its distance from 0."""
    direction = metric_info(metric).direction
    return abs(value) if direction == "zero" else -value if direction == "up" else value


def set_metric_name(family: SetFamily, encoder: str) -> str:
    """Return the public name of a set metric: `fid`, `fid_infinity` and `kid` are kept for Inception features.

    They have one name at both resizes of Inception, which only their signatures tell apart.
    """
    inception = encoder in ("inception", "inception-clean")
    return _INCEPTION_NAMES.get(family, f"{family}_{encoder}") if inception else f"{family}_{encoder}"


def sign(metric: str, encoder_signature: str, n: str, **references: str) -> str:
    """Return the signature of a number: two numbers compare only when everything after `n` and it are equal.

    Args:
        encoder_signature: such as `enc:lite0|w:57934424|resize:clean-bicubic128`.
        n: sample sizes, such as `200x800`. references: what was compared with, such as `ref="train@0123456789ab"`.
    """
    parts = [metric, encoder_signature, f"n:{n}", *(f"{key}:{value}" for key, value in references.items())]
    return "|".join([*parts, f"v:{metric_info(metric).version}"])
