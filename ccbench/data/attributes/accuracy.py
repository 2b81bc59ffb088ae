"""How often measured attributes are right: on phantoms, whose attributes are known, and on frames labelled by hand."""

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ccbench.base.files import read_text
from ccbench.base.seeding import derive_seed
from ccbench.data.attributes.measured_attributes import MEASURED_BACKGROUND, MEASURED_FOREGROUND, measure_attributes
from ccbench.data.phantom.phantom_attributes import ATTRIBUTE_VALUES
from ccbench.data.phantom.render import render_phantom
from ccbench.errors import DataError
from ccbench.types import Progress, SilentProgress

MEASURED_AS = {("surface", "lobulated"): "granular"}
"""Values of phantoms that are measured under another name: lobes and grains are measured as one."""

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


@dataclass(frozen=True)
class LabelledFrame:
    """What is seen in a frame: `words` holds every right value of each attribute, none where it is not labelled."""

    id: str
    part: str
    words: Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class StatedAccuracy:
    """How one attribute agrees with labels, by stated value.

    Attributes:
        labelled: frames with a label.
        stated, right: of these, by the value that was stated.
    """

    name: str
    labelled: int
    stated: Counter[str]
    right: Counter[str]

    @property
    def accuracy(self) -> float | None:
        """Share of the stated values that are right; None where nothing is stated."""
        return self.right.total() / self.stated.total() if self.stated else None


def read_labels(path: Path) -> list[LabelledFrame]:
    """Read labels as CSV: `id`, `part`, then an attribute a column; `a|b` where both are right, empty where unlabelled.

    Raises:
        DataError: the file is missing, or a row has not a cell for each column.
    """
    header, *rows = csv.reader(line for line in read_text(path).splitlines() if line.strip())
    if header[:2] != ["id", "part"]:
        raise DataError(f"{path}: the first columns are {header[:2]}, wanted id and part; correct the first line")
    frames = []
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise DataError(f"{path}:{number}: found {len(row)} cells, wanted {len(header)}; correct the line")
        values = [frozenset(cell.split("|")) if cell else frozenset[str]() for cell in row[2:]]
        frames.append(LabelledFrame(row[0], row[1], dict(zip(header[2:], values, strict=True))))
    return frames


def compare_with_labels(frames: Sequence[LabelledFrame], stated: Iterable[Mapping[str, str]]) -> list[StatedAccuracy]:
    """Compare what was stated of each frame, by attribute, with its labels; what is not stated is not wrong."""
    pairs = list(zip(frames, stated, strict=True))
    found = []
    for name in dict.fromkeys(name for frame in frames for name in frame.words):
        known = [(frame.words[name], words.get(name)) for frame, words in pairs if frame.words.get(name)]
        said = Counter(value for _, value in known if value is not None)
        right = Counter(value for wanted, value in known if value in wanted)
        found.append(StatedAccuracy(name, len(known), said, Counter({v: n for v, n in right.items() if v is not None})))
    return found
