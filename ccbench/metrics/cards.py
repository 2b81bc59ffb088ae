"""The cards of the metrics: names, directions, units, sources, and the signatures of their numbers."""

import dataclasses
from dataclasses import dataclass
from typing import Literal, cast

from ccbench.base.text import suggest
from ccbench.errors import UsageError

Direction = Literal["up", "down", "zero"]
Group = Literal["main", "realism", "mask", "prompt", "segmentation"]
SetFamily = Literal["fd", "fd_infinity", "kid", "cmmd", "precision", "recall", "density", "coverage", "diversity"]


@dataclass(frozen=True)
class MetricInfo:
    """The card of a metric.

    Attributes:
        version: raised by every change that moves its numbers.
        direction: where better lies; zero = nearest to 0.
        scope: "image" = one value an image and their mean; "set" = of whole sets only.
        needs: what it is computed from.
        paper: where it is defined.
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


_REFERENCE = ("images", "reference")
_SEGMENTED = ("images", "masks", "reference segmenter")
_TRAINING = ("images", "training images", "real test images")
_PARTNERS = ("images", "masks", "real partners")
_PROMPTS = ("images", "masks", "prompts")
_MAPS = ("predicted maps", "masks")

_HEUSEL = "Heusel et al., GANs Trained by a Two Time-Scale Update Rule, NeurIPS 2017"
_CHONG = "Chong and Forsyth, Effectively Unbiased FID and Inception Score and Where to Find Them, CVPR 2020"
_BINKOWSKI = "Binkowski et al., Demystifying MMD GANs, ICLR 2018"
_JAYASUMANA = "Jayasumana et al., Rethinking FID: Towards a Better Evaluation Metric for Image Generation, CVPR 2024"
_KYNK = "Kynkaanniemi et al., Improved Precision and Recall Metric for Assessing Generative Models, NeurIPS 2019"
_NAEEM = "Naeem et al., Reliable Fidelity and Diversity Metrics for Generative Models, ICML 2020"
_ZHU = "after Zhu et al., Toward Multimodal Image-to-Image Translation, NeurIPS 2017, on pooled features"
_SEGMENTER = "ccbench: a segmenter trained on real images only, asked where it sees the polyp"
_COPIES = "ccbench: 0.05 for fresh real images, more where training images were memorised"
_SEAM = "ccbench: change at the mask's edge over that beside it, less the same of the real image"
_STATED = "ccbench: attributes measured on the image against those its prompt states, beyond all others' prompts"
_MATLAB = "PraNet's evaluation code (Fan et al., MICCAI 2020)"
_HALF = "mean over images, polyp only"

_FRECHET = MetricInfo("fd", "Frechet distance", 1, "down", "squared feature units", "set", _REFERENCE, _HEUSEL)
_KERNEL = MetricInfo("kid", "Kernel distance (unbiased)", 1, "down", "squared MMD", "set", _REFERENCE, _BINKOWSKI)
_INFINITE = "Frechet distance extrapolated to infinitely many images"
_FRECHET_INFINITY = dataclasses.replace(_FRECHET, name="fd_infinity", title=_INFINITE, paper=_CHONG, group="realism")


def _share(name: str, title: str, unit: str, paper: str, counts: Literal["images", "reference"]) -> MetricInfo:
    return MetricInfo(name, title, 1, "up", unit, "set", _REFERENCE, paper, "realism", counts=counts)


_OF_ANY_ENCODER = (
    _FRECHET_INFINITY,  # before `fd`, whose prefix it has
    _FRECHET,
    _KERNEL,
    MetricInfo("cmmd", "CMMD (unbiased)", 1, "down", "1000 squared MMD", "set", _REFERENCE, _JAYASUMANA, "realism"),
    _share("precision", "Precision: share of images within reach of a real one", "share", _KYNK, "images"),
    _share("recall", "Recall: share of real images within reach of a synthetic one", "share", _KYNK, "reference"),
    _share("density", "Density: real images within whose reach an image lies, over k", "images / k", _NAEEM, "images"),
    _share(
        "coverage",
        "Coverage: share of real images with a synthetic one within their reach",
        "share",
        _NAEEM,
        "reference",
    ),
    MetricInfo(
        "diversity",
        "Mean distance between images of one condition",
        1,
        "up",
        "cosine distance",
        "image",
        ("images", "copies"),
        _ZHU,
        "realism",
    ),
)
_FAMILIES: dict[SetFamily, MetricInfo] = {cast(SetFamily, info.name): info for info in _OF_ANY_ENCODER}
_INCEPTION_NAMES: dict[SetFamily, str] = {"fd": "fid", "fd_infinity": "fid_infinity", "kid": "kid"}


def _mask(
    name: str,
    title: str,
    direction: Direction = "down",
    unit: str = "share",
    group: Group = "mask",
    counts: Literal["images"] | None = None,
) -> MetricInfo:
    return MetricInfo(name, title, 2, direction, unit, "image", _SEGMENTED, _SEGMENTER, group, counts=counts)


def _copies(name: str, title: str) -> MetricInfo:
    return MetricInfo(name, title, 1, "down", "share", "set", _TRAINING, _COPIES, "realism", False, "images")


def _seam(name: str, title: str) -> MetricInfo:
    return MetricInfo(name, title, 1, "zero", "doublings", "image", _PARTNERS, _SEAM, "mask")


def _text(name: str, title: str, group: Group = "prompt") -> MetricInfo:
    return MetricInfo(name, title, 1, "up", "kappa", "image", _PROMPTS, _STATED, group)


def _map(
    name: str,
    title: str,
    paper: str,
    direction: Direction = "up",
    unit: str = "share",
    scope: Literal["image", "set"] = "image",
) -> MetricInfo:
    return MetricInfo(name, title, 1, direction, unit, scope, _MAPS, paper, "segmentation")


_ALL = (
    dataclasses.replace(_FRECHET, name="fid", title="Frechet Inception distance"),
    dataclasses.replace(_KERNEL, title="Kernel Inception distance (unbiased)"),
    dataclasses.replace(_FRECHET_INFINITY, name="fid_infinity"),
    dataclasses.replace(_FRECHET, name="fd_lite0", title="Frechet distance, EfficientNet-Lite0 features"),
    dataclasses.replace(_KERNEL, name="kid_lite0", title="Kernel distance (unbiased), EfficientNet-Lite0 features"),
    MetricInfo(
        "clip_score",
        "CLIP-score: image against its prompt",
        1,
        "up",
        "100 cos",
        "image",
        ("images", "prompts"),
        "Hessel et al., CLIPScore, EMNLP 2021 (100 cos, as the colonoscopy papers print it)",
    ),
    MetricInfo(
        "clip_score_polyp",
        "CLIP-score of the square around the polyps against what the prompt says of them",
        1,
        "up",
        "100 cos",
        "image",
        _PROMPTS,
        "as clip_score, on a crop",
        "prompt",
    ),
    MetricInfo(
        "clip_image",
        "CLIP-image: image against its real partner",
        1,
        "up",
        "100 cos",
        "image",
        ("images", "real partners"),
        "CCIS-DIFF, Table 1",
    ),
    _mask("mask_dice", "Dice between the mask and where a reference segmenter sees the polyp", "up", group="main"),
    _mask("mask_iou", "Intersection over union of the same two masks", "up"),
    _mask("mask_hd95", "95th percentile of the distance between their outlines", unit="pixels"),
    _mask("mask_area_error", "Difference of their areas over the sum"),
    _mask("polyp_missing", "Share of an image's polyps that the reference segmenter does not see", counts="images"),
    _mask(
        "polyp_hallucinated",
        "Polyps an image that the reference segmenter sees outside the mask",
        unit="polyps",
        counts="images",
    ),
    _copies("memorised_near", "Share of images nearer to a training image than 95 % of the real test images are"),
    _copies(
        "memorised_alone", "Share of images with one training image nearer than all others, as few real images have"
    ),
    _seam("seam_gradient", "Excess of the colour gradient at the mask's edge over the real image's"),
    _seam("seam_colour", "Excess of the step in mean colour at the mask's edge over the real image's"),
    _text("text_fidelity", "Agreement with the prompt in what only the prompt tells, beyond chance", "main"),
    _text("text_fidelity_polyp", "The same of the polyp alone: its colour, surface and demarcation"),
    _text("text_fidelity_mucosa", "The same of the mucosa alone: its light, highlights, lumen and tint"),
    _map("mDice_256", "Dice of the stretched map, mean over 256 thresholds", _MATLAB),
    _map("mIoU_256", "Intersection over union of the same", _MATLAB),
    _map("mDice_0.5", "Dice of the map at 0.5", _HALF),
    _map("mIoU_0.5", "Intersection over union of the map at 0.5", _HALF),
    _map(
        "dice_pooled", "Dice of all images' pixels together at 0.5", "sums over the set before the ratio", scope="set"
    ),
    _map("hd95", "95th percentile of the distance between the outlines at 0.5", "as MedPy's hd95", "down", "pixels"),
    _map("s_measure", "S-measure of the stretched map", "Fan et al., ICCV 2017"),
    _map("e_measure_256", "E-measure, mean over 256 thresholds", "Fan et al., IJCAI 2018"),
    _map("weighted_f", "Weighted F-measure of the stretched map", "Margolin et al., CVPR 2014"),
    _map("mae", "Mean absolute error of the stretched map", "Perazzi et al., CVPR 2012", "down"),
)
METRICS: dict[str, MetricInfo] = {info.name: info for info in _ALL}


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
        n: sample sizes, such as `200x800`.
        references: what was compared with, such as `ref="train@0123456789ab"`.
    """
    parts = [metric, encoder_signature, f"n:{n}", *(f"{key}:{value}" for key, value in references.items())]
    return "|".join([*parts, f"v:{metric_info(metric).version}"])
