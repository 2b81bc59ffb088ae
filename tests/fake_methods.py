"""A NumPy-only method that keeps the contract, and one that breaks it in each way the checker must find."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import ConfigDict, Field

from ccbench.plugins.contract import (
    LoadContext,
    Method,
    MethodConfig,
    MethodInfo,
    Settings,
    TrainContext,
    TrainReport,
    require_parts,
)
from ccbench.types import Condition, Image

INFO = MethodInfo(name="fake", title="Fake", paper="none", code=None, licence="Apache-2.0", year=2026)


class Taam(Settings):
    mode: str = "B"
    tokens: int = 4


class FakeConfig(MethodConfig):
    taam: Taam = Field(default_factory=Taam)
    tint: float = Field(0.5, ge=0, le=1)
    tile: int = Field(8, json_schema_extra={"affects_image": False})


class OpenConfig(FakeConfig):
    model_config = ConfigDict(extra="ignore", frozen=True)


def train(context: TrainContext[FakeConfig]) -> TrainReport:
    """Keep the mean colour of the training images."""
    colour = np.mean([pair.image.mean(axis=(0, 1)) for pair in context.pairs], axis=0)
    (context.checkpoint / "colour.safetensors").write_bytes(colour.astype(np.float64).tobytes())
    steps = context.training.max_steps
    return TrainReport(
        steps=steps, seconds=0.0, parameters_trained=3, loss=[(step, 1.0 / step) for step in range(1, steps + 1)]
    )


class FakeGenerator:
    """Noise by seed around the mean colour, brighter in the mask; +1 in odd batches, as float rounding may do."""

    def __init__(self, context: LoadContext[FakeConfig]) -> None:
        self.context = context
        self.colour = np.frombuffer((context.checkpoint / "colour.safetensors").read_bytes())
        self.calls = 0

    def generate(self, conditions: Sequence[Condition], seeds: Sequence[int]) -> list[Image]:
        require_parts(INFO, conditions)
        return [self.draw(c, seed, len(conditions)) for c, seed in zip(conditions, seeds, strict=True)]

    def draw(self, condition: Condition, seed: int, batch: int) -> Image:
        noise = np.random.default_rng(seed).normal(0, 10, (*condition.mask.shape, 3))
        image = np.clip(self.colour + noise + 30 * condition.mask[..., None], 20, 240).round()
        return (image + batch % 2).astype(np.uint8)


def load(context: LoadContext[FakeConfig]) -> FakeGenerator:
    return FakeGenerator(context)


METHOD = Method(info=INFO, config=FakeConfig, train_ref="fake_methods:train", load_ref="fake_methods:load")


class _Changed(FakeGenerator):
    """Applies a fault to what the good generator gives."""

    fault: Callable[["_Changed", list[Image], Sequence[Condition], Sequence[int]], Any]

    def generate(self, conditions: Sequence[Condition], seeds: Sequence[int]) -> list[Image]:
        self.calls += 1
        return type(self).fault(self, super().generate(conditions, seeds), conditions, seeds)


def _other_seed(
    self: _Changed, images: list[Image], conditions: Sequence[Condition], seeds: Sequence[int]
) -> list[Image]:
    return [self.draw(condition, 7, len(conditions)) for condition in conditions]


def _first_seed(
    self: _Changed, images: list[Image], conditions: Sequence[Condition], seeds: Sequence[int]
) -> list[Image]:
    return [self.draw(condition, seeds[0] + i, len(seeds)) for i, condition in enumerate(conditions)]


FAULTS: dict[str, Callable[..., Any]] = {
    "count": lambda self, images, conditions, seeds: images[:-1],
    "dtype": lambda self, images, conditions, seeds: [image / 255 for image in images],
    "size": lambda self, images, conditions, seeds: [image[:-1] for image in images],
    "order": lambda self, images, conditions, seeds: sorted(images, key=lambda image: int(image.sum())),
    "same seed": lambda self, images, conditions, seeds: [image + np.uint8(self.calls) for image in images],
    "other seed": _other_seed,
    "first seed": _first_seed,
    "last seed": lambda self, images, conditions, seeds: [image + np.uint8(9 * (seeds[-1] % 2)) for image in images],
    "batch size": lambda self, images, conditions, seeds: [i + np.uint8(self.context.batch_size) for i in images],
    "one at a time": lambda self, images, conditions, seeds: [i + np.uint8(3 * (len(seeds) > 1)) for i in images],
}


class _Careless(FakeGenerator):
    def generate(self, conditions: Sequence[Condition], seeds: Sequence[int]) -> list[Image]:
        return [self.draw(c, seed, len(conditions)) for c, seed in zip(conditions, seeds, strict=True)]


def load_careless(context: LoadContext[FakeConfig]) -> FakeGenerator:
    return _Careless(context)


CONTROL_NOISE = 9


def load_control(context: LoadContext[FakeConfig]) -> Any:
    """Noise by seed on the real image of the condition."""
    known = {pair.condition.id: pair.image for pair in context.real.test}  # type: ignore[union-attr]

    class Control:
        def generate(self, conditions: Sequence[Condition], seeds: Sequence[int]) -> list[Image]:
            def noise(seed: int, shape: tuple[int, ...]) -> Image:
                return np.random.default_rng(seed).integers(0, CONTROL_NOISE + 1, shape, dtype=np.uint8)

            images = [known[condition.id] // 2 for condition in conditions]
            return [image + noise(seed, image.shape) for image, seed in zip(images, seeds, strict=True)]

    return Control()


def train_nothing(context: TrainContext[FakeConfig]) -> TrainReport:
    return TrainReport(steps=context.training.max_steps, seconds=0.0, parameters_trained=0, loss=[])


def load_crashing(context: LoadContext[FakeConfig]) -> FakeGenerator:
    raise RuntimeError("no such layer\nin the checkpoint")


_fault = ""


def load_broken(context: LoadContext[FakeConfig]) -> FakeGenerator:
    return type("Broken", (_Changed,), {"fault": FAULTS[_fault]})(context)


def broken(fault: str) -> Method[FakeConfig]:
    """Return the method with one fault of `FAULTS`; one at a time."""
    globals()["_fault"] = fault
    return replace(METHOD, load_ref="fake_methods:load_broken")
