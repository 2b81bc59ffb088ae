"""Resolves the configuration of a run: defaults < protocol < TOML file < --set."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, ValidationError

from ccbench.base.model_errors import first_problem
from ccbench.base.text import one_line
from ccbench.errors import DataError, UsageError
from ccbench.plugins.contract import Method, OfMethodConfig, Settings, TrainingSettings, marked_fields, untouched_fields
from ccbench.plugins.registry import find_method
from ccbench.protocols.given_settings import build_settings, read_given, setting_keys
from ccbench.protocols.protocol import PROTOCOLS, Protocol

QUICK_SHARE = 8
"""A quick training makes this part of the protocol's steps, in batches twice as large."""

QUICK_IMAGES = {"train": 400, "test": 40}
"""The first pairs of a split that a quick run uses; of other splits all."""

_QUICK_REASON = (
    f"quick: the first {QUICK_IMAGES['train']} training images and {QUICK_IMAGES['test']} test conditions, which show "
    "that everything works and not which method is better"
)


class OutsideConfig(Settings):
    """What stands for a method's settings where another program made the images: the images, and what is said of them.

    Attributes:
        title, licence, code: as given with the images.
        images_sha256: over the pixels in the order of their conditions, so that other images are another configuration.
    """

    outside: Literal[True] = True
    title: str
    licence: str
    code: str | None
    images_sha256: str


class RecordedSettings(Settings):
    """A method's settings as a record holds them, where the method is not installed: enough to verify and compare.

    Which of them change an image, and what they are by default, only the method knows.
    """

    model_config = ConfigDict(extra="allow", frozen=True)


class RunConfig(Settings):
    """All that decides the images of a run.

    Attributes:
        method: name of the method.
        revision: its card's; 1 where a record does not say.
        settings: its own settings, resolved; `OutsideConfig` where it is none of ours.
        limit: only the first `limit` pairs of each split are used; None = all.
        quick: a short training on some of the images, scored on some of the conditions, see `quick_training`.
        overrides: what the user changed, dotted key -> value, for the reader of a record.
    """

    method: str
    revision: int = Field(1, ge=1)
    protocol: Protocol
    settings: SerializeAsAny[Settings]
    training: TrainingSettings
    seed: int = Field(0, ge=0)
    limit: int | None = Field(None, ge=1)
    quick: bool = False
    overrides: dict[str, Any] = Field(default_factory=dict)

    def limit_of(self, split: str) -> int | None:
        """Return how many pairs of a split are used, the first ones; None = all."""
        limits = [self.limit, QUICK_IMAGES.get(split) if self.quick else None]
        return min((one for one in limits if one is not None), default=None)

    def image_parts(self) -> dict[str, Any]:
        """Return `settings` and `training` without what changes no image, or came later and has its default."""
        return {"settings": _image_fields(self.settings), "training": _image_fields(self.training)}

    @property
    def config_hash(self) -> str:
        """Sixteen hex digits over all that is meant to change an image: fields marked `affects_image=False` are not.

        Of `RecordedSettings` over all of them, so that it may be another one than the method gives.
        """
        parts = {
            "method": self.method,
            "protocol": self.protocol.hash,
            **self.image_parts(),
            "seed": self.seed,
            "limit": self.limit,
        }
        if self.revision > 1:  # as it was hashed before there were revisions
            parts["revision"] = self.revision
        if self.quick:
            parts["quick"] = QUICK_IMAGES
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def not_comparable(self) -> tuple[str, ...]:
        """Why no board may take the run; empty when one may. Nothing is told of `RecordedSettings`."""
        reasons = [] if self.limit is None else [f"limit={self.limit}"]
        reasons += [_QUICK_REASON] if self.quick else []
        frozen, used = self.protocol.training.model_dump(), self.training.model_dump()
        budget = [key for key in used if key not in marked_fields(TrainingSettings, "affects_image", False)]
        reasons += [
            f"training.{key}={used[key]} (protocol: {frozen[key]})" for key in budget if used[key] != frozen[key]
        ]
        kind = type(self.settings)
        known = not issubclass(kind, RecordedSettings)
        settings = self.protocol.frozen_settings(self.method, kind.model_fields) if known else {}
        found = self.settings.model_dump(mode="json")
        # A group may be frozen in part. Images from outside have no settings, and nothing of them is frozen.
        wanted = kind.model_validate(settings).model_dump(mode="json") if settings else {}
        reasons += [
            f"method.{key}={found[key]} (protocol: {wanted[key]})" for key in settings if found[key] != wanted[key]
        ]
        return tuple(reasons)


def resolve_config(
    method: Method[Any],
    protocol: Protocol,
    *,
    file: Path | None = None,
    sets: Sequence[str] = (),
    seed: int = 0,
    limit: int | None = None,
    quick: bool = False,
) -> RunConfig:
    """Resolve the configuration of one run.

    Keys are `method.<field>[.<field>]` and `training.<field>`; one without a section is the method's.

    Args:
        method: whose settings to resolve.
        protocol: gives the training budget and the frozen sampling fields.
        file: TOML with tables `[method]` and `[training]`.
        sets: `key=value` texts; the value is TOML, and plain text where it is not.
        seed: the run's seed.
        limit: use the first `limit` pairs only, which makes the run not comparable.
        quick: train as `quick_training` says, on `QUICK_IMAGES`, which makes the run not comparable.

    Raises:
        UsageError: an unknown key (the nearest is named), or a value its field does not take.
    """
    known = [*setting_keys("method", method.config), *setting_keys("training", TrainingSettings)]
    given = read_given(known, file, sets)
    if issubclass(method.config, OfMethodConfig) and "method.of" not in given:
        raise UsageError(f"{method.info.name}: samples another method; say which one with --set of=METHOD")
    under = protocol.with_method(method)
    frozen = under.frozen_settings(method.info.name, method.config.model_fields)
    settings = build_settings(method.config, "method", frozen, given)
    if isinstance(settings, OfMethodConfig):
        settings = settings.model_copy(update=_of_fields(settings.of, protocol))
    budget = quick_training(protocol.training) if quick else protocol.training
    training = build_settings(TrainingSettings, "training", budget.model_dump(), given)
    try:
        return RunConfig(
            method=method.info.name,
            revision=method.info.revision,
            protocol=under,
            settings=settings,
            training=training,
            seed=seed,
            limit=limit,
            quick=quick,
            overrides={key: value for key, (value, _) in given.items()},
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"--{first['loc'][0]} {first['input']}: {first['msg']}") from error


