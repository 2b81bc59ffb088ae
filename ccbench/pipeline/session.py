"""What the steps of runs have in common: where things are, how work is shown, and what is opened once."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from ccbench.base.assets import BackboneSource
from ccbench.base.workers import pick_device
from ccbench.data.split import DataSplit, Split, open_split
from ccbench.features.feature_cache import FeatureCache
from ccbench.pipeline.run_scorer import RunScorer
from ccbench.protocols.protocol import Protocol
from ccbench.types import Progress, SilentProgress

Note = Callable[[str], None]


def _drop(text: str) -> None:
    """Say nothing; a function of the module, so that a session can be handed to another process."""


@dataclass(frozen=True, eq=False)
class Session:
    """Where data, backbone and features are, and how work is shown; made once, by the command line or in Python.

    Splits, the scorer with its real images, and the cache are opened when they are first asked for, and once. Making a
    session imports no torch. One session is for one thread.

    Attributes:
        data_root: folder of the real images, for protocols that need them; see `open_split`.
        device: `cpu`, `cuda`, `cuda:N`, or `auto`: CUDA where torch finds it.
        backbone: where the protocol's backbone lies, unless where the protocol says.
        cache_folder: of features; None = every feature is computed.
        shared: folder in which trainings on the same pairs keep what they have in common; see `TrainContext`.
        progress: is told how far a long step is.
        note: is told what was done and what was skipped.
        warn: is told what nobody should miss.
    """

    data_root: Path | None = None
    device: str = "cpu"
    backbone: BackboneSource = field(default_factory=BackboneSource)
    cache_folder: Path | None = None
    shared: Path | None = None
    progress: Progress = field(default_factory=SilentProgress)
    note: Note = _drop
    warn: Note = _drop
    _splits: dict[tuple[str, Split, int | None], DataSplit] = field(default_factory=dict, init=False, repr=False)

    def split(self, protocol: Protocol, name: Split, limit: int | None = None) -> DataSplit:
        """Return one split of a protocol's data, opened once; see `open_split` for the errors."""
        key = (f"{protocol.name} {protocol.hash}", name, limit)
        if key not in self._splits:
            self._splits[key] = open_split(protocol, name, self.data_root, limit)
        return self._splits[key]

    @cached_property
    def torch_device(self) -> str:
        """The device that `device` names: `cpu`, `cuda` or `cuda:N`.

        Raises:
            UsageError: CUDA on a machine where torch finds none, or not so many.
        """
        return pick_device(self.device)

    @cached_property
    def cache(self) -> FeatureCache | None:
        """The cache of features; None where every feature is computed."""
        return None if self.cache_folder is None else FeatureCache(self.cache_folder, self.note)

    def scorer(self) -> RunScorer:
        """Return what scores runs; the real images of a protocol are read once."""
        return self._scorer

    @cached_property
    def _scorer(self) -> RunScorer:
        return RunScorer(self)

    def for_worker(self, device: str = "cpu", progress: Progress = SilentProgress(), warn: Note = _drop) -> "Session":
        """Return a session for a process that makes one of many runs: nothing is open, and its notes are dropped.

        Without `progress` and `warn` it can be pickled: a worker asks it again for one that has them.
        """
        return replace(self, device=device, progress=progress, note=_drop, warn=warn)
