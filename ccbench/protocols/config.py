"""Resolves the configuration of a run: defaults < protocol < TOML file < --set."""

import hashlib
import json
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, ValidationError

from ccbench.base.model_errors import first_problem
from ccbench.base.text import nearest, one_line, suggest
from ccbench.errors import DataError, UsageError
from ccbench.plugins.contract import Method, OfMethodConfig, Settings, TrainingSettings, marked_fields, untouched_fields
from ccbench.plugins.registry import find_method
from ccbench.protocols.protocol import PROTOCOLS, Protocol

S = TypeVar("S", bound=Settings)

_SECTIONS = ("method", "training")


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
        method: name of the method. revision: its card's; 1 where a record does not say.
        settings: its own settings, resolved; `OutsideConfig` where it is none of ours.
        limit: only the first `limit` pairs of each split are used; None = all.
        overrides: what the user changed, dotted key -> value, for the reader of a record.
    """

    method: str
    revision: int = Field(1, ge=1)
    protocol: Protocol
    settings: SerializeAsAny[Settings]
    training: TrainingSettings
    seed: int = Field(0, ge=0)
    limit: int | None = Field(None, ge=1)
    overrides: dict[str, Any] = Field(default_factory=dict)

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
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def not_comparable(self) -> tuple[str, ...]:
        """Why no board may take the run; empty when one may. Nothing is told of `RecordedSettings`."""
        reasons = [] if self.limit is None else [f"limit={self.limit}"]
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


def flatten(tree: Mapping[str, Any], whole: Collection[str] = (), prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted key and the value of every leaf of a nested mapping; a mapping at a key in `whole` is a leaf."""
    for name, value in tree.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and key not in whole:
            yield from flatten(value, whole, f"{key}.")
        else:
            yield key, value


def resolve_config(
    method: Method[Any],
    protocol: Protocol,
    *,
    file: Path | None = None,
    sets: Sequence[str] = (),
    seed: int = 0,
    limit: int | None = None,
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

    Raises:
        UsageError: an unknown key (the nearest is named), or a value its field does not take.
    """
    known = [*_keys("method", method.config), *_keys("training", TrainingSettings)]
    given: dict[str, tuple[Any, str]] = {}  # key -> value, where it was given
    if file is not None:
        for key, value in flatten(_read_toml(file), {*known, *(name.removeprefix("method.") for name in known)}):
            name, value = _switch(key, value, known)
            given[_full_key(name, known, str(file))] = (value, f"{file}: {key} = {value!r}")
    for text in sets:
        name, value = _switch(*_split_setting(text), known)
        given[_full_key(name, known, "--set")] = (value, f"--set {text}")
    if issubclass(method.config, OfMethodConfig) and "method.of" not in given:
        raise UsageError(f"{method.info.name}: samples another method; say which one with --set of=METHOD")
    under = protocol.with_method(method)
    frozen = under.frozen_settings(method.info.name, method.config.model_fields)
    settings = _build(method.config, "method", frozen, given)
    if isinstance(settings, OfMethodConfig):
        settings = settings.model_copy(update=_of_fields(settings.of, protocol))
    training = _build(TrainingSettings, "training", protocol.training.model_dump(), given)
    try:
        return RunConfig(
            method=method.info.name,
            revision=method.info.revision,
            protocol=under,
            settings=settings,
            training=training,
            seed=seed,
            limit=limit,
            overrides={key: value for key, (value, _) in given.items()},
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"--{first['loc'][0]} {first['input']}: {first['msg']}") from error


def override_settings(base: S, sets: Sequence[str]) -> S:
    """Return settings with some changed, given as `key=value` texts as in `resolve_config`.

    Raises:
        UsageError: an unknown key (the nearest is named), or a value that its field does not take.
    """
    known, given = list(type(base).model_fields), {}
    for text in sets:
        key, value = _split_setting(text)
        if key not in known:
            raise UsageError(f"--set: unknown key {key!r}; {suggest(key, known)}")
        given[f"set.{key}"] = (value, f"--set {text}")
    return _build(type(base), "set", base.model_dump(), given)


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
        UsageError: the record's protocol is none of this version. DataError: it does not fit the installed method.
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


def _keys(prefix: str, model: type[BaseModel]) -> Iterator[str]:
    """Yield the dotted keys of the fields that a user may set, fields of nested settings included."""
    for name, field in model.model_fields.items():
        if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("derived"):
            continue
        nested = [t for t in (field.annotation, *get_args(field.annotation)) if _is_settings(t)]
        if nested:
            yield from _keys(f"{prefix}.{name}", nested[0])
        else:
            yield f"{prefix}.{name}"


def _is_settings(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _with_section(key: str) -> str:
    """Return the key with its section; one without a section is the method's."""
    return key if key.partition(".")[0] in _SECTIONS else f"method.{key}"


def _full_key(key: str, known: Sequence[str], where: str) -> str:
    full = _with_section(key)
    if full in known:
        return full
    inside = [name for name in known if name.startswith(f"{full}.")]
    if inside:
        raise UsageError(f"{where}: {key!r} is a group of settings; set one of {', '.join(inside)}")
    ends_alike = next((name for name in known if name.endswith(f".{key.rpartition('.')[2]}")), None)
    near = ends_alike or nearest(full, known) or key
    raise UsageError(f"{where}: unknown key {key!r}; {suggest(near, known)}")


def _switch(key: str, value: Any, known: Sequence[str]) -> tuple[str, Any]:
    """Read `group=off` and `group=on` as `group.enabled=false` and `=true`, for a group that has that field."""
    full = _with_section(key)
    states = {"on": True, "off": False, True: True, False: False}
    if f"{full}.enabled" in known and isinstance(value, str | bool) and value in states:
        return f"{full}.enabled", states[value]
    return key, value


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--config {path}: cannot be read ({error}); give a TOML file") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"--config {path}: not TOML: {error}") from error


def _split_setting(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--set {text}: wanted key=value, such as guidance_scale=3")
    return key.strip(), _parse_value(value.strip())


def _parse_value(text: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["value"] if len(parsed) == 1 else text


def _build(model: type[S], section: str, base: Mapping[str, Any], given: Mapping[str, tuple[Any, str]]) -> S:
    values: dict[str, Any] = dict(base)
    for full, (value, _) in given.items():
        first, *path = full.split(".")
        if first != section:
            continue
        place = values
        for name in path[:-1]:
            place = place.setdefault(name, {})
        place[path[-1]] = value
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join([section, *map(str, problem["loc"])])
        source = next((text for full, (_, text) in given.items() if key.startswith(full)), key)
        raise UsageError(f"{source}: {problem['msg']} ({key})") from error
