"""The polyp of a phantom: its outline, its relief in the wall's log-depth map, and its surface texture."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ccbench.data.phantom.phantom_attributes import Demarcation, Form, Outline, Surface
from ccbench.data.phantom.scene import SIZE, Field, X, Y, angular_waves, smooth_noise, smoothstep, sum_of_waves

_HALF = SIZE / 2  # pixels per unit of image coordinates
_AREA_RANGE = {"small": (0.009, 0.036), "medium": (0.046, 0.112), "large": (0.128, 0.235)}  # share of the image
_MARGIN = 3.0  # pixels between the polyp and the octagon


@dataclass(frozen=True, slots=True)
class PolypShape:
    """Parameters of an outline: lengths in image coordinates, angles in radians."""

    centre: tuple[float, float]
    radius: float
    aspect: float
    turn: float
    harmonics: NDArray[np.float64]  # (4,) amplitudes of the angular frequencies 2..5
    phases: NDArray[np.float64]  # (4,)
    stalk_length: float  # in radii from the centre; 0 = no stalk
    stalk_width: float  # in radii
    stalk_angle: float


class Footprint(NamedTuple):
    """A shape on the pixel grid.

    `edge` is the distance in pixels to the outline, positive inside, head and stalk together; `head` and `stalk` are
    normalised radii, 0 on the centre line and 1 on the outline; `along` is the distance along the stalk in radii.
    """

    edge: Field
    head: Field
    stalk: Field
    along: Field


def draw_shape(
    rng: np.random.Generator, size: str, form: Form, outline: Outline, cell: tuple[int, int], frame: Field
) -> tuple[PolypShape, Footprint]:
    """A random shape of the wanted size near a cell of the 3 x 3 grid, wholly inside the octagon.

    Args:
        size: size class wanted.
        cell: (column, row) wanted, each 0..2; a large polyp is moved towards the middle until it fits.
        frame: (SIZE, SIZE), pixel distance to the octagon's edge, positive inside.
    """
    low, high = _AREA_RANGE[size]
    area = float(np.exp(rng.uniform(np.log(low), np.log(high)))) * SIZE**2
    radius = float(np.sqrt(area / np.pi)) / _HALF
    aspect = {"round": rng.uniform(1.0, 1.08), "oval": rng.uniform(1.45, 1.85), "irregular": rng.uniform(1.0, 1.35)}
    ripple = {"round": 0.08, "oval": 0.12, "irregular": 1.0}[outline]
    harmonics = ripple * rng.uniform([0.06, 0.10, 0.06, 0.04], [0.12, 0.18, 0.12, 0.08])
    x, y = ((c + rng.uniform(0.05, 0.95)) * (2 / 3) - 1 for c in cell)
    has_stalk = form == "pedunculated"
    shape = PolypShape(
        centre=(x, y),
        radius=radius,
        aspect=aspect[outline],
        turn=rng.uniform(0, np.pi),
        harmonics=harmonics,
        phases=rng.uniform(0, 2 * np.pi, 4),
        stalk_length=rng.uniform(1.9, 2.4) if has_stalk else 0.0,
        stalk_width=rng.uniform(0.34, 0.46),
        stalk_angle=rng.uniform(0, 2 * np.pi),
    )
    return _fit(shape, area, frame)


def _fit(shape: PolypShape, area: float, frame: Field) -> tuple[PolypShape, Footprint]:
    """Scale a shape to its area in pixels and move it inwards until it lies inside the octagon."""
    for _ in range(30):
        covered = trace(shape, step=2).edge > 0
        scale = float(np.sqrt(area / max(4 * int(covered.sum()), 1)))
        fits = not covered.any() or float(frame[::2, ::2][covered].min()) >= _MARGIN
        if fits and 0.96 < scale < 1.04:
            break
        shrink = 0.0 if fits else 0.14
        x, y = shape.centre
        if shape.stalk_length and not fits:  # the middle of head and stalk is what has to come inwards
            x += shrink * shape.radius * np.cos(shape.stalk_angle) * -0.5
            y += shrink * shape.radius * np.sin(shape.stalk_angle) * -0.5
        shape = PolypShape(
            centre=(x * (1 - shrink), y * (1 - shrink)),
            radius=shape.radius * (scale if fits else min(scale, 1.0)),
            aspect=shape.aspect,
            turn=shape.turn,
            harmonics=shape.harmonics,
            phases=shape.phases,
            stalk_length=shape.stalk_length,
            stalk_width=shape.stalk_width,
            stalk_angle=shape.stalk_angle,
        )
    return shape, trace(shape)


def trace(shape: PolypShape, step: int = 1) -> Footprint:
    """The shape on the pixel grid, or on every `step`-th row and column of it."""
    dx = (X[::step, ::step] - np.float32(shape.centre[0])) / np.float32(shape.radius)
    dy = (Y[::step, ::step] - np.float32(shape.centre[1])) / np.float32(shape.radius)
    cos, sin = np.float32(np.cos(shape.turn)), np.float32(np.sin(shape.turn))
    stretch = np.float32(np.sqrt(shape.aspect))
    a = ((cos * dx + sin * dy) / stretch).astype(np.float32, copy=False)
    b = ((cos * dy - sin * dx) * stretch).astype(np.float32, copy=False)
    distance = np.sqrt(a * a + b * b) + np.float32(1e-6)
    waves = angular_waves(a / distance, b / distance, 5)[1:]
    head = distance / (1 + sum_of_waves(waves, shape.harmonics.tolist(), shape.phases.tolist()))
    edge = (1 - head) * np.float32(shape.radius * _HALF)
    if not shape.stalk_length:
        return Footprint(edge, head, np.full_like(head, 9), np.zeros_like(head))
    cos, sin = np.float32(np.cos(shape.stalk_angle)), np.float32(np.sin(shape.stalk_angle))
    along = cos * dx + sin * dy
    bow = 0.12 * np.sin(along * np.float32(1.6))
    width = np.float32(shape.stalk_width) * (1 + 0.5 * np.clip(along / np.float32(shape.stalk_length), 0, 1) ** 2)
    side = np.abs(cos * dy - sin * dx - bow) / width
    past = np.clip(along - np.float32(shape.stalk_length) + width, 0, None) / width
    stalk = np.where(along > 0, np.sqrt(side * side + past * past), 9).astype(np.float32)
    edge = np.maximum(edge, (1 - stalk) * width * np.float32(shape.radius * _HALF))
    return Footprint(edge, head, stalk, along)


def relief(shape: PolypShape, footprint: Footprint, form: Form, demarcation: Demarcation, height: float) -> Field:
    """How far the polyp rises towards the camera, in log-depth, (SIZE, SIZE), 0 far outside.

    Args:
        height: multiplies the usual height of the form; about 1.
    """
    sharp = demarcation == "sharp"
    inner = np.clip(1 - footprint.head**2, 0, None)
    if form == "flat":
        ramp = smoothstep((1.06 - footprint.head) / (0.42 if sharp else 0.66))
        plateau: Field = np.float32(0.36 * shape.radius * height) * (ramp * np.float32(0.75) + 0.25 * inner)
        return plateau
    dome = inner ** np.float32(0.72 if sharp else 0.95)
    skirt = np.exp(-np.clip(footprint.head - 1, 0, None) * np.float32(5)) * np.float32(0.14 if sharp else 0.22)
    rise: Field = np.float32(0.95 * shape.radius * height) * (dome + np.where(footprint.head < 1, skirt.max(), skirt))
    if form == "sessile":
        return rise
    lift = np.float32(0.55 * shape.radius * height)
    head = (np.float32(0.95 * shape.radius * height) * dome + lift) * smoothstep(footprint.edge / 2.0 + 0.5)
    head = head * (footprint.head < 1.05)
    rod = np.clip(1 - footprint.stalk**2, 0, None) ** np.float32(0.5)
    slope = np.clip(1 - footprint.along / np.float32(shape.stalk_length + 0.2), 0, 1)
    stalk = np.float32(shape.radius) * rod * (np.float32(0.9 * shape.stalk_width) + 0.35 * slope)
    rise = np.maximum(head, stalk)
    return rise


def texture(rng: np.random.Generator, shape: PolypShape, footprint: Footprint, surface: Surface) -> tuple[Field, Field]:
    """Surface detail of the polyp.

    Returns:
        Relief in log-depth and redness (0..1, deepest in the grooves), both (SIZE, SIZE), to be used inside the polyp.
    """
    radius = np.float32(shape.radius)
    if surface == "smooth":
        faint = smooth_noise(rng, 14)
        return np.float32(0.006) * radius * faint, np.zeros_like(faint)
    if surface == "granular":
        grains = smooth_noise(rng, int(rng.integers(24, 31)))
        return np.float32(0.030) * grains * np.sqrt(radius), smoothstep(0.35 - 0.55 * grains) * np.float32(0.8)
    count = int(rng.integers(5, 9))
    turn, distance = rng.uniform(0, 2 * np.pi) + np.arange(count) * 2.4, np.sqrt((np.arange(count) + 0.4) / count)
    nearest, second = np.full_like(X, 9), np.full_like(X, 9)
    for angle, r in zip(turn + rng.normal(0, 0.25, count), distance * rng.uniform(0.8, 0.95), strict=True):
        cx, cy = shape.centre[0] + shape.radius * r * np.cos(angle), shape.centre[1] + shape.radius * r * np.sin(angle)
        away = np.sqrt((X - np.float32(cx)) ** 2 + (Y - np.float32(cy)) ** 2) / radius
        second = np.minimum(second, np.maximum(nearest, away))
        nearest = np.minimum(nearest, away)
    groove = np.exp(-(((second - nearest) / np.float32(0.20)) ** 2))
    return radius * (-0.30 * nearest**2 - 0.10 * groove), groove * np.float32(0.5)
