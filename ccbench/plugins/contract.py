"""The contract between ccbench and a method: what a plugin must provide, and what it is given.

A plugin package exposes one `Method` through the entry-point group `ccbench.methods`. Its `__init__` must not import
torch: `Method.train_ref` and `Method.load_ref` name functions that are imported when they are first called.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field

from ccbench.errors import DataError
from ccbench.types import Condition, Image, PairSequence, Progress, SilentProgress

Need = Literal["mask", "prompt", "background"]

Scale = Literal["small", "paper"]
"""Of a protocol: a budget of minutes on an embedded backbone, or that of the papers."""


class Settings(BaseModel):
    """Base of everything a user may set: frozen, an unknown key is an error, and so is a number that is not finite.

    A field whose `json_schema_extra` holds `affects_image=False` changes speed or memory only and stays out of the
    configuration's hash. One that holds `added_later=True` stays out while it has its default, so that runs made before
    the field was there keep their hash.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class MethodConfig(Settings):
    """Base of a method's own settings; a method adds its fields. Defaults are the paper's."""

    num_inference_steps: int = Field(20, ge=1, le=1000, description="denoising steps of the sampler")
    guidance_scale: float = Field(7.0, ge=1.0, description="classifier-free guidance; 1 = off")


class OfMethodConfig(Settings):
    """Settings of a control that samples another method, whose own settings are those that the protocol freezes."""

    of: str = Field(description="the method that is trained and sampled")
    of_settings: dict[str, Any] = Field(
        default_factory=dict,
        description="that method's settings; follow from `of` and the protocol",
        json_schema_extra={"derived": True},
    )
    of_revision: int = Field(
        1,
        description="that method's revision; follows from `of`",
        json_schema_extra={"derived": True, "added_later": True},
    )


