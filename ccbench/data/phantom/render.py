"""Phantom colonoscopy frames: a rendered colon with one polyp whose mask and attributes are known exactly."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ccbench.data.captions.wording import write_phantom_caption
from ccbench.data.phantom.phantom_attributes import (
    ATTRIBUTE_VALUES,
    BRIGHTNESSES,
    COLOURS,
    DEMARCATIONS,
    FOLDS,
    FORMS,
    LUMENS,
    OUTLINES,
    SIZES,
    SURFACES,
    TINTS,
    VESSELS,
    Colour,
    PhantomAttributes,
    position_of,
    size_of,
)
from ccbench.data.phantom.polyp import Footprint, PolypShape, draw_shape, relief, texture
from ccbench.data.phantom.scene import SIZE, Field, Wall, colon_wall, octagon, smooth_noise, smoothstep
from ccbench.data.phantom.shading import (
    Colours,
    expose,
    finish,
    light_scene,
    mucosa_colour,
    towards_pale,
    triple,
    vessel_map,
)

__all__ = ["ATTRIBUTE_VALUES", "SIZE", "Phantom", "PhantomAttributes", "render_phantom"]

_HUES: dict[Colour, tuple[float, float, float]] = {  # change of the log albedo per channel, before levelling
    "similar": (0.02, -0.14, -0.11),
    "redder": (0.08, -0.66, -0.52),
    "darker": (0.0, -0.04, 0.0),
}
_LEVELS: dict[Colour, tuple[float, float]] = {  # wanted red light of the polyp over that of the ring around it
    "paler": (1.35, 1.7),
    "similar": (1.0, 1.12),
    "redder": (1.0, 1.2),
    "darker": (0.28, 0.40),
}
_FOLD_COUNTS = {"none": (0, 1), "few": (1, 3), "many": (5, 8)}
_FOLD_PIXELS = 120  # a fold counts when it shows more lit pixels than these
_VESSEL_SHARE = 0.05  # of the lit wall, below which vessels called prominent are too few
_DEEP = 1.25  # log-depth from which the lumen looks dark


@dataclass(frozen=True, slots=True, eq=False)
class Phantom:
    """One phantom: `image` (SIZE, SIZE, 3) uint8 RGB, `mask` (SIZE, SIZE) bool with True = polyp, and its words."""

    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    attributes: PhantomAttributes
    caption: str


def render_phantom(seed: int) -> Phantom:
    """Render the phantom of a seed.

    Args:
        seed: any integer >= 0; the same seed gives the same bytes.

    Raises:
        ValueError: the seed is negative.
    """
    sequence = np.random.SeedSequence(seed)
    rng, words = np.random.default_rng(sequence), np.random.default_rng(sequence.spawn(1)[0])
    wanted = _draw_attributes(rng)
    frame = octagon(rng)
    inside = frame > 0
    cell = (int(rng.integers(3)), int(rng.integers(3)))
    shape, footprint = draw_shape(rng, wanted.size, wanted.form, wanted.outline, cell, frame)
    mask = footprint.edge > 0
    lumen = _place_lumen(rng, shape, wanted.lumen == "visible")
    folds = int(rng.integers(*_FOLD_COUNTS[wanted.folds]))
    wall = colon_wall(rng, lumen, folds, inside)
    image = _paint(rng, wanted, _Scene(shape, footprint, wall, frame))
    background = inside & ~mask
    deep = float((background & (wall.log_depth > _DEEP)).mean())
    seen = int((np.bincount(wall.fold[background & (wall.shadow < 0.5)], minlength=1)[1:] > _FOLD_PIXELS).sum())
    attributes = PhantomAttributes(
        size=size_of(mask),
        position=position_of(mask),
        form=wanted.form,
        outline=wanted.outline,
        colour=wanted.colour,
        surface=wanted.surface,
        demarcation=wanted.demarcation,
        lumen="visible" if deep > 0.01 else "hidden",
        folds="none" if seen == 0 else "few" if seen < 3 else "many",
        vessels=wanted.vessels,
        brightness=wanted.brightness,
        tint=wanted.tint,
    )
    return Phantom(image, mask, attributes, write_phantom_caption(attributes, words))


class _Scene(NamedTuple):
    shape: PolypShape
    footprint: Footprint
    wall: Wall
    frame: Field  # pixels to the octagon's edge


def _draw_attributes(rng: np.random.Generator) -> PhantomAttributes:
    """Attributes to aim at; size, position and lumen are read off the result afterwards."""
    return PhantomAttributes(
        size=SIZES[rng.integers(len(SIZES))],
        position="center",
        form=FORMS[rng.integers(len(FORMS))],
        outline=OUTLINES[rng.integers(len(OUTLINES))],
        colour=COLOURS[rng.integers(len(COLOURS))],
        surface=SURFACES[rng.integers(len(SURFACES))],
        demarcation=DEMARCATIONS[rng.integers(len(DEMARCATIONS))],
        lumen=LUMENS[int(rng.random() < 0.4)],
        folds=FOLDS[rng.integers(len(FOLDS))],
        vessels=VESSELS[rng.integers(len(VESSELS))],
        brightness=BRIGHTNESSES[int(rng.random() < 0.4)],
        tint=TINTS[rng.integers(len(TINTS))],
    )


def _place_lumen(rng: np.random.Generator, shape: PolypShape, visible: bool) -> tuple[float, float]:
    """Vanishing point of the colon: clear of the polyp, opposite to its stalk, or far outside the frame."""
    away = np.array(shape.centre)
    if shape.stalk_length:
        away = away + 1.2 * shape.radius * np.array([np.cos(shape.stalk_angle), np.sin(shape.stalk_angle)])
    if not visible:
        angle = np.arctan2(-away[1], -away[0]) + rng.normal(0, 0.6)
        distance = rng.uniform(1.35, 2.3)
        return float(distance * np.cos(angle)), float(distance * np.sin(angle))
    angles, distances = rng.uniform(0, 2 * np.pi, 24), 0.72 * np.sqrt(rng.uniform(0, 1, 24))
    points = np.stack([distances * np.cos(angles), distances * np.sin(angles)], axis=1)  # (24, 2)
    gap = np.hypot(*(points - np.array(shape.centre)).T) - 1.15 * shape.radius
    if shape.stalk_length:
        gap = np.minimum(gap, np.hypot(*(points - away).T) - 0.9 * shape.radius)
    best = points[np.argmax(np.minimum(gap, 0.40) + rng.uniform(0, 0.08, 24))]
    return float(best[0]), float(best[1])


def _paint(rng: np.random.Generator, wanted: PhantomAttributes, scene: _Scene) -> NDArray[np.uint8]:
    """Light and colour the scene with its polyp, (SIZE, SIZE, 3) uint8."""
    sharp = wanted.demarcation == "sharp"
    pixels = scene.shape.radius * SIZE / 2
    width = rng.uniform(1.4, 2.4) if sharp else min(0.55 * pixels, rng.uniform(4.5, 7.0))
    cover = smoothstep(scene.footprint.edge / np.float32(width) + np.float32(0.5))
    height = rng.uniform(0.85, 1.15)
    rise = relief(scene.shape, scene.footprint, wanted.form, wanted.demarcation, height)
    detail, grooves = texture(rng, scene.shape, scene.footprint, wanted.surface)
    base = ndimage.uniform_filter(scene.wall.log_depth, max(3, int(1.2 * pixels)))
    log_depth = scene.wall.log_depth + cover * (base - scene.wall.log_depth) - rise - cover * detail
    lamp_angle = rng.uniform(0, 2 * np.pi)
    lamp = (float(0.22 * np.cos(lamp_angle)), float(0.22 * np.sin(lamp_angle)))
    contact = np.maximum(_contact_shadow(scene, cover, wanted, lamp), scene.wall.shadow * (1 - cover))
    light = light_scene(rng, log_depth, lamp, contact, rng.uniform(0.7, 1.3))
    albedo = mucosa_colour(rng, wanted.tint)
    vessels = _vessels(rng, wanted, cover, light.diffuse, scene.frame)
    albedo = albedo - triple((0.30, 1.0, 0.8)) * ((1 - cover) * vessels)
    albedo = albedo + _polyp_colour(rng, wanted, cover, grooves, light.diffuse, scene)
    usual = np.quantile(light.diffuse[scene.frame > 0][::5], 0.6)
    albedo = albedo + triple((0.0, 0.20, 0.29)) * np.log(light.diffuse / np.float32(usual))
    if wanted.brightness == "dim":
        albedo = albedo - triple((0.0, 0.16, 0.26))  # little light: the mucosa's own red light prevails
    target = rng.uniform(0.47, 0.58) if wanted.brightness == "bright" else rng.uniform(0.28, 0.35)
    image = expose(np.exp(albedo) * light.diffuse, scene.frame > 0, target)
    shine = np.float32(rng.uniform(0.8, 1.6) / usual)
    image = image + triple((1.0, 0.97, 0.92)) * np.clip(shine * light.glint, 0, 1) * (1.05 - image)
    return finish(rng, image, scene.frame)


def _vessels(rng: np.random.Generator, wanted: PhantomAttributes, cover: Field, diffuse: Field, frame: Field) -> Field:
    """Vessels of the mucosa, (SIZE, SIZE), 0..1.1; prominent ones fill some of whatever wall is lit."""
    if wanted.vessels == "faint":
        return np.float32(rng.uniform(0.05, 0.2)) * vessel_map(rng, 1)
    vessels = vessel_map(rng, int(rng.integers(4, 6)))
    lit = (frame > 0) & (cover < 0.5)
    lit &= diffuse > 0.3 * float(diffuse[lit].mean())
    if float((vessels[lit] > 0.3).mean()) < _VESSEL_SHARE:
        vessels = np.maximum(vessels, vessel_map(rng, 6))
    return np.float32(rng.uniform(0.75, 1.1)) * vessels


def _contact_shadow(scene: _Scene, cover: Field, wanted: PhantomAttributes, lamp: tuple[float, float]) -> Field:
    """Darkening of the wall beside the polyp, (SIZE, SIZE), 0..1, displaced away from the lamp."""
    strength = {"pedunculated": 0.60, "sessile": 0.45, "flat": 0.18}[wanted.form]
    if wanted.demarcation == "soft":
        strength *= 0.7
    pixels = scene.shape.radius * SIZE / 2
    reach = float(np.clip(0.16 * pixels, 1.2, 4.0))
    shift = (round(-lamp[1] / 0.22 * reach), round(-lamp[0] / 0.22 * reach))
    spread = ndimage.gaussian_filter(np.roll(cover, shift, (0, 1)), reach)
    shadow: Field = np.float32(strength) * spread * (1 - cover)
    return shadow


def _polyp_colour(
    rng: np.random.Generator, wanted: PhantomAttributes, cover: Field, grooves: Field, diffuse: Field, scene: _Scene
) -> Colours:
    """Change of the log albedo inside the polyp, (3, SIZE, SIZE).

    The level is set against the light that falls on the polyp and on the ring around it, so that a polyp called
    paler or darker is so in the pixels although its relief also catches more or less light.
    """
    mask = scene.footprint.edge > 0
    ring = (scene.footprint.edge < -3) & (scene.footprint.edge > -12) & (scene.frame > 0)
    ratio = float(diffuse[mask].mean() / max(float(diffuse[ring].mean()), 1e-6))
    level = float(np.clip(np.log(rng.uniform(*_LEVELS[wanted.colour]) / ratio), -1.3, 0.9))
    strength = np.float32(rng.uniform(0.85, 1.2))
    hue = towards_pale(wanted.tint) if wanted.colour == "paler" else triple(_HUES[wanted.colour])
    mottle = (0.07 * smooth_noise(rng, 9)) * triple((0.6, 1.3, 1.2))
    inner = np.float32(level) + strength * hue + mottle
    change: Colours = cover * (inner - triple((0.12, 0.50, 0.40)) * grooves)
    return change
