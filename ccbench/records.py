"""What a run folder holds as JSON: the run's record and its samples."""

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from ccbench.assets import BackboneKind

Failure = Literal["black", "constant"]

OUTSIDE = "outside"
"""The distribution of a method that is none: its images were made by another program and brought here."""


class Record(BaseModel):
    """Base of what a run folder holds as JSON: frozen, and an unknown field is an error."""

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


class MethodRecord(Record):
    """The method as installed when it was trained. `weights_sha256`: over the checkpoint's safetensors files.

    Of images from outside (`distribution` is `OUTSIDE`) title and licence are what was given with them.

    Attributes:
        control: no method but a row for scale, which boards show apart.
    """

    name: str
    title: str
    licence: str
    distribution: str
    version: str
    control: bool = False
    commit: str | None = None
    dirty: bool | None = None
    weights_sha256: str | None = None


class BackboneRecord(Record):
    """The frozen weights of a latent method, equal for every layout of one set, and in which layout they were read."""

    kind: BackboneKind
    weights_sha256: str


class ConditionsRecord(Record):
    """Which pairs were used; equal manifests are equal pairs."""

    split: str
    n: int
    manifest_sha256: str


class TrainingRecord(Record):
    """A finished training: optimiser steps, its pairs, and (step, loss) points."""

    steps: int
    pairs: ConditionsRecord
    loss: list[tuple[int, float]]


class OriginRecord(Record):
    """The run that a checkpoint was copied from, and the method as it was when it was trained there."""

    run_id: str
    method: MethodRecord


class CostRecord(Record):
    """What the run cost, interrupted attempts included. Seconds are wall clock, memory is the process's peak.

    Training that was copied with its checkpoint costs here what it cost there.

    `train_seconds` is None where ccbench did not train.
    """

    train_seconds: float | None = 0.0
    parameters_trained: int | None = None
    sample_seconds: float = 0.0
    images_sampled: int = 0
    seconds_per_image: float | None = None
    peak_memory_mb: float | None = None


class RunRecord(Record):
    """All that is needed to trust a run, kept as `run.json`. `failures`: kind -> synthetic images of that kind.

    Attributes:
        checkpoint_from: None where the run was trained itself.
    """

    schema_version: Literal[1] = 1
    run_id: str
    status: Literal["started", "complete", "failed"] = "started"
    error: str | None = None
    started: str
    finished: str | None = None
    method: MethodRecord | None = None
    backbone: BackboneRecord | None = None
    protocol: str
    protocol_hash: str
    config: dict[str, Any]
    config_hash: str
    not_comparable: tuple[str, ...]
    seed: int
    conditions: ConditionsRecord | None = None
    training: TrainingRecord | None = None
    checkpoint_from: OriginRecord | None = None
    cost: CostRecord = Field(default_factory=CostRecord)
    failures: dict[str, int] = Field(default_factory=dict)
    env: dict[str, Any] = Field(default_factory=dict)


class Sample(Record):
    """One synthetic image: a line of `samples.jsonl`. `file` is relative to the run folder."""

    index: int
    condition_id: str
    copy_index: int = Field(0, alias="copy")
    seed: int
    file: str
    sha256: str
    failure: Failure | None = None