def quick_training(training: TrainingSettings) -> TrainingSettings:
    """Return a protocol's training for a first look: an eighth of its steps, in batches twice as large."""
    steps = -(-training.max_steps // QUICK_SHARE)
    return training.model_copy(update={"max_steps": steps, "batch_size": 2 * training.batch_size})


def usual_config(config: RunConfig) -> RunConfig:
    """Return what a run of the same method under the same protocol is with nothing changed, for seed 0, quick or not.

    A control on another method (`OfMethodConfig`) keeps that method, which has no default.

    Raises:
        UsageError: the method is not installed.
    """
    of = [f"of={config.settings.of}"] if isinstance(config.settings, OfMethodConfig) else []
    return resolve_config(find_method(config.method), config.protocol, sets=of, quick=config.quick)


def config_of(config: RunConfig) -> RunConfig | None:
    """Return the run whose weights a control on another method (`OfMethodConfig`) samples; None for any other."""
    if not isinstance(config.settings, OfMethodConfig):
        return None
    method = find_method(config.settings.of, "--set of")
    settings = method.config.model_validate(config.settings.of_settings)
    of = {"method": config.settings.of, "revision": config.settings.of_revision, "settings": settings, "overrides": {}}
    return config.model_copy(update=of)


def _of_fields(name: str, protocol: Protocol) -> dict[str, Any]:
    method = find_method(name, "--set of")
    if method.info.control:
        raise UsageError(f"--set of={name}: is itself a control; name a method")
    of_settings = _image_fields(resolve_config(method, protocol).settings)
    return {"of_settings": of_settings, "of_revision": method.info.revision}


def revisions_of(config: Mapping[str, Any]) -> dict[str, int]:
    """Return the revision of each method that a recorded configuration uses: its own, and the one that it samples.

    None for images from outside, whatever name they were given.
    """
    settings = config["settings"]
    if settings.get("outside"):
        return {}
    found = {str(config["method"]): int(config.get("revision", 1))}
    if "of_settings" in settings:
        found[str(settings["of"])] = int(settings.get("of_revision", 1))
    return found


def require_current(config: RunConfig, where: object) -> None:
    """Refuse to train or sample a run whose method has another revision now than when the run began.

    Raises:
        UsageError: it has; or the method is not installed.
    """
    for name, revision in revisions_of(config.model_dump(mode="json")).items():
        if (installed := find_method(name).info.revision) != revision:
            raise UsageError(
                f"{where}: begun with revision {revision} of {name}, revision {installed} is installed and gives other "
                "images; start a new run in another folder, or install the version that it was begun with"
            )


def restore_config(dump: Mapping[str, Any]) -> RunConfig:
    """Rebuild the configuration that a run record holds.

    The protocol is this version's own of that name: a record decides nothing of what is loaded or fetched. Settings of
    a method that is not installed, or is broken, are `RecordedSettings`.

    Raises:
        UsageError: the record's protocol is none of this version.
        DataError: it does not fit the installed method.
    """
    name, held = str(dump.get("method")), dump.get("settings")
    outside = isinstance(held, Mapping) and held.get("outside") is True and "images_sha256" in held
    try:
        method = None if outside else _installed(name)
        model = OutsideConfig if outside else method.config if method else RecordedSettings
        settings = model.model_validate(held)
        config = RunConfig.model_validate({**dump, "settings": settings})
    except ValidationError as error:
        raise DataError(
            f"the recorded configuration of {one_line(name, 80)!r} does not fit the installed version: "
            f"{first_problem(error)}; start a new run"
        ) from error
    protocol = _own_protocol(config.protocol)
    if method is not None:
        protocol = protocol.with_method(method)
    return config.model_copy(update={"protocol": protocol})


def _installed(name: str) -> Method[Any] | None:
    try:
        return find_method(name)
    except UsageError:
        return None


def _own_protocol(recorded: Protocol) -> Protocol:
    own = PROTOCOLS.get(recorded.name)
    if own is None or own.hash != recorded.hash:
        raise UsageError(
            f"the run was made under {one_line(recorded.name, 80)} {recorded.hash}, this version of ccbench has "
            f"{f'{own.name} {own.hash}' if own else 'no such protocol'}; use the version that made it, or "
            "run it again under the present protocol"
        )
    return own


def _image_fields(settings: BaseModel) -> dict[str, Any]:
    if isinstance(settings, RecordedSettings):
        return settings.model_dump(mode="json")
    left_out = marked_fields(type(settings), "affects_image", False) | untouched_fields(settings)
    kept = settings.model_dump(mode="json", exclude=left_out)
    values = {name: getattr(settings, name) for name in kept}
    return kept | {name: _image_fields(value) for name, value in values.items() if isinstance(value, BaseModel)}
