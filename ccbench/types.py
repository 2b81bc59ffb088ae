"""The nouns of the system, on NumPy only: images, masks, conditions, pairs and scores; and the base of its records."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    model_serializer,
)

from ccbench.errors import DataError

Image = NDArray[np.uint8]
"""(H, W, 3) RGB, 0..255."""

Mask = NDArray[np.bool_]
"""(H, W), True = polyp."""

Text = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]*$", max_length=10_000)]
"""Text for people, without control characters."""

Count = Annotated[int, Field(ge=0, lt=10**9)]
Number = Annotated[float, Field(ge=-1e18, le=1e18, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


_FORBID_EXTRA = ConfigDict(extra="forbid")


def check_image(image: Image, where: str) -> Image:
    """Return `image` if it is (H, W, 3) uint8; raise `DataError` naming `where` otherwise."""
    if not (isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3):
        found = f"{getattr(image, 'dtype', type(image).__name__)} {getattr(image, 'shape', '')}"
        raise DataError(f"{where}: found {found}, wanted a uint8 RGB image of shape (H, W, 3)")
    return image


def check_mask(mask: Mask, where: str) -> Mask:
    """Return `mask` if it is (H, W) bool; raise `DataError` naming `where` otherwise."""
    if not (isinstance(mask, np.ndarray) and mask.dtype == np.bool_ and mask.ndim == 2):
        found = f"{getattr(mask, 'dtype', type(mask).__name__)} {getattr(mask, 'shape', '')}"
        raise DataError(f"{where}: found {found}, wanted a boolean mask of shape (H, W)")
    return mask


@dataclass(frozen=True)
class Condition:
    """What a generator is given for one image.

    Attributes:
        id: unique within its protocol; joins the condition to its image, its real image and its scores.
        mask: (H, W) bool, the polyp region.
        prompt: text, foreground clause first; empty when the method is asked for an unconditional prompt.
        background: (H, W, 3) real frame whose mucosa is kept, for the methods that need one.
        cluster: video sequence or patient, None where unknown.
    """

    id: str
    mask: Mask
    prompt: str
    background: Image | None = None
    cluster: str | None = None

    def __post_init__(self) -> None:
        check_mask(self.mask, f"condition {self.id!r}")


@dataclass(frozen=True)
class RealPair:
    """A real image with the condition that describes it: one sample to train on or to score against.

    Attributes:
        source: name of the data set, where a split mixes several; their images are then also scored apart.
    """

    image: Image
    condition: Condition
    source: str | None = None

    def __post_init__(self) -> None:
        check_image(self.image, f"real image of condition {self.condition.id!r}")
        if self.image.shape[:2] != self.condition.mask.shape:
            raise DataError(
                f"pair {self.condition.id!r}: image is {self.image.shape[:2]}, its mask {self.condition.mask.shape}; "
                "they must have one size"
            )


@dataclass(frozen=True)
class Interval:
    """A confidence interval of a score, in the score's own unit, and how it was made."""

    __pydantic_config__ = _FORBID_EXTRA

    low: Number
    high: Number
    level: Share
    kind: Text


@dataclass(frozen=True)
class Score:
    """One number with what is needed to trust it; where it is read from JSON its fields are checked.

    Attributes:
        metric: public name, such as `fd_lite0`.
        signature: everything that must be equal before two values may be compared.
        value: None when it could not be computed; `reason` then says why.
        interval: of `value`, None where there is none.
        p: permutation p-value of both sets having one distribution; None where it was not tested.
        n: synthetic images scored.
        n_real: real images they were compared with.
        reason: why there is no value.
        no_interval: why a value has no interval, where one could be expected; empty in records that do not have the
            field.
    """

    __pydantic_config__ = _FORBID_EXTRA

    metric: Text
    signature: Text
    value: Number | None
    interval: Interval | None = field(default=None, kw_only=True)
    p: Share | None = field(default=None, kw_only=True)
    n: Count
    n_real: Count | None = None
    reason: Text | None = field(default=None, kw_only=True)
    no_interval: Text | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if (self.value is None) == (self.reason is None):
            raise ValueError(f"score {self.metric!r}: exactly one of value and reason must be given")
        if self.value is not None and not np.isfinite(self.value):
            raise ValueError(f"score {self.metric!r}: a value that is not finite must be stored as None with a reason")


class ProgressStep(Protocol):
    """One long step under way."""

    def __enter__(self) -> "ProgressStep": ...
    def __exit__(self, *exc: object) -> None: ...
    def advance(self, amount: int = 1, note: str = "") -> None:
        """Report `amount` more units done; `note` is a short live figure, such as a loss."""

    def found(self, amount: int) -> None:
        """Report that `amount` units were there before; they say nothing of how fast the others are done."""


class Part(NamedTuple):
    """A step of a longer work: its description, and how long it takes, in a unit that all parts of the work share."""

    description: str
    share: float


class Progress(Protocol):
    """Where library code reports how far it is. The CLI draws it; library code never prints."""

    def step(self, description: str, total: int) -> ProgressStep:
        """Open a step of `total` units; use it as a context manager."""

    def plan(self, parts: Sequence[Part]) -> None:
        """Say which steps are ahead, in their order: the time left is then told of all. It replaces an earlier plan."""


class _SilentStep:
    def __enter__(self) -> "_SilentStep":
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    def advance(self, amount: int = 1, note: str = "") -> None:
        return None

    def found(self, amount: int) -> None:
        return None


class SilentProgress:
    """Reports nothing; the default of every library call."""

    def step(self, description: str, total: int) -> ProgressStep:
        """Return a step that draws nothing."""
        return _SilentStep()

    def plan(self, parts: Sequence[Part]) -> None:
        """Draw nothing."""


PairSequence = Sequence[RealPair]


class Record(BaseModel):
    """Base of what is kept as JSON: frozen, and an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ExtendedRecord(Record):
    """A record with fields that stored ones do not have: where they hold their default they are not written.

    So a stored table that is read and written again keeps its bytes.
    """

    added: ClassVar[tuple[str, ...]] = ()

    @model_serializer(mode="wrap")
    def _without_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = type(self).model_fields
        empty = {name for name in self.added if getattr(self, name) == fields[name].default}
        return {name: value for name, value in handler(self).items() if name not in empty}
