"""Settings as a user gives them, in a TOML file or as `key=value` texts: their keys and their values."""

import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from ccbench.base.text import nearest, suggest
from ccbench.errors import UsageError
from ccbench.plugins.contract import Settings

S = TypeVar("S", bound=Settings)
Given = dict[str, tuple[Any, str]]
"""Dotted key -> its value, and where it was given."""

_SECTIONS = ("method", "training")


def flatten(tree: Mapping[str, Any], whole: Collection[str] = (), prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted key and the value of every leaf of a nested mapping; a mapping at a key in `whole` is a leaf."""
    for name, value in tree.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and key not in whole:
            yield from flatten(value, whole, f"{key}.")
        else:
            yield key, value


def read_given(known: Sequence[str], file: Path | None, sets: Sequence[str]) -> Given:
    """Return what a TOML file and `key=value` texts give, the texts before the file.

    Raises:
        UsageError: the file cannot be read, or an unknown key; the nearest is named.
    """
    given: Given = {}
    if file is not None:
        for key, value in flatten(_read_toml(file), {*known, *(name.removeprefix("method.") for name in known)}):
            name, value = _switch(key, value, known)
            given[_full_key(name, known, str(file))] = (value, f"{file}: {key} = {value!r}")
    for text in sets:
        name, value = _switch(*_split_setting(text), known)
        given[_full_key(name, known, "--set")] = (value, f"--set {text}")
    return given


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
    return build_settings(type(base), "set", base.model_dump(), given)


def setting_keys(prefix: str, model: type[BaseModel]) -> Iterator[str]:
    """Yield the dotted keys of the fields that a user may set, fields of nested settings included."""
    for name, field in model.model_fields.items():
        if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("derived"):
            continue
        nested = [t for t in (field.annotation, *get_args(field.annotation)) if _is_settings(t)]
        if nested:
            yield from setting_keys(f"{prefix}.{name}", nested[0])
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


def build_settings(model: type[S], section: str, base: Mapping[str, Any], given: Given) -> S:
    """Return the settings of one section: `base`, with what was given changed.

    Raises:
        UsageError: a value that its field does not take; says where it was given.
    """
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
