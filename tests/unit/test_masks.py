"""Which pixels of a mask file are polyp; files in which that cannot be told are refused, and read where it is said."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from ccbench.base.images import open_image
from ccbench.base.mask_files import decode_mask, looks_like_mask, parse_mask_rule, read_mask
from ccbench.errors import DataError, UsageError
from fake_polyps import draw_pair

POLYP: NDArray[np.bool_] = draw_pair(3)[1] > 0


def levels(polyp: int, background: int = 0) -> NDArray[np.uint8]:
    return np.where(POLYP, polyp, background).astype(np.uint8)


def colours(polyp: tuple[int, int, int], background: tuple[int, int, int]) -> NDArray[np.uint8]:
    return np.where(POLYP[..., None], polyp, background).astype(np.uint8)


def with_alpha(grey: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> PIL.Image.Image:
    return PIL.Image.fromarray(np.dstack([grey, grey, grey, alpha]))


def palette(*entries: int) -> PIL.Image.Image:
    picture = PIL.Image.fromarray(levels(1)).convert("P")
    picture.putdata(levels(1).ravel().tolist())
    picture.putpalette(list(entries))
    return picture


def index_and_ignored() -> NDArray[np.uint8]:
    mask = levels(1)
    mask[:, -3:] = 255
    return mask


Picture = NDArray[np.uint8] | PIL.Image.Image
REFUSED: dict[str, tuple[Callable[[], Picture], str, str, str]] = {
    "class index": (lambda: levels(1), "faint_mask", "highest value is 1: class indices", "values:1"),
    "class 3 of a grey mask": (lambda: levels(3, 2), "faint_mask", "highest value is 3", "values:3"),
    "near-black palette": (lambda: palette(0, 0, 0, 40, 0, 0), "faint_mask", "dark palette", "values:1"),
    "index and ignored": (index_and_ignored, "faint_mask", "values are 0, 1, 255", "values:1"),
    "white with a shape in alpha": (lambda: with_alpha(levels(255, 255), levels(255)), "alpha_mask", "alpha", "alpha"),
    "black with a shape in alpha": (lambda: with_alpha(levels(0), levels(255)), "alpha_mask", "alpha", "alpha"),
    "inverted": (lambda: levels(0, 255), "inverted_mask", "of its border is bright", "dark"),
    "coloured background": (
        lambda: colours((0, 200, 0), (0, 0, 220)),
        "full_mask",
        "its background is not black: the colours 0000DC, 00C800",
        "colours:00C800",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_mask_is_refused_and_read_where_a_user_says_what_is_polyp(tmp_path: Path, name: str) -> None:
    make, kind, words, rule = REFUSED[name]
    picture = make()
    path = tmp_path / "m.png"
    (picture if isinstance(picture, PIL.Image.Image) else PIL.Image.fromarray(picture)).save(path)
    fault = decode_mask(open_image(path)).fault
    assert fault is not None and fault.kind == kind
    with pytest.raises(DataError, match=r"m\.png: .*--polyp-is") as caught:
        read_mask(path)
    assert words in str(caught.value) and rule in str(caught.value) and "\n" not in str(caught.value)
    assert np.array_equal(read_mask(path, parse_mask_rule(rule)), POLYP)


def test_a_mask_over_the_whole_frame_and_a_photograph_are_refused(tmp_path: Path) -> None:
    PIL.Image.fromarray(np.full((40, 52), 255, np.uint8)).save(tmp_path / "white.png")
    with pytest.raises(DataError, match="covers 100% of the frame, more than in any data set"):
        read_mask(tmp_path / "white.png")
    assert read_mask(tmp_path / "white.png", parse_mask_rule("bright")).all()
    PIL.Image.fromarray(draw_pair(3)[0]).save(tmp_path / "frame.png")
    with pytest.raises(DataError, match="a photograph or a soft map, not a mask; are images and masks exchanged"):
        read_mask(tmp_path / "frame.png")


@pytest.mark.parametrize(
    "make",
    [
        lambda: PIL.Image.fromarray(levels(255)),
        lambda: PIL.Image.fromarray(levels(128)),
        lambda: PIL.Image.fromarray(POLYP),
        lambda: with_alpha(levels(255), np.full(POLYP.shape, 255, np.uint8)),
        lambda: with_alpha(levels(255), levels(255)),
        lambda: palette(0, 0, 0, 128, 0, 0),
        lambda: PIL.Image.fromarray(colours((0, 200, 0), (0, 0, 0))),
    ],
)
def test_usual_masks_are_read_as_they_are(tmp_path: Path, make: Callable[[], PIL.Image.Image]) -> None:
    """White, grey, two-valued, opaque, transparent where it is black, a palette of label colours, a coloured polyp."""
    make().save(tmp_path / "m.png")
    assert np.array_equal(read_mask(tmp_path / "m.png"), POLYP)


def test_noise_of_jpeg_is_no_class(tmp_path: Path) -> None:
    PIL.Image.fromarray(levels(255)).save(tmp_path / "m.jpg", quality=70)
    assert len(np.unique(np.asarray(PIL.Image.open(tmp_path / "m.jpg")))) > 4
    assert (read_mask(tmp_path / "m.jpg") ^ POLYP).mean() < 0.01
    PIL.Image.fromarray(levels(9)).save(tmp_path / "empty.jpg", quality=95)
    assert not read_mask(tmp_path / "empty.jpg").any()
    noisy = np.where(POLYP, 255, np.random.default_rng(0).choice([0, 7, 8, 9, 10], POLYP.shape)).astype(np.uint8)
    PIL.Image.fromarray(noisy).save(tmp_path / "noisy.png")  # as a mask of CVC-ClinicDB has around its polyp
    assert np.array_equal(read_mask(tmp_path / "noisy.png"), POLYP)
    PIL.Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "none.png")
    assert not read_mask(tmp_path / "none.png").any()


def test_two_valued_images_are_told_from_frames() -> None:
    mask = np.repeat(levels(255)[..., None], 3, axis=2)
    assert looks_like_mask(mask) and looks_like_mask(mask // 255)
    assert not looks_like_mask(draw_pair(3)[0])
    dark = np.repeat(np.random.default_rng(0).integers(0, 60, (40, 52, 1), dtype=np.uint8), 3, axis=2)
    assert not looks_like_mask(dark)  # an underexposed grey frame


def test_rules_are_read_and_written_alike() -> None:
    assert parse_mask_rule(None) is None
    for text in ("bright", "dark", "alpha", "values:1,2", "colours:FF0000,00FF00"):
        assert str(parse_mask_rule(text)) == text
    for text in ("", "white", "values:", "values:300", "values:1;2", "colours:red", "colours:FFF"):
        with pytest.raises(UsageError, match="--polyp-is: found"):
            parse_mask_rule(text)
