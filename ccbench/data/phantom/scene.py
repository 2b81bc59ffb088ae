"""The geometry of a phantom: image grid, smooth noise, the colon wall with its folds, all as log-depth maps.

Image coordinates (x, y) run from -1 to 1 over the frame, x to the right and y downwards. Depth is measured along the
view axis in units of the colon's radius. Log-depth is used throughout because a pinhole camera's surface normals
depend on its gradient alone.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SIZE = 128  # pixels, both sides

Field = NDArray[np.float32]  # (SIZE, SIZE)

_axis = ((np.arange(SIZE) + 0.5) * (2.0 / SIZE) - 1.0).astype(np.float32)
X: Field = np.ascontiguousarray(np.broadcast_to(_axis[None, :], (SIZE, SIZE)))
Y: Field = np.ascontiguousarray(np.broadcast_to(_axis[:, None], (SIZE, SIZE)))

_DEEPEST_RHO = 0.07  # keeps the depth of the tunnel's end finite


class Wave(NamedTuple):
    """cos(k t) and sin(k t) of an angle t that varies over the pixels."""

    cos: Field
    sin: Field


class Wall(NamedTuple):
    """The colon wall without a polyp.

    `log_depth` and `shadow` (0..1, what the folds throw on the wall behind them) are (SIZE, SIZE); `fold` is the number
    of the fold that each pixel shows, from 1, or 0 where there is none that stands out, (SIZE, SIZE).
    """

    log_depth: Field
    shadow: Field
    fold: NDArray[np.intp]


@cache
def _spline_basis(cells: int) -> NDArray[np.float32]:
    """Uniform cubic B-spline weights of `cells` + 3 knots at each pixel, (SIZE, cells + 3)."""
    position = (np.arange(SIZE) + 0.5) * cells / SIZE
    distance = np.abs(position[:, None] - (np.arange(cells + 3)[None, :] - 1))
    inner = 2 / 3 - distance**2 + distance**3 / 2
    outer = np.clip(2 - distance, 0, None) ** 3 / 6
    weights: NDArray[np.float32] = np.where(distance < 1, inner, outer).astype(np.float32)
    return weights


def smooth_noise(rng: np.random.Generator, cells: int) -> Field:
    """Smooth noise with `cells` knots across the frame, (SIZE, SIZE), mean 0, standard deviation about 1."""
    basis = _spline_basis(cells)
    knots = rng.standard_normal((cells + 3, cells + 3), dtype=np.float32)
    noise = (basis @ knots @ basis.T) * np.float32(2.1)
    return noise.astype(np.float32, copy=False)


def blur_little(image: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Three-tap blur of the last two axes, with the variance of a Gaussian of `sigma` pixels (at most 0.8)."""
    side = np.float32(sigma**2 / 2)
    for axis in (-1, -2):
        lines = np.swapaxes(image, axis, -1)
        out = lines * (1 - 2 * side)
        out[..., 1:] += side * lines[..., :-1]
        out[..., :-1] += side * lines[..., 1:]
        out[..., 0] += side * lines[..., 0]
        out[..., -1] += side * lines[..., -1]
        image = np.swapaxes(out, axis, -1)
    return image


