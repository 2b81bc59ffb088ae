"""shuffled-mask and shuffled-prompt: a method that is given the mask, or the prompt, of another test condition.

What a score loses against the method's own row is what the mask, or the prompt, was worth to it. The method is trained
as in its own run of the same seed and samples with the same noise.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ccbench.base.seeding import derive_seed
from ccbench.errors import DataError
from ccbench.plugins.contract import Generator, LoadContext, Method, Settings, TrainContext, TrainReport, require_parts
from ccbench.plugins.controls.control_settings import ShuffledConfig
from ccbench.plugins.controls.real_images import PairsById, real_data
from ccbench.plugins.registry import find_method
from ccbench.types import Condition, Image

Swap = Callable[[Condition, Condition], Condition]


def train(context: TrainContext[ShuffledConfig]) -> TrainReport:
    """Train the method itself."""
    method, settings = _method_of(context.config)
    own: TrainContext[Any] = context
    return method.train(replace(own, config=settings))


def load_mask(context: LoadContext[ShuffledConfig]) -> "ShuffledGenerator":
    """Return the generator that takes another condition's mask."""
    return _load(context, lambda own, other: replace(own, mask=other.mask))


def load_prompt(context: LoadContext[ShuffledConfig]) -> "ShuffledGenerator":
    """Return the generator that takes another condition's prompt."""
    return _load(context, lambda own, other: replace(own, prompt=other.prompt))


class ShuffledGenerator:
    """Samples `inner` with a part of each condition swapped for that of its partner."""

    def __init__(self, method: Method[Any], inner: Generator, test: PairsById, seed: int, swap: Swap) -> None:
        self._method, self._inner, self._test, self._swap = method, inner, test, swap
        self._partners = derange(test.ids, seed)

    def generate(self, conditions: Sequence[Condition], seeds: Sequence[int]) -> list[Image]:
        """Return one image per condition; see `ccbench.plugins.contract.Generator`."""
        require_parts(self._method.info, conditions)  # here too: a swapped prompt would hide an empty one
        others = [self._test.find(self._partners.get(own.id, own.id)).condition for own in conditions]
        return self._inner.generate(list(map(self._swap, conditions, others)), seeds)


def derange(ids: Sequence[str], seed: int) -> dict[str, str]:
    """Return for every id another one: the next on a circle in seeded order, so that none keeps its own.

    Raises:
        DataError: there is only one.
    """
    if len(ids) < 2:
        raise DataError(f"test split: {len(ids)} condition, wanted at least 2 to shuffle them; raise --limit")
    order = sorted(ids, key=lambda name: derive_seed("shuffled", seed, name))
    return dict(zip(order, [*order[1:], order[0]], strict=True))


def _load(context: LoadContext[ShuffledConfig], swap: Swap) -> ShuffledGenerator:
    real = real_data(context)
    method, settings = _method_of(context.config)
    own: LoadContext[Any] = context
    inner = method.load(replace(own, config=settings, real=None))
    return ShuffledGenerator(method, inner, PairsById(real.test), real.seed, swap)


def _method_of(config: ShuffledConfig) -> tuple[Method[Any], Settings]:
    method = find_method(config.of, "--set of")
    return method, method.config.model_validate(config.of_settings)
