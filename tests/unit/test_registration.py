"""Overlap of frames: closed forms on noise, whose correlation with itself moved is 1 and with other noise is 0."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

from ccbench.metrics.images.registration import overlap, spectra, spectrum

SIZE = 128


def frame(seed: int, size: int = SIZE) -> NDArray[np.uint8]:
    """Smooth light, and structure a few pixels wide."""
    rng = np.random.default_rng(seed)
    light, detail = (
        gaussian_filter(rng.normal(size=(size, size)), 30),
        gaussian_filter(rng.normal(size=(size, size)), 1),
    )
    return np.clip(128 + 60 * light / light.std() + 20 * detail / detail.std(), 0, 255).astype(np.uint8)


def lay(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return overlap(spectra(one), spectrum(other))


def test_a_frame_lies_on_itself() -> None:
    assert lay(frame(0), frame(0)) == pytest.approx(1, abs=1e-5)


def test_different_frames_do_not_overlap() -> None:
    """The highest of 128 x 128 x 6 correlations of noise of that width is about 0.1."""
    assert max(lay(frame(0), frame(seed)) for seed in range(1, 6)) < 0.2


def test_a_shift_costs_what_it_moves_out_of_the_frame() -> None:
    wide = frame(1, SIZE + 16)
    assert lay(wide[:SIZE, :SIZE], wide[16:, 10 : SIZE + 10]) > 0.6


def test_light_and_exposure_do_not_count() -> None:
    image = frame(2).astype(float)
    ramp = np.linspace(0.5, 1, SIZE)[None, :]
    assert lay(frame(2), (image * ramp).astype(np.uint8)) > 0.9


@pytest.mark.parametrize("scale", [0.91, 1.09])
def test_a_tenth_larger_or_smaller_is_still_one_frame(scale: float) -> None:
    wide = frame(3, 160).astype(np.float32)
    scaled = zoom(wide, scale, order=1)
    one, other = ((image.shape[0] - SIZE) // 2 for image in (wide, scaled))
    cut = [image[at : at + SIZE, at : at + SIZE].astype(np.uint8) for image, at in ((wide, one), (scaled, other))]
    assert lay(cut[0], cut[1]) > 0.5 > overlap(spectra(cut[0], scales=(1.0,)), spectrum(cut[1]))


def test_a_mirror_image_is_one_frame() -> None:
    assert lay(frame(4), np.ascontiguousarray(frame(4)[:, ::-1])) == pytest.approx(1, abs=1e-5)


def test_a_flat_frame_overlaps_with_nothing() -> None:
    flat = np.full((SIZE, SIZE), 90, np.uint8)
    assert lay(flat, flat) == lay(flat, frame(0)) == 0
