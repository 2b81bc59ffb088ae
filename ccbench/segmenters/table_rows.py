"""The rows of a segmentation table: what a segmenter is trained on, and which row it is compared with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ccbench.errors import UsageError

BudgetName = Literal["epochs", "steps"]
BUDGETS: tuple[BudgetName, ...] = ("epochs", "steps")
COPY_PASTE = "copy-paste"
"""A control whose images make a row of augmentation, beside the classic one."""

KINDS = ("real", "real-x2", "classic", "classic-x2", COPY_PASTE, "mixed", "synthetic", "synthetic-x2")
"""Of rows. `mixed` = real + synthetic, one image for each training mask, and `copy-paste` that of the control of this
name; `x2` = twice as many passes."""

_OF_BUDGET: dict[BudgetName, tuple[str, ...]] = {
    "epochs": ("real", "classic", COPY_PASTE, "mixed", "synthetic"),
    "steps": ("real-x2", "classic-x2", COPY_PASTE, "mixed", "synthetic-x2"),
}


@dataclass(frozen=True)
class Row:
    """What a segmenter is trained on.

    Attributes:
        kind: one of `KINDS`.
        source: name of the method whose images are used; empty where there are none.
    """

    kind: str
    source: str = ""

    @property
    def name(self) -> str:
        """Its name in tables and folders, such as `real`, `real+controlnet` or `controlnet-x2`."""
        if self.doubled:
            return f"real+{self.source}"
        return self.kind.replace("synthetic", self.source) if self.source else self.kind

    @property
    def real(self) -> bool:
        """Whether the real training images are in it."""
        return not self.kind.startswith("synthetic")

    @property
    def doubled(self) -> bool:
        """Whether it has as many synthetic images as real ones."""
        return self.kind in ("mixed", COPY_PASTE)

    @property
    def augment(self) -> bool:
        """Whether images are varied by the classic augmentation."""
        return self.kind.startswith("classic")

    @property
    def repeat(self) -> int:
        """How many times as many passes as the published training makes over the same images."""
        return 2 if self.kind.endswith("-x2") else 1

    @property
    def budgets(self) -> tuple[BudgetName, ...]:
        """The budgets that it belongs to: as many passes as `real`, or as many optimiser steps as `real-x2`.

        Real and synthetic images together are twice as many: their row belongs to both.
        """
        return tuple(budget for budget in BUDGETS if self.kind in _OF_BUDGET[budget])


BASELINES: dict[BudgetName, Row] = {"epochs": Row("real"), "steps": Row("real-x2")}
"""What the rows of a budget are compared with."""


def list_rows(sources: Sequence[str], budgets: Sequence[BudgetName], kinds: Sequence[str] | None = None) -> list[Row]:
    """Return the rows of a table in their order: real images, augmentation, and then source by source.

    Args:
        kinds: only these, and the baselines they are compared with; None = all of the budgets.

    Raises:
        UsageError: an unknown kind, one that needs a source where there is none, or none of the budgets.
    """
    if unknown := [kind for kind in kinds or () if kind not in KINDS]:
        raise UsageError(f"--rows {unknown[0]}: wanted some of {', '.join(KINDS)}")
    wanted = set(kinds if kinds is not None else KINDS) & {kind for one in budgets for kind in _OF_BUDGET[one]}
    needs = [kind for kind in KINDS[5:] if kinds is not None and kind in kinds]
    if needs and not sources:
        raise UsageError(f"--rows {','.join(needs)}: needs images of a method; name complete runs with --runs")
    rows = [Row(kind, COPY_PASTE if kind == COPY_PASTE else "") for kind in KINDS[:5] if kind in wanted]
    rows += [Row(kind, source) for source in sources for kind in KINDS[5:] if kind in wanted]
    if not rows:
        raise UsageError(f"--rows {','.join(kinds or ())}: none of them belongs to the budget {' and '.join(budgets)}")
    needed = [BASELINES[budget] for budget in budgets if any(budget in row.budgets for row in rows)]
    rows += [row for row in needed if row not in rows]
    return sorted(rows, key=lambda row: min(KINDS.index(row.kind), 5))  # sources stay in their order
