"""The seam: ramps with known answers, then known damage on phantoms, whose order is known."""

from functools import cache

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ccbench.base.images import resize_image, resize_mask
from ccbench.data.phantom.render import render_phantom
from ccbench.metrics.images.seam import SeamScores, seam
from ccbench.types import Image, Mask

ROWS, COLUMNS = np.mgrid[:128, :128] + 0.5
DISC = np.hypot(ROWS - 64, COLUMNS - 64) < 30


def to_image(values: np.ndarray) -> Image:
    return values.round().clip(0, 255).astype(np.uint8)


def scores(image: Image, mask: Mask) -> SeamScores:
    found = seam(image, mask)
    assert found is not None
    return found


@cache
def damaged() -> dict[str, tuple[float, float]]:
    """Mean excess of 12 phantoms: another phantom in the mask, hard or blended; the phantom itself, blurred."""
    pairs = [(render_phantom(seed), render_phantom(100 + seed)) for seed in range(12)]
    values: dict[str, list[SeamScores]] = {}
    for own, other in pairs:
        image, mask = own.image.astype(float), own.mask
        layer = np.clip(image[:, ::-1] * 0.4 + other.image * 0.6, 0, 255)  # a texture of another place, everywhere
        soft = {width: gaussian_filter(mask.astype(float), width)[..., None] for width in (1, 3)}
        made = {
            "hard": np.where(mask[..., None], layer, image),
            **{f"soft {width}": share * layer + (1 - share) * image for width, share in soft.items()},
            "shifted": image + mask[..., None] * [14.0, -8, 10],
            "blurred": gaussian_filter(image, (1, 1, 0)),
        }
        for name, picture in made.items():
            found, real = seam(to_image(picture), mask), seam(own.image, mask)
            if found is not None and real is not None:
                excess = SeamScores(found.gradient - real.gradient, found.colour - real.colour)
                values.setdefault(name, []).append(excess)
    return {name: tuple(np.mean(found, axis=0)) for name, found in values.items()}


def test_a_ramp_has_no_seam_and_a_step_on_it_has_one() -> None:
    """The derivative of a grey ramp is the same everywhere, but for CIELAB's curve and rounding to 8 bits."""
    ramp = np.repeat((60 + COLUMNS)[..., None], 3, axis=2)
    half = COLUMNS > 64
    assert scores(to_image(ramp), half) == pytest.approx((0, 0), abs=0.1)
    stepped = scores(to_image(ramp + 20 * half[..., None]), half)
    # 20 levels over a Gaussian of 1 px add 20 / sqrt(2 pi) e^(-d^2 / 2) a pixel to the ramp's 1, at d = 0.5 on the edge
    # and 2.5, 3.5 beside it; rings of 2 px differ by 2 levels, and by 22 across. A grey level is 0.39 units of L* here,
    # and 0.3 units are added to all.
    edge, *beside = (np.log2(0.39 * (1 + 20 / np.sqrt(2 * np.pi) * np.exp(-(d**2) / 2)) + 0.3) for d in (0.5, 2.5, 3.5))
    assert stepped.gradient == pytest.approx(edge - np.mean(beside), abs=0.15)
    assert stepped.colour == pytest.approx(np.log2((0.39 * 22 + 0.3) / (0.39 * 2 + 0.3)), abs=0.15)


def test_known_damage_is_in_its_order() -> None:
    found = damaged()
    for which in (0, 1):
        assert found["hard"][which] > found["soft 1"][which] + 0.2 > found["soft 3"][which] + 0.4
        assert found["shifted"][which] > 0.3


def test_blur_of_the_whole_image_is_no_seam_and_no_win() -> None:
    found = damaged()
    for which in (0, 1):
        assert -0.5 < found["blurred"][which] < 0
        assert abs(found["blurred"][which]) < 0.4 * found["hard"][which]


def test_size_and_contrast_of_the_image_matter_little() -> None:
    """Tolerances from bicubic enlargement, the mask's steps, and the floor under faint gradients."""
    phantom = render_phantom(3)
    own = scores(phantom.image, phantom.mask)
    large = scores(resize_image(phantom.image, 320), resize_mask(phantom.mask, 320))
    assert large == pytest.approx(own, abs=0.25)
    assert scores(to_image(40 + 0.8 * phantom.image), phantom.mask) == pytest.approx(own, abs=0.25)


def test_what_has_no_edge_to_be_seen_has_no_seam() -> None:
    image = render_phantom(0).image
    for mask in (np.zeros((128, 128), np.bool_), np.ones((128, 128), np.bool_)):
        assert seam(image, mask) is None
    assert seam(np.zeros_like(image), DISC) is None
    with pytest.raises(ValueError, match="wanted uint8"):
        seam(image, DISC[:-1])


def test_border_and_highlights_do_not_count() -> None:
    """A black frame beside the polyp would be the strongest edge of the image."""
    rng = np.random.default_rng(0)
    image = to_image(rng.normal(120, 5, (128, 128, 3)))
    cut = image.copy()
    cut[:, 95:] = 0
    assert scores(cut, DISC) == pytest.approx(scores(image, DISC), abs=0.1)
    lit = image.copy()
    lit[62:67, 92:97] = 255
    assert scores(lit, DISC) == pytest.approx(scores(image, DISC), abs=0.1)
