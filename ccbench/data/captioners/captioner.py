"""What every captioner takes and gives."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ccbench.errors import DataError
from ccbench.types import Image, Mask


@dataclass(frozen=True, slots=True)
class Caption:
    """The text of one image.

    Attributes:
        text: both clauses as one sentence, the polyp's first, so that a text encoder's limit cuts background words.
        foreground, background: the clauses, without a full stop.
        attributes: value of each measured attribute by name.
        details: what else belongs in the record of a caption, such as a model's attempts; JSON values.
    """

    text: str
    foreground: str
    background: str
    attributes: Mapping[str, str]
    details: Mapping[str, Any] = field(default_factory=dict)


class NoCaption(DataError):
    """A captioner found no caption for one image; the others may go on."""


class Captioner(Protocol):
    """Writes the caption of one image at a time."""

    @property
    def id(self) -> str:
        """Name and version of all that decides a caption; goes into every record."""
        ...

    def caption(self, image: Image, mask: Mask, id: str) -> Caption:
        """Caption one image.

        Args:
            image: (H, W, 3) uint8 RGB of any size.
            mask: (H, W) bool, True = polyp; may be empty.
            id: of the image; wording may depend on it, but not on other images.

        Raises:
            DataError: image and mask do not fit together. NoCaption: no caption for this one.
        """
        ...
