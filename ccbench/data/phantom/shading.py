"""How a phantom is lit and coloured: vessels, mucosa albedo, the headlight, exposure, and the camera's faults."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ccbench.data.phantom.phantom_attributes import Tint
from ccbench.data.phantom.scene import SIZE, Field, X, Y, blur_little, smooth_noise, smoothstep

Colours = NDArray[np.float32]  # (3, SIZE, SIZE) linear RGB
Triple = NDArray[np.float32]  # (3, 1, 1)

_FOCAL = 0.9  # in half frame widths: about 96 degrees across
_LUMA = np.array([0.30, 0.59, 0.11], dtype=np.float32)[:, None, None]
_PALE = np.log(np.array([1.0, 0.66, 0.50], dtype=np.float32))[:, None, None]  # hue of a whitish polyp, linear
_TINTS: dict[Tint, tuple[float, float, float]] = {  # sRGB, 0..255
    "pink": (222, 128, 126),
    "orange": (226, 138, 84),
    "red-brown": (178, 84, 62),
    "pale": (230, 154, 126),
}


class Light(NamedTuple):
    """Diffuse light on each pixel and the strength of its mirror reflection, both (SIZE, SIZE), linear."""

    diffuse: Field
    glint: Field


def triple(values: tuple[float, float, float] | NDArray[np.float64]) -> Triple:
    """Three channel values, shaped to broadcast over an image, (3, 1, 1)."""
    return np.asarray(values, dtype=np.float32)[:, None, None]


def vessel_map(rng: np.random.Generator, trees: int) -> Field:
    """Branching thin vessels, (SIZE, SIZE), 0..1."""
    points, weights = [], []
    for _ in range(trees):
        start, heading = rng.uniform(-60, 60, 2) + SIZE / 2, rng.uniform(0, 2 * np.pi)
        twigs = [(start, heading, int(rng.integers(60, 120)), 0.85)]
        chances = rng.random((7, 3)).tolist()
        for which, where, turn in chances:
            origin, heading, length, weight = twigs[int(which * len(twigs))]
            path = _twig(rng, origin, heading, length)
            branch = path[int((0.2 + 0.8 * where) * length)]
            side = 0.4 + 1.2 * (turn % 0.5) if turn < 0.5 else -0.4 - 1.2 * (turn % 0.5)
            twigs.append((branch, heading + side, max(12, int(length * 0.6)), weight * 0.72))
            points.append(path)
            weights.append(np.full(len(path), weight))
    column, row = np.clip(np.concatenate(points), 0, SIZE - 1.001).T
    c, r = column.astype(np.intp), row.astype(np.intp)
    fc, fr = column - c, row - r
    index = np.concatenate([r * SIZE + c, r * SIZE + c + 1, (r + 1) * SIZE + c, (r + 1) * SIZE + c + 1])
    index = np.minimum(index, SIZE * SIZE - 1)
    share = np.concatenate([(1 - fr) * (1 - fc), (1 - fr) * fc, fr * (1 - fc), fr * fc])
    ink = np.bincount(index, weights=share * np.tile(np.concatenate(weights), 4), minlength=SIZE * SIZE).reshape(
        SIZE, SIZE
    )
    return np.clip(blur_little(ink.astype(np.float32), 0.6), 0, 1)


def _twig(rng: np.random.Generator, origin: NDArray[np.float64], heading: float, length: int) -> NDArray[np.float64]:
    """A wandering line, (length, 2) pixel coordinates (column, row)."""
    angle = heading + np.cumsum(rng.normal(0, 0.13, length))
    path = np.cumsum(0.8 * np.exp(1j * angle))
    return origin + path.view(np.float64).reshape(length, 2)


def light_scene(
    rng: np.random.Generator, log_depth: Field, lamp: tuple[float, float], contact: Field, wetness: float
) -> Light:
    """Light from one lamp beside the camera: Lambert's law, inverse-square falloff, occlusion, mirror reflections.

    With l the log-depth, a pinhole camera's surface normal is proportional to (f dl/dx, f dl/dy, -(1 + x dl/dx +
    y dl/dy)); its cosine with the direction to the camera is f / (|n| |d|), d = (x, y, f).

    Args:
        log_depth: (SIZE, SIZE).
        lamp: offset (x, y) of the lamp from the camera, in colon radii.
        contact: (SIZE, SIZE), 0..1, how much polyp and folds shadow the wall beside and behind them.
        wetness: strength of the small-scale normal noise that breaks up the reflections, about 1.
    """
    focal = np.float32(_FOCAL)
    ly, lx = np.gradient(log_depth, np.float32(2 / SIZE))
    soften = 1 / np.sqrt(1 + (lx * lx + ly * ly) / 9)  # a silhouette is a step of depth, not a dark ridge
    lx, ly = lx * soften, ly * soften
    ray = np.sqrt(X * X + Y * Y + focal * focal)

    def cosine(gx: Field, gy: Field) -> Field:
        length = np.sqrt(focal**2 * (gx * gx + gy * gy) + (1 + X * gx + Y * gy) ** 2)
        towards_camera: Field = focal / (length * ray)
        return towards_camera

    hollow = np.clip(log_depth - ndimage.uniform_filter(log_depth, 13), 0, None)
    occlusion = np.exp(-2.2 * hollow) * (1 - contact)
    falloff = np.exp(-1.7 * log_depth)
    aside = (np.float32(lamp[0]) * lx + np.float32(lamp[1]) * ly) * np.exp(-log_depth)
    diffuse = falloff * occlusion * (0.22 + 0.78 * cosine(lx, ly) * np.clip(1 + aside, 0.1, 1.6))
    ny, nx = np.gradient(smooth_noise(rng, 17), np.float32(2 / SIZE))
    rough = np.float32(0.036 * wetness)
    facing = cosine(lx + rough * nx, ly + rough * ny)
    wet = smoothstep(0.9 * smooth_noise(rng, 6) + 0.3)
    glint = falloff * wet * (1 - contact) * np.exp(np.float32(110) * (facing - 1))
    return Light(diffuse, glint)


def towards_pale(tint: Tint) -> Triple:
    """Change of the log albedo that takes mucosa of a tint most of the way to a whitish hue, red unchanged."""
    base = np.log((triple(_TINTS[tint]) / 255) ** np.float32(2.2))
    change: Triple = np.maximum(0.6 * (_PALE - (base - base[0])), triple((0.0, 0.35, 0.35)))
    return change


def mucosa_colour(rng: np.random.Generator, tint: Tint) -> Colours:
    """Log albedo of the mucosa with slow variation, (3, SIZE, SIZE)."""
    base = np.log((triple(_TINTS[tint]) / 255) ** np.float32(2.2))
    balance = triple(rng.normal(0, [0.03, 0.05, 0.06]))
    blush = 0.12 * smooth_noise(rng, 3) + 0.07 * smooth_noise(rng, 8) + 0.04 * smooth_noise(rng, 20)
    yellow = 0.10 * smooth_noise(rng, 4)
    albedo: Colours = base + balance - triple((0.25, 1.1, 1.0)) * blush - triple((0.0, 0.1, 1.0)) * yellow
    return albedo


def expose(light: Colours, inside: NDArray[np.bool_], target: float) -> Colours:
    """Film-like exposure to a wanted mean brightness, then a display gamma of 2.

    Args:
        light: (3, SIZE, SIZE) linear light.
        inside: (SIZE, SIZE), the pixels that count.
        target: wanted mean luma of those pixels after the gamma, 0..1.
    """
    sample = light[:, ::4, ::4][:, inside[::4, ::4]]
    luma = _LUMA[:, :, 0]
    gain = np.float32(1 / max(float(sample.mean()), 1e-6))
    for _ in range(4):
        mean = float((luma * np.sqrt(1 - np.exp(-gain * sample))).sum(axis=0).mean())
        gain = np.float32(gain * (target / mean) ** 2.7)
    image: Colours = np.sqrt(1 - np.exp(-gain * light))
    return image


def finish(rng: np.random.Generator, image: Colours, frame: Field) -> NDArray[np.uint8]:
    """The camera's faults and the black frame: blur, vignette, sensor noise, (SIZE, SIZE, 3) uint8.

    Args:
        image: (3, SIZE, SIZE), gamma-encoded, 0..1.
        frame: (SIZE, SIZE), pixel distance to the octagon's edge, positive inside.
    """
    blur, vignette, noise = rng.uniform(0.35, 0.75), rng.uniform(0.04, 0.16), rng.uniform(0.003, 0.009)
    image = blur_little(image, blur)
    image = image * (1 - np.float32(vignette) * (X * X + Y * Y))
    grain = rng.standard_normal((SIZE, SIZE), dtype=np.float32)
    image = image + np.float32(noise) * grain
    image = image * np.clip(frame + 0.5, 0, 1)
    return np.ascontiguousarray((np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0))
