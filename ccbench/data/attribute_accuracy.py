"""How often the measured attributes are right, told on phantoms, whose attributes are known."""

from collections import Counter
from dataclasses import dataclass

from ccbench.data.attributes import MEASURED_BACKGROUND, MEASURED_FOREGROUND, measure_attributes
from ccbench.data.phantom import render_phantom
from ccbench.data.phantom_attributes import ATTRIBUTE_VALUES
from ccbench.seeding import derive_seed
from ccbench.types import Progress, SilentProgress

MEASURED_AS = {("surface", "lobulated"): "granular"}
"""Values of phantoms that are measured under another name: lobes and grains are not told apart."""

CHECKED = tuple(name for name in (*MEASURED_FOREGROUND, *MEASURED_BACKGROUND) if name in ATTRIBUTE_VALUES)


@dataclass(frozen=True)
class AttributeAccuracy:
    """How one attribute was measured: `counts[true value, measured value]`."""

    name: str
    counts: Counter[tuple[str, str]]

    @property
    def n(self) -> int:
        """How many phantoms were measured."""
        return self.counts.total()

    @property
    def accuracy(self) -> float:
        """Share that was measured right."""
        return sum(count for pair, count in self.counts.items() if self._right(*pair)) / self.n

    def recall(self) -> dict[str, float]:
        """Share measured right of each true value that occurred, in the attribute's order."""
        shares = {}
        for value in ATTRIBUTE_VALUES[self.name]:
            of_value = {measured: count for (true, measured), count in self.counts.items() if true == value}
            if of_value:
                shares[value] = of_value.get(self._wanted(value), 0) / sum(of_value.values())
        return shares

    def mistakes(self) -> list[tuple[str, str, int]]:
        """True value, measured value and count of what was measured wrong, the most frequent first."""
        return [(*pair, count) for pair, count in self.counts.most_common() if not self._right(*pair)]

    def _right(self, true: str, measured: str) -> bool:
        return measured == self._wanted(true)

    def _wanted(self, true: str) -> str:
        return MEASURED_AS.get((self.name, true), true)


def check_attributes(n: int, seed: int = 0, progress: Progress = SilentProgress()) -> list[AttributeAccuracy]:
    """Measure `n` phantoms of no protocol and compare each attribute that phantoms and measurements share."""
    counts: dict[str, Counter[tuple[str, str]]] = {name: Counter() for name in CHECKED}
    with progress.step("measure phantoms", n) as step:
        for index in range(n):
            phantom = render_phantom(derive_seed("attributes", seed, index))
            measured = measure_attributes(phantom.image, phantom.mask).words()
            for name in CHECKED:
                counts[name][getattr(phantom.attributes, name), measured[name]] += 1
            step.advance()
    return [AttributeAccuracy(name, counts[name]) for name in CHECKED]