def smoothstep(x: Field) -> Field:
    """Cubic step from 0 at x <= 0 to 1 at x >= 1."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def angular_waves(cos: Field, sin: Field, count: int) -> list[Wave]:
    """cos(k t) and sin(k t) for k = 1..count from the cosine and sine of t: much cheaper than the angle itself."""
    waves = [Wave(cos, sin)]
    for _ in range(count - 1):
        last = waves[-1]
        waves.append(Wave(last.cos * cos - last.sin * sin, last.sin * cos + last.cos * sin))
    return waves


def sum_of_waves(waves: Sequence[Wave], amplitudes: Iterable[float], phases: Iterable[float]) -> Field:
    """Sum of amplitude x cos(k t + phase) over the waves."""
    total = np.zeros_like(waves[0].cos)
    for wave, amplitude, phase in zip(waves, amplitudes, phases, strict=True):
        total += np.float32(amplitude * np.cos(phase)) * wave.cos
        total -= np.float32(amplitude * np.sin(phase)) * wave.sin
    return total


def octagon(rng: np.random.Generator) -> Field:
    """Distance in pixels to the edge of the visible octagon, (SIZE, SIZE), positive inside."""
    half_width, half_height = (1 - rng.uniform(0.0, 0.06, 2)).astype(np.float32)
    cut = rng.uniform(0.40, 0.58)
    straight = np.minimum(half_width - np.abs(X), half_height - np.abs(Y))
    corner = (half_width + half_height - cut - np.abs(X) - np.abs(Y)) * np.float32(0.7071)
    distance: Field = np.minimum(straight, corner) * np.float32(SIZE / 2)
    return distance


def colon_wall(rng: np.random.Generator, lumen: tuple[float, float], folds: int, inside: NDArray[np.bool_]) -> Wall:
    """A curved, uneven tube with haustral folds, seen from inside.

    The depth of a tube of radius 1 is 1 / rho with rho the image distance to the vanishing point. Folds are crescents
    at fixed depths; drawn from the far end to the near end, each hides what lies behind it.

    Args:
        lumen: image coordinates (x, y) of the vanishing point; may lie outside the frame.
        folds: how many folds.
        inside: (SIZE, SIZE), pixels that will be visible; folds are placed at depths found among them.
    """
    warp = rng.uniform(0.03, 0.09)
    dx = X - np.float32(lumen[0]) + np.float32(warp) * smooth_noise(rng, 3)
    dy = Y - np.float32(lumen[1]) + np.float32(warp) * smooth_noise(rng, 3)
    bend_angle, bend = rng.uniform(0, 2 * np.pi), rng.uniform(0.05, 0.2)
    near_end = np.exp(-3 * np.sqrt(dx * dx + dy * dy))
    dx = dx + np.float32(bend * np.cos(bend_angle)) * near_end
    dy = dy + np.float32(bend * np.sin(bend_angle)) * near_end
    distance = np.sqrt(dx * dx + dy * dy) + np.float32(1e-6)
    waves = angular_waves(dx / distance, dy / distance, 3)
    amplitudes, phases = (0.13, 0.10), rng.uniform(0, 2 * np.pi, 2)
    radius = 1 + sum_of_waves(waves[1:], amplitudes, phases)
    log_depth = -np.log(distance / radius + np.float32(_DEEPEST_RHO))
    wall = Wall(log_depth, np.zeros_like(log_depth), np.zeros(log_depth.shape, dtype=np.intp))
    if folds:
        wall = _add_folds(rng, log_depth, waves, lumen, folds, inside)
    relief = 0.020 * smooth_noise(rng, 7) + 0.005 * smooth_noise(rng, 18)
    return wall._replace(log_depth=wall.log_depth + relief)


def _add_folds(
    rng: np.random.Generator,
    log_depth: Field,
    waves: list[Wave],
    lumen: tuple[float, float],
    folds: int,
    inside: NDArray[np.bool_],
) -> Wall:
    """The wall with crescent folds at random depths between the nearest and the farthest that the frame shows."""
    near, far = np.quantile(log_depth[inside][::7], [0.10, 0.93])
    steps = (np.arange(folds) + rng.uniform(0.1, 0.9, folds)) / folds
    towards_frame = float(np.arctan2(-lumen[1], -lumen[0]))
    spread = 0.5 if np.hypot(*lumen) > 1.0 else np.pi  # radians; a distant tube shows only the wall facing us
    result, shadow = log_depth, np.zeros_like(log_depth)
    fold = np.zeros(log_depth.shape, dtype=np.intp)
    for number, step in enumerate(steps[::-1], start=1):
        fold_depth = np.float32(near + step * (far - near))
        height = rng.uniform(0.22, 0.55)
        centre = towards_frame + rng.uniform(-spread, spread)
        crescent = 0.5 + 0.5 * sum_of_waves(waves[:1], (1.0,), (-centre,))
        crescent = crescent ** np.float32(rng.uniform(0.8, 2.5))
        rim = 1 - height * crescent * (1 + sum_of_waves(waves[2:], (0.06,), (rng.uniform(0, 2 * np.pi),)))
        plane_radius = np.exp(fold_depth - log_depth)  # distance from the tube's axis where the ray meets the plane
        across = np.clip((plane_radius - rim) / (1.02 - rim), 0, 1)  # 0 at the rim, 1 at the wall
        lean = np.float32(rng.uniform(0.3, 0.6) * height)
        slope, bulge = lean * (1 - across) * (1 - across) * (1 - across), np.float32(0.25 * height) * across
        face = fold_depth + slope - bulge * (1 - across)
        pixel = np.exp(fold_depth) * np.float32(2 / SIZE)
        cover = smoothstep((plane_radius - rim) / (3.0 * pixel)) * (plane_radius < 1)
        result = result + cover * np.minimum(face - result, 0)
        behind = np.exp(np.minimum((plane_radius - rim) / (0.55 * (1.02 - rim) + 0.02), 0))
        shadow = np.maximum(shadow, behind * np.clip(2.2 * (1 - rim), 0, 0.66) * (plane_radius < 1)) * (1 - cover)
        fold = np.where((cover > 0.5) & (rim < 0.86), number, fold)
    return Wall(result, shadow, fold)
