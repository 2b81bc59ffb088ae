"""What a run folder holds as JSON: the run's record and its samples.

A run folder may come from anybody: names become part of a path only in one pattern, texts are printable and numbers
bounded and finite. Every model here refuses anything else.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    Field,
    StringConstraints,
    model_validator,
)

from ccbench.base.assets import BackboneKind
from ccbench.base.text import one_line
from ccbench.types import Count, ExtendedRecord, Number, Record, Text

Failure = Literal["black", "constant"]

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=128)]
"""A name that may be part of a path: of a run, a method or a protocol."""

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""A sha256 in hex."""

ShortDigest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
"""The first quarter of one: of a configuration or a protocol."""

Amount = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
"""Seconds, or MiB."""


def _check_plain(tree: dict[str, Any]) -> dict[str, Any]:
    """Refuse what is nested so deeply, or so large a number, that who walks or writes it would stumble."""
    level: list[tuple[str, Any]] = [("", tree)]
    for _ in range(_DEEPEST):
        level = [one for name, value in level for one in _inner(name, value)]
    if level:
        raise ValueError(f"nested more than {_DEEPEST} deep")
    return tree


def _inner(name: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [(f"{name}.{key}" if name else str(key), inner) for key, inner in value.items()]
    if isinstance(value, list):
        return [(name, inner) for inner in value]
    if isinstance(value, int | float) and not abs(value) < _LARGEST:
        found = one_line(value, 24)
        raise ValueError(f"{one_line(name, 80)}: found {found}, wanted a finite number below {_LARGEST:g}")
    return []


_DEEPEST, _LARGEST = 16, 1e18

Plain = Annotated[dict[str, Any], AfterValidator(_check_plain)]
"""A JSON object of any form, such as a configuration: at most 16 levels, numbers finite."""

OUTSIDE = "outside"
"""The distribution of a method that is none: its images were made by another program and brought here."""


class MethodRecord(Record):
    """The method as installed when it was trained. `weights_sha256`: over the checkpoint's safetensors files.

    Of images from outside (`distribution` is `OUTSIDE`) title and licence are what was given with them.

    Attributes:
        control: no method but a row for scale, which boards show apart.
    """

    name: Name
    title: Text
    licence: Text
    distribution: Text
    version: Text
    control: bool = False
    commit: Text | None = None
    dirty: bool | None = None
    weights_sha256: Digest | None = None


class BackboneRecord(Record):
    """The frozen weights of a latent method, equal for every layout of one set, and in which layout they were read."""

    kind: BackboneKind
    weights_sha256: Digest


class ConditionsRecord(Record):
    """Which pairs were used; equal manifests are equal pairs."""

    split: Name
    n: Count
    manifest_sha256: Digest


class TrainingRecord(Record):
    """A finished training: optimiser steps, its pairs, and (step, loss) points."""

    steps: Count
    pairs: ConditionsRecord
    loss: list[tuple[Count, Number]]


class OriginRecord(Record):
    """The run that a checkpoint was copied from, and the method as it was when it was trained there."""

    run_id: Name
    method: MethodRecord


class CostRecord(Record):
    """What the run cost, interrupted attempts included. Seconds are wall clock, memory is the process's peak.

    Training that was copied with its checkpoint costs here what it cost there.

    `train_seconds` is None where ccbench did not train.
    """

    train_seconds: Amount | None = 0.0
    parameters_trained: Annotated[int, Field(ge=0, lt=10**15)] | None = None
    sample_seconds: Amount = 0.0
    images_sampled: Count = 0
    seconds_per_image: Amount | None = None
    peak_memory_mb: Amount | None = None


class StepRecord(Record):
    """What is done in a running run, when its heartbeat was written: `done` of `total` units of a step."""

    step: Text
    done: Count
    total: Count
    seconds_left: Amount


class RunRecord(ExtendedRecord):
    """All that is needed to trust a run, kept as `run.json`. `failures`: kind -> synthetic images of that kind.

    Attributes:
        status: `started` has begun and waits for the next command; `running` is worked on, or its process was killed,
            which the lock of its folder tells; `interrupted` was ended by a signal.
        heartbeat: when a command last said that it works on a running one.
        doing: what it did then.
        checkpoint_from: None where the run was trained itself.
    """

    added: ClassVar[tuple[str, ...]] = ("doing",)

    schema_version: Literal[1] = 1
    run_id: Name
    status: Literal["started", "running", "interrupted", "complete", "failed"] = "started"
    error: Text | None = None
    heartbeat: Text | None = None
    doing: StepRecord | None = None
    started: Text
    finished: Text | None = None
    method: MethodRecord | None = None
    backbone: BackboneRecord | None = None
    protocol: Name
    protocol_hash: ShortDigest
    config: Plain
    config_hash: ShortDigest
    not_comparable: tuple[Text, ...]
    seed: int = Field(ge=0, lt=2**63)
    conditions: ConditionsRecord | None = None
    training: TrainingRecord | None = None
    checkpoint_from: OriginRecord | None = None
    cost: CostRecord = Field(default_factory=CostRecord)
    failures: dict[Text, Count] = Field(default_factory=dict)
    env: Plain = Field(default_factory=dict)

    @model_validator(mode="after")
    def _agrees(self) -> "RunRecord":
        """Refuse a record that says two things of one, so that a name that was checked is the only one there is."""
        protocol, method = self.config.get("protocol"), self.config.get("method")
        told = {
            "config.method": (method, self.method.name if self.method else method),
            "config.protocol.name": (protocol.get("name") if isinstance(protocol, dict) else None, self.protocol),
            "config.seed": (self.config.get("seed"), self.seed),
            "run_id": (self.run_id, make_run_id(str(method), self.seed, self.config_hash)),
        }
        for place, (found, wanted) in told.items():
            if found != wanted:
                raise ValueError(f"{place} is {one_line(found, 80)!r}, the record elsewhere says {wanted!r}")
        return self


class Sample(Record):
    """One synthetic image: a line of `samples.jsonl`. `file`: in a folder of the run folder, with `/`."""

    index: Count
    condition_id: Text
    copy_index: Count = Field(0, alias="copy")
    seed: int = Field(ge=0, lt=2**64)
    file: Annotated[str, StringConstraints(pattern=r"^[a-z-]+/[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=300)]
    sha256: Digest
    failure: Failure | None = None


def make_run_id(method: str, seed: int, config_hash: str) -> str:
    """Return the id of a run."""
    return f"{method}-seed{seed}-{config_hash[:8]}"


def count_failures(record: RunRecord, scored: Mapping[str, int]) -> dict[str, int]:
    """Return kind -> synthetic images that failed: the scorecard's counts, and the record's of kinds it does not count.

    A control may give one image to many conditions: its duplicates are no failures and are not shown.
    """
    control = record.method is not None and record.method.control
    counts = {**scored, **{kind: n for kind, n in record.failures.items() if kind not in scored}}
    return {kind: n for kind, n in counts.items() if not (control and kind == "duplicate")}
