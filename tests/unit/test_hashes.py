"""The view of a frame and its hash: what a release does to a frame must not move them, another frame must."""

import io
from collections.abc import Callable

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from ccbench.data.phantom.render import render_phantom
from ccbench.features.perceptual_hash import HASH_BITS, HASH_SIZE, VIEW_SIZE, grey_view, hash_view, trim_border, view_of
from ccbench.types import Image


def bordered(image: Image, *, top: int, bottom: int, left: int, right: int) -> Image:
    return np.pad(image, ((top, bottom), (left, right), (0, 0)))


def bright(height: int, width: int) -> Image:
    return np.full((height, width, 3), 120, np.uint8)


def test_the_black_border_goes_and_nothing_else() -> None:
    inner = np.random.default_rng(0).integers(60, 255, (90, 110, 3), dtype=np.uint8)
    assert np.array_equal(trim_border(bordered(inner, top=10, bottom=0, left=3, right=25)), inner)
    assert np.array_equal(trim_border(inner), inner)


def test_burnt_in_text_in_the_border_goes_with_it() -> None:
    frame = bordered(bright(100, 100), top=0, bottom=0, left=30, right=0)
    frame[10:20, 5:25] = 255  # a tenth of the height
    assert trim_border(frame).shape == (100, 100, 3)


def test_a_large_frame_is_trimmed_to_a_step_of_its_view() -> None:
    step = 512 // VIEW_SIZE
    trimmed = trim_border(bordered(bright(400, 512), top=60, bottom=52, left=0, right=0))
    assert abs(trimmed.shape[0] - 400) <= 2 * step and trimmed.shape[1] == 512


def test_a_dark_frame_is_kept_whole() -> None:
    dark = np.full((64, 64, 3), 12, np.uint8)
    dark[20:30, 20:30] = 200
    assert trim_border(dark).shape == dark.shape


def test_the_bits_are_the_signs_of_the_steps_across_and_down() -> None:
    """A ramp from left to right: each step across is up, in the mirror image down; no step down is up."""
    ramp = np.repeat(np.linspace(50, 250, VIEW_SIZE).astype(np.uint8)[None, :, None], VIEW_SIZE, 0).repeat(3, 2)
    across, down = hash_view(grey_view(ramp)).reshape(2, 2, HASH_SIZE**2).mean(axis=2).T.tolist()
    assert across == [1.0, 0.0] and down == [0.0, 0.0]
    across, down = (
        hash_view(grey_view(ramp.transpose(1, 0, 2).copy())).reshape(2, 2, HASH_SIZE**2).mean(axis=2).T.tolist()
    )
    assert across == [0.0, 0.0] and down == [1.0, 1.0]


def bits(image: Image) -> NDArray[np.bool_]:
    return hash_view(grey_view(view_of(image)))[0]


def jpeg(image: Image) -> Image:
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, "JPEG", quality=70)
    return np.array(PIL.Image.open(buffer))


def half(image: Image) -> Image:
    return np.array(PIL.Image.fromarray(image).resize((64, 64)))


def brighter(image: Image) -> Image:
    return np.clip(image * 1.15, 0, 255).astype(np.uint8)


def framed(image: Image) -> Image:
    return bordered(image, top=8, bottom=8, left=20, right=4)


@pytest.mark.parametrize("change", [jpeg, half, brighter, framed])
def test_what_a_release_changes_moves_few_bits(change: Callable[[Image], Image]) -> None:
    """A tenth of the bits; two phantoms differ in a quarter and more."""
    images = [render_phantom(seed).image for seed in (1, 2, 3)]
    for image in images:
        moved = (bits(image) ^ bits(change(image))).sum()
        assert moved <= HASH_BITS // 10
    one, two, three = (bits(image) for image in images)
    assert min((one ^ two).sum(), (one ^ three).sum(), (two ^ three).sum()) >= HASH_BITS // 4


def test_a_mirror_image_is_the_second_hash() -> None:
    image = render_phantom(1).image
    mirrored = np.ascontiguousarray(image[:, ::-1])
    assert np.array_equal(hash_view(grey_view(image))[1], hash_view(grey_view(mirrored))[0])
