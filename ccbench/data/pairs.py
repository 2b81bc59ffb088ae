"""Lazy sequences of real pairs, and the split that carries one with its manifest."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar, overload

from ccbench.types import RealPair

T = TypeVar("T")


class LazyPairs(Sequence[RealPair], Generic[T]):
    """Pairs that are read or rendered when they are accessed, never before; a slice stays lazy.

    Args:
        items: what is known of each pair without opening it.
        load: turns one item into its pair.
    """

    def __init__(self, items: Sequence[T], load: Callable[[T], RealPair]) -> None:
        self.items = tuple(items)
        self._load = load

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, index: int) -> RealPair: ...
    @overload
    def __getitem__(self, index: slice) -> "LazyPairs[T]": ...
    def __getitem__(self, index: int | slice) -> "RealPair | LazyPairs[T]":
        if isinstance(index, slice):
            return LazyPairs(self.items[index], self._load)
        return self._load(self.items[index])


@dataclass(frozen=True)
class DataSplit:
    """One split of one data source.

    Attributes:
        name: `train`, `validation` or `test`.
        pairs: lazy, in the split's fixed order.
        manifest_lines: yields one line a pair, with all that identifies it.
        licence: of the images.
    """

    name: str
    pairs: Sequence[RealPair]
    manifest_lines: Callable[[], Iterable[str]]
    licence: str

    @cached_property
    def manifest_sha256(self) -> str:
        """Sha256 hex over the manifest's lines. Computed at first use: it opens or renders every pair once."""
        digest = hashlib.sha256()
        for line in self.manifest_lines():
            digest.update(line.encode() + b"\n")
        return digest.hexdigest()
