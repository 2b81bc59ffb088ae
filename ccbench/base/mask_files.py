"""Masks in files: which pixels are polyp, and the files in which that cannot be told and is never guessed.

A mask is bright where the polyp is: the maximum over its colour channels is above 127, since Kvasir-SEG's masks are
JPEGs with 0..8 and 247..255 and some releases colour their polyps. What looks like another convention, such as class
indices, a shape in the alpha channel or a dark polyp, is refused with its reason; a `MaskRule` reads it where a user
says so.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ccbench.base.image_decoding import ImageFile
from ccbench.base.images import LOSSY_FORMATS, open_image
from ccbench.errors import DataError, UsageError
from ccbench.types import Image, Mask

MASK_THRESHOLD = 127
MOST_POLYP = 0.9
"""Share of the frame; the largest of 3,000 masks of Kvasir-SEG, CVC-ClinicDB and PolypGen is 0.81."""

_MOST_BORDER = 0.6  # share of the frame's border that is polyp; the largest of the same masks is 0.48
_MOST_GREY = 0.25  # share of pixels that are neither dark nor bright; the largest of the same masks is 0.04
_NOISE = 16  # JPEG leaves at most so much beside black, and beside white
_LEAST_CLASS = 0.005  # share of the frame that a class index covers, and noise beside black does not
_FEW_LEVELS, _FEW_COLOURS = 4, 16
_COLOURED = 64  # spread of the channels that JPEG noise on a grey mask does not reach
_HOW = "--polyp-is bright|dark|alpha|values:N,...|colours:RRGGBB,..."


@dataclass(frozen=True)
class MaskRule:
    """Which pixels are polyp, as a user said it.

    Attributes:
        kind: above 127; up to 127; opaque; grey values or palette indices; colours.
        values: of the last two; a colour is 0xRRGGBB.
    """

    kind: Literal["bright", "dark", "alpha", "values", "colours"]
    values: tuple[int, ...] = ()

    def __str__(self) -> str:
        named = ",".join(f"{value:06X}" if self.kind == "colours" else str(value) for value in self.values)
        return f"{self.kind}:{named}" if named else self.kind


_PLAIN = {"bright": MaskRule("bright"), "dark": MaskRule("dark"), "alpha": MaskRule("alpha")}


class MaskFault(NamedTuple):
    """Why a mask file cannot be read.

    Attributes:
        kind: of `ccbench.data.prepare.findings.KINDS`.
        text: what was found, what to do.
    """

    kind: str
    text: str


@dataclass(frozen=True)
class MaskFile:
    """A decoded mask file.

    Attributes:
        region: (H, W) bool, True = polyp.
        levels: (256,) pixels of each value, maximum over the channels.
        coloured: the channels differ, as in colour-coded masks.
        fault: why the region is not to be trusted; None where it is.
    """

    region: Mask
    levels: NDArray[np.int64]
    coloured: bool
    fault: MaskFault | None

    @property
    def grey(self) -> bool:
        """Whether there are pixels that are neither dark nor bright, about which the threshold decides."""
        return bool(self.levels[_NOISE + 1 : 255 - _NOISE].any())


def parse_mask_rule(text: str | None) -> MaskRule | None:
    """Return the rule of `--polyp-is`.

    Raises:
        UsageError: not such a rule.
    """
    if text is None:
        return None
    if text in _PLAIN:
        return _PLAIN[text]
    if re.fullmatch(r"values:\d{1,3}(,\d{1,3})*", text):
        values = tuple(int(value) for value in text[len("values:") :].split(","))
        if max(values) <= 255:
            return MaskRule("values", values)
    if re.fullmatch(r"colours:[0-9a-fA-F]{6}(,[0-9a-fA-F]{6})*", text):
        return MaskRule("colours", tuple(int(value, 16) for value in text[len("colours:") :].split(",")))
    raise UsageError(f"--polyp-is: found {text!r}, wanted bright, dark, alpha, values:1,2 or colours:FF0000,00FF00")


def read_mask(path: Path, rule: MaskRule | None = None) -> Mask:
    """Return the mask file as (H, W) bool.

    Args:
        path: the file.
        rule: which pixels are polyp; None = those above 127, in a file that looks like a mask.

    Raises:
        DataError: as `ccbench.base.images.read_image`, or it is not told which pixels are polyp.
    """
    mask = decode_mask(open_image(path), rule)
    if mask.fault is not None:
        raise DataError(f"{path}: {mask.fault.text}")
    return mask.region


def decode_mask(file: ImageFile, rule: MaskRule | None = None) -> MaskFile:
    """Return the polyp of a decoded file, and why it may not be one; see `read_mask`."""
    red, green, blue = (file.pixels[..., channel] for channel in range(3))
    highest: NDArray[np.uint8] = np.maximum(np.maximum(red, green), blue)
    lowest = np.minimum(np.minimum(red, green), blue)
    levels = np.bincount(highest.ravel(), minlength=256)
    coloured = bool((highest - lowest).max(initial=0) > _COLOURED)
    if rule is None:
        region = highest > MASK_THRESHOLD
        return MaskFile(region, levels, coloured, _find_fault(file, region, levels, coloured))
    return MaskFile(_apply(rule, file, highest), levels, coloured, None)


def looks_like_mask(pixels: Image) -> bool:
    """Return whether an image has two grey values, or few, as masks have and frames of a camera do not."""
    if (pixels.max(axis=2) - pixels.min(axis=2)).max() > _NOISE:
        return False
    levels = np.bincount(pixels[..., 0].ravel(), minlength=256) / pixels[..., 0].size
    ends = levels[: _NOISE + 1].sum() + levels[255 - _NOISE :].sum()
    few = np.count_nonzero(levels) <= _FEW_LEVELS
    return bool(few or (ends > 0.99 and levels[255 - _NOISE :].sum() > 0.001))


def _apply(rule: MaskRule, file: ImageFile, highest: NDArray[np.uint8]) -> Mask:
    if rule.kind == "bright":
        return highest > MASK_THRESHOLD
    if rule.kind == "dark":
        return highest <= MASK_THRESHOLD
    if rule.kind == "alpha":
        return np.zeros(highest.shape, bool) if file.alpha is None else file.alpha > MASK_THRESHOLD
    if rule.kind == "values":
        return np.isin(highest if file.indices is None else file.indices, rule.values)
    return np.isin(file.pixels.astype(np.int64) @ (65536, 256, 1), rule.values)


def _find_fault(file: ImageFile, region: Mask, levels: NDArray[np.int64], coloured: bool) -> MaskFault | None:
    """Return the first reason why bright pixels are not the polyp; an empty mask is a mask."""
    shares = levels / max(region.size, 1)
    highest = int(np.flatnonzero(levels).max(initial=0))
    if file.alpha is not None:
        opaque = file.alpha > MASK_THRESHOLD
        if 0 < opaque.mean() < 1 and (not region.any() or bool((region & ~opaque).any())):
            return MaskFault(
                "alpha_mask",
                "its colours are flat and its shape is in the alpha channel; save the shape as white on black, or read "
                "it as it is with --polyp-is alpha",
            )
    if highest > (_NOISE if file.format in LOSSY_FORMATS else 0) and highest <= MASK_THRESHOLD:
        return MaskFault(
            "faint_mask",
            f"no pixel is above {MASK_THRESHOLD}, the highest value is {highest}: class indices or a dark palette; "
            f"save the polyp as 255, or name its values with --polyp-is values:{_example(file, levels)}",
        )
    classes = np.flatnonzero(levels[1:255]) + 1
    counted = 0 < len(classes) <= _FEW_LEVELS and classes.tolist() == list(range(1, len(classes) + 1))
    if file.format not in LOSSY_FORMATS and not coloured and counted and shares[classes].min() >= _LEAST_CLASS:
        return MaskFault(
            "faint_mask",
            f"its values are {', '.join(map(str, np.flatnonzero(levels)))}: class indices and one to be ignored; save "
            f"the polyp as 255, or name its values with --polyp-is values:{_example(file, levels)}",
        )
    grey = float(shares[_NOISE + 1 : 255 - _NOISE].sum())
    if grey > _MOST_GREY and not _is_flat(file.pixels):
        return MaskFault(
            "photo_mask",
            f"{grey:.0%} of its pixels are grey or coloured: a photograph or a soft map, not a mask; are images "
            f"and masks exchanged? Save masks of 0 and 255, or say what is polyp with {_HOW}",
        )
    return _find_implausible(file, region)


def _find_implausible(file: ImageFile, region: Mask) -> MaskFault | None:
    share = float(region.mean())
    if share > MOST_POLYP:
        colours = [f"{colour:06X}" for colour in _colours(file.pixels)]
        if 1 < len(colours) <= _FEW_COLOURS:
            what = f"its background is not black: the colours {', '.join(colours[:3])} cover {share:.0%} of the frame"
            option = f"--polyp-is colours:{colours[-1]}"
        else:
            what, option = f"polyp covers {share:.0%} of the frame, more than in any data set", "--polyp-is bright"
        advice = f"save the polyp as white on black, or read it as it is with {option}"
        return MaskFault("full_mask", f"{what}; {advice}")
    width = max(1, min(region.shape) // 50)
    inner = region[width:-width, width:-width]
    border = (int(region.sum()) - int(inner.sum())) / max(region.size - inner.size, 1)
    if border > _MOST_BORDER:
        return MaskFault(
            "inverted_mask",
            f"{border:.0%} of its border is bright: the polyp seems to be the dark part; invert the mask, or read "
            "it as it is with --polyp-is dark (or bright)",
        )
    return None


def _example(file: ImageFile, levels: NDArray[np.int64]) -> int:
    """Return the most frequent value, or index of a palette, but for the background's."""
    counts = levels if file.indices is None else np.bincount(file.indices.ravel(), minlength=256)
    return int(np.argsort(-counts, kind="stable")[1])


def _colours(pixels: Image) -> list[int]:
    """Return the colours that cover a thousandth of the frame or more, as 0xRRGGBB, the most frequent first."""
    codes, counts = np.unique(pixels.astype(np.int64) @ (65536, 256, 1), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [int(codes[index]) for index in order if counts[index] * 1000 >= pixels[..., 0].size]


def _is_flat(pixels: Image) -> bool:
    """Return whether few colours make up most of what is neither dark nor bright, as in label colours."""
    highest = pixels.max(axis=2)
    between = pixels[(highest > _NOISE) & (highest < 255 - _NOISE)].astype(np.int64) @ (65536, 256, 1)
    counts = np.sort(np.unique(between, return_counts=True)[1])
    return bool(2 * counts[-_FEW_COLOURS:].sum() > len(between))