class TrainingSettings(Settings):
    """The training budget and optimiser, frozen by a protocol and equal for the methods on its board."""

    max_steps: int = Field(30_000, ge=0, le=10**9, description="optimiser steps")
    batch_size: int = Field(4, ge=1, le=2**16)
    learning_rate: float = Field(1e-5, gt=0)
    weight_decay: float = Field(1e-2, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    prompt_drop: float = Field(0.5, ge=0, le=1, description="share of prompts replaced by the empty string")
    checkpoint_every: int = Field(
        500,
        ge=1,
        le=10**9,
        description="steps between checkpoints from which training resumes",
        json_schema_extra={"affects_image": False},
    )
    precision: Literal["fp32", "bf16"] = Field(
        "fp32",
        description="of the arithmetic in a step; weights and their updates are fp32",
        json_schema_extra={"added_later": True},
    )
    gradient_accumulation: int = Field(
        1,
        ge=1,
        le=2**16,
        description="parts in which a batch is worked on, one after another: less memory, equal up to rounding",
        json_schema_extra={"added_later": True},
    )


def marked_fields(model: type[BaseModel], mark: str, value: bool = True) -> set[str]:
    """Return the names of a model's fields whose `json_schema_extra` holds `mark=value`."""
    extras = ((name, field.json_schema_extra) for name, field in model.model_fields.items())
    return {name for name, extra in extras if isinstance(extra, dict) and extra.get(mark) is value}


def untouched_fields(settings: BaseModel) -> set[str]:
    """Return the names of the fields that were added later and hold their default."""
    fields = type(settings).model_fields
    later = marked_fields(type(settings), "added_later")
    return {name for name in later if getattr(settings, name) == fields[name].default}


@dataclass(frozen=True)
class MethodInfo:
    """The card of a method.

    Attributes:
        name: kebab-case, unique.
        needs: parts of a `Condition` that must be present.
        guidance: whether classifier-free guidance applies.
        native_size: pixels, None = the protocol's.
        reported: numbers printed in the paper, metric name -> value; shown apart from ours, never mixed.
        reported_in: where they are printed and what is not stated there, or why there are none.
        control: a row for scale and no method: it may look at real images, and boards show it apart.
        seeded: whether an image depends on its seed; every method's does.
        revision: raised by one when the same settings give other images than before. It is part of a run's
            configuration, so that runs of two revisions are never resumed, averaged or shown as one.
    """

    name: str
    title: str
    paper: str
    code: str | None
    licence: str
    year: int
    needs: tuple[Need, ...] = ("mask", "prompt")
    guidance: bool = True
    native_size: int | None = None
    geometry: Literal["squash", "letterbox"] = "squash"
    reported: dict[str, float] = field(default_factory=dict)
    reported_in: str = ""
    control: bool = False
    seeded: bool = True
    revision: int = 1


class Generator(Protocol):
    """A trained method, ready to sample."""

    def generate(self, conditions: Sequence[Condition], seeds: Sequence[int]) -> list[Image]:
        """Return one (H, W, 3) uint8 image per condition, in order.

        Image i depends on conditions[i] and seeds[i] only: batch size, order and sharding change nothing beyond
        float rounding (same batches: equal bytes; other batches on CPU float32: at most 1 grey level).

        Raises:
            DataError: a condition lacks a part that the method needs.
        """
        ...


C = TypeVar("C", bound=Settings)


@dataclass(frozen=True)
class TrainContext(Generic[C]):
    """All that a method is given to train.

    Attributes:
        pairs: training images with their conditions, all of one size (image_size x image_size).
        backbone: folder in diffusers format, single-file checkpoint, or a hub id.
        checkpoint: folder to write; training resumes from what an earlier call of the same configuration left there.
        seed: decides initial weights, order, noise and drops.
        allow_pickle: whether the user's weights files may be PyTorch pickles, of which only tensors are read.
        shared: folder of what all trainings on these pairs have in common, such as encoded images; a file in it is
            named by all else that it depends on, and may be removed at any time. None = nothing is kept.
        note: says one line to the user, such as that a damaged checkpoint cannot be used.
    """

    pairs: PairSequence
    config: C
    training: TrainingSettings
    backbone: str
    image_size: int
    checkpoint: Path
    seed: int
    device: str = "cpu"
    progress: Progress = field(default_factory=SilentProgress)
    allow_pickle: bool = False
    shared: Path | None = None
    note: Callable[[str], None] = lambda text: None


@dataclass(frozen=True)
class RealData:
    """Real images that a control is made of; no method is given any. `seed`: the run's."""

    train: PairSequence
    test: PairSequence
    seed: int


@dataclass(frozen=True)
class LoadContext(Generic[C]):
    """All that a method is given to sample from a trained checkpoint. `batch_size` changes speed only.

    Attributes:
        real: for a control only, None for a method.
        backbone_sha256: of the backbone that the checkpoint was trained on; None = not known, and not checked.
        allow_pickle: as in `TrainContext`.
    """

    config: C
    backbone: str
    image_size: int
    checkpoint: Path
    device: str = "cpu"
    batch_size: int = 16
    real: RealData | None = None
    backbone_sha256: str | None = None
    allow_pickle: bool = False


@dataclass(frozen=True)
class TrainReport:
    """What training cost and how it went, kept in the run record.

    Attributes:
        loss: (step, training loss) pairs, averaged between log points.
        seconds: of this call, data caching included.
        parameters_trained: numbers in the trained part.
        backbone_sha256: of the frozen backbone, where there is one.
    """

    steps: int
    seconds: float
    parameters_trained: int
    loss: list[tuple[int, float]]
    backbone_sha256: str | None = None


@dataclass(frozen=True)
class Module:
    """A part of a method that can be left out, and what its paper says that it is for.

    Attributes:
        off: settings that leave it out, dotted key -> value.
        claim: ends the sentence "it is for ...".
        metrics: names of those that would show it.
    """

    name: str
    off: Mapping[str, Any]
    claim: str
    metrics: tuple[str, ...]


@dataclass(frozen=True)
class Method(Generic[C]):
    """A plugin: its card, its settings and where its two functions live (`package.module:function`).

    `train_ref` names `train(context: TrainContext[C]) -> TrainReport`, which fills the checkpoint folder, None where
    there is nothing to train; `load_ref` names `load(context: LoadContext[C]) -> Generator`.

    Attributes:
        modules: what an ablation leaves out.
        settings_at: scale of a protocol -> settings that are frozen there for this method alone, over the protocol's
            own: for a method that cannot run at the others'. Nested settings are nested mappings.
    """

    info: MethodInfo
    config: type[C]
    train_ref: str | None
    load_ref: str
    modules: tuple[Module, ...] = ()
    settings_at: Mapping[Scale, Mapping[str, Any]] = field(default_factory=dict)

    def train(self, context: TrainContext[C]) -> TrainReport:
        """Train the method; see `TrainContext`. Nothing is done where there is nothing to train."""
        if self.train_ref is None:
            return TrainReport(steps=0, seconds=0.0, parameters_trained=0, loss=[])
        return cast(Callable[[TrainContext[C]], TrainReport], _resolve(self.train_ref))(context)

    def load(self, context: LoadContext[C]) -> Generator:
        """Load a trained checkpoint; see `LoadContext`."""
        return cast(Callable[[LoadContext[C]], Generator], _resolve(self.load_ref))(context)


def _resolve(reference: str) -> Callable[..., object]:
    module, _, name = reference.partition(":")
    return cast(Callable[..., object], getattr(importlib.import_module(module), name))


def require_parts(info: MethodInfo, conditions: Sequence[Condition]) -> None:
    """Raise `DataError` for the first condition that lacks a part `info` says the method needs."""
    for condition in conditions:
        if "background" in info.needs and condition.background is None:
            raise DataError(f"condition {condition.id!r}: {info.name} needs a background image and found none")
        if "prompt" in info.needs and not condition.prompt.strip():
            raise DataError(f"condition {condition.id!r}: {info.name} needs a prompt and found an empty one")
