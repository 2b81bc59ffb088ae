"""Finds the methods that installed packages offer through the entry-point group `ccbench.methods`."""

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, distributions
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from ccbench.base.text import one_line, suggest
from ccbench.errors import UsageError
from ccbench.plugins.contract import Method

GROUP = "ccbench.methods"

KEBAB_CASE = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

T = TypeVar("T")

STALE_HINT = "if you just added it, run the editable install again (pip install -e .)"


@dataclass(frozen=True)
class MethodEntry:
    """One installed method; exactly one of `method` and `error` is given.

    Attributes:
        error: one line on why the plugin could not be loaded.
        distribution, version: the package that offers it.
    """

    name: str
    method: Method[Any] | None
    error: str | None
    distribution: str
    version: str


@dataclass(frozen=True)
class Offer:
    """An entry point with the package that offers it.

    Attributes:
        error: why this name cannot be used: it is offered twice.
    """

    point: EntryPoint
    distribution: str
    version: str
    place: str
    error: str | None = None


def list_methods() -> list[MethodEntry]:
    """List every installed method by name, the broken ones with their error. Imports the plugins, not torch."""
    return [_load(offer) for _, offer in sorted(find_offers(GROUP).items())]


def find_entry(name: str, option: str = "--method") -> MethodEntry:
    """Return the entry called `name`, broken or not; `option` is where it was asked for, for the message.

    Raises:
        UsageError: no such method; the nearest name is given.
    """
    offers = find_offers(GROUP)
    if name in offers:
        return _load(offers[name])
    hint = suggest(name, offers, f"installed: {', '.join(sorted(offers)) or 'none'}")
    raise UsageError(f"{option}: unknown method {name!r}; {hint} ({STALE_HINT})")


def check_new_name(name: str, where: str) -> None:
    """Refuse a name that a new method cannot have; `where` begins the message.

    Raises:
        UsageError: it is not kebab-case, or an installed method has it.
    """
    if not KEBAB_CASE.fullmatch(name):
        raise UsageError(f"{where}: found {name!r}, wanted lower case letters, digits and single hyphens: my-method")
    if name in (offers := find_offers(GROUP)):
        owner = f"{offers[name].distribution} {offers[name].version}"
        raise UsageError(f"{where}: {name!r} is the name of a method that {owner} offers; choose another name")


def find_method(name: str, option: str = "--method") -> Method[Any]:
    """Return the method called `name`; `option` as for `find_entry`.

    Raises:
        UsageError: as `find_entry`, or the plugin is broken.
    """
    entry = find_entry(name, option)
    if entry.method is None:
        source = f"{entry.distribution} {entry.version}"
        raise UsageError(f"{option}: {name!r} of {source} cannot be used: {entry.error} (repair or uninstall it)")
    return entry.method


@functools.cache
def find_offers(group: str) -> Mapping[str, Offer]:
    """Return what installed packages offer in an entry-point group, by name; one offered twice has an error.

    Packages are looked at once a process: `find_offers.cache_clear()` lets those be found that came since.
    """
    found: dict[str, Offer] = {}
    for offer in _scan(group):
        name = offer.point.name
        other = found.setdefault(name, offer)
        if other.place != offer.place or other.distribution != offer.distribution:
            found[name] = replace(
                other,
                error=f"offered twice: by {other.distribution} {other.version} in {other.place} and by "
                f"{offer.distribution} {offer.version} in {offer.place}; uninstall one of them",
            )
        elif other.point.value != offer.point.value:
            found[name] = replace(
                other,
                error=f"offered twice by {offer.distribution} {offer.version}: {other.point.value} and "
                f"{offer.point.value}; give one another name",
            )
    return MappingProxyType(found)


def _scan(group: str) -> Iterator[Offer]:
    # Not importlib.metadata.entry_points(): of two distributions with one name it silently drops the second.
    for distribution in distributions():
        if points := distribution.entry_points.select(group=group):
            about = distribution.metadata  # parsed at each access
            name = re.sub(r"[-_.]+", "-", about["Name"]).lower()
            place = str(Path(str(distribution.locate_file(""))).resolve())
            yield from (Offer(point, name, about["Version"], place) for point in points)


def load_offer(offer: Offer, kind: type[T]) -> tuple[T | None, str | None]:
    """Return what an entry point names, or one line on why it is no `kind`."""
    if offer.error is not None:
        return None, offer.error
    try:
        loaded = offer.point.load()
    except Exception as problem:  # noqa: BLE001 - a plugin may raise anything when imported, and is listed with it
        return None, one_line(f"{type(problem).__name__}: {problem}")
    if not isinstance(loaded, kind):
        return None, f"{offer.point.value} is a {type(loaded).__name__}, wanted a ccbench {kind.__name__}"
    return loaded, None


def _load(offer: Offer) -> MethodEntry:
    method, error = load_offer(offer, Method)
    if method is not None and method.info.name != offer.point.name:
        error = f"its card says {method.info.name!r} and its entry point {offer.point.name!r}; they must be equal"
        method = None
    return MethodEntry(offer.point.name, method, error, offer.distribution, offer.version)
