"""What an ablation compares: the variants of a method, from its modules, a TOML file, or values to vary."""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from ccbench.base.model_errors import first_problem
from ccbench.errors import UsageError
from ccbench.metrics import METRICS
from ccbench.plugins.contract import Module, Settings
from ccbench.plugins.registry import find_method
from ccbench.protocols.config import RunConfig, resolve_config
from ccbench.protocols.given_settings import flatten
from ccbench.protocols.protocol import find_protocol

FULL = "full"
"""The variant that others are compared with, unless a plan names another."""


class Claim(Settings):
    """What is said of a module, the variant that lacks it, and the metrics that would show it."""

    module: str
    says: str
    without: str
    metrics: tuple[str, ...] = Field(min_length=1)


class Ablation(Settings):
    """The plan of one ablation.

    Attributes:
        title: of its page.
        settings: of every variant, dotted key -> value.
        quick: runs are quick ones, see `resolve_config`.
        variants: name -> the settings in which it differs, in the order of the table; the first is the base that every
            other one is compared with.
    """

    title: str
    method: str
    protocol: str
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1)
    settings: dict[str, Any] = Field(default_factory=dict)
    quick: bool = False
    variants: dict[str, dict[str, Any]]
    claims: tuple[Claim, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> "Ablation":
        if len(self.variants) < 2:
            raise ValueError(f"{len(self.variants)} variants, wanted two or more")
        if len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise ValueError(f"seeds {self.seeds}, wanted different numbers from 0 on")
        for claim in self.claims:
            if claim.without not in list(self.variants)[1:]:
                raise ValueError(f"claim of {claim.module}: no variant {claim.without!r} beside the first")
            if unknown := [metric for metric in claim.metrics if metric not in METRICS]:
                raise ValueError(f"claim of {claim.module}: no metric {unknown[0]!r}; known: {', '.join(METRICS)}")
        return self

    @property
    def base(self) -> str:
        """The variant that every other one is compared with."""
        return next(iter(self.variants))

    def configs(self) -> dict[str, list[RunConfig]]:
        """Return the configuration of every run, variant -> one for each seed.

        Raises:
            UsageError: an unknown method, protocol or key, a wrong value, or two variants that are one.
        """
        method, protocol = find_method(self.method), find_protocol(self.protocol)
        settings = _texts(self.settings)
        found = {
            name: [
                resolve_config(method, protocol, sets=[*settings, *_texts(changes)], seed=seed, quick=self.quick)
                for seed in self.seeds
            ]
            for name, changes in self.variants.items()
        }
        names: dict[str, str] = {}
        for name, configs in found.items():
            if (same := names.setdefault(configs[0].config_hash, name)) != name:
                raise UsageError(f"variants {same!r} and {name!r} have the same settings; leave one out")
        return found


def plan_of_modules(method: str, protocol: str) -> Ablation:
    """Return the plan that a method's card gives: the full method, without each of its modules, and without all.

    Raises:
        UsageError: the method is unknown or names no modules.
    """
    modules: Sequence[Module] = find_method(method).modules
    if not modules:
        raise UsageError(f"--method {method}: its card names no modules; give a FILE of variants, or --vary KEY=A,B")
    variants: dict[str, dict[str, Any]] = {FULL: {}}
    variants |= {f"-{module.name}": dict(module.off) for module in modules}
    if len(modules) > 1:
        together = {key: value for module in modules for key, value in module.off.items()}
        variants["-both" if len(modules) == 2 else "-all"] = together
    claims = [
        Claim(module=module.name, says=module.claim, without=f"-{module.name}", metrics=module.metrics)
        for module in modules
    ]
    return Ablation(title=f"{method}: modules", method=method, protocol=protocol, variants=variants, claims=claims)


def plan_of_values(method: str, protocol: str, varied: Sequence[str], cross: bool = False) -> Ablation:
    """Return the plan of `KEY=VALUE,VALUE,...` texts: each value beside the full method, or all combinations.

    Args:
        cross: every combination of the values of several keys; else one thing is changed at a time. A value that the
            full method has is not a variant of its own.

    Raises:
        UsageError: a text of another form, an unknown key, or a value that its field does not take.
    """
    keys = dict(_split_values(text) for text in varied)
    if len(keys) < len(varied):
        raise UsageError("--vary: a key is named twice; give its values in one list")
    if cross:
        changes = [dict(zip(keys, values, strict=True)) for values in product(*keys.values())]
    else:
        changes = [{key: value} for key, values in keys.items() for value in values]
    known, frozen = find_method(method), find_protocol(protocol)
    variants: dict[str, dict[str, Any]] = {FULL: {}}
    full = resolve_config(known, frozen).config_hash
    for change in changes:
        if resolve_config(known, frozen, sets=_texts(change)).config_hash != full:
            variants[", ".join(f"{key}={value}" for key, value in change.items())] = change
    if len(variants) < 2:
        raise UsageError(f"--vary {' '.join(varied)}: the full method has these values; give others")
    title = f"{method}: {', '.join(keys)}"
    return Ablation(title=title, method=method, protocol=protocol, variants=variants)


def read_plan(path: Path) -> Ablation:
    """Return the plan of a TOML file; its keys are the fields of `Ablation`.

    Raises:
        UsageError: it cannot be read, or does not hold a plan.
    """
    try:
        return Ablation.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read ({error}); give a TOML file of variants") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not TOML: {error}") from error
    except ValidationError as error:
        raise UsageError(f"{path}: {first_problem(error)}") from error


def make_quick(plan: Ablation) -> Ablation:
    """Return the plan for a laptop: one seed, quick runs."""
    return plan.model_copy(update={"seeds": plan.seeds[:1], "quick": True})


def _split_values(text: str) -> tuple[str, list[str]]:
    key, equals, values = text.partition("=")
    found = [value.strip() for value in values.split(",")]
    if not equals or not key.strip() or not all(found):
        raise UsageError(f"--vary {text}: wanted KEY=VALUE,VALUE,..., such as taam.mode=A,B,C,D")
    return key.strip(), found


def _texts(changes: Mapping[str, Any]) -> list[str]:
    """Return settings as the `key=value` texts that `resolve_config` reads."""
    return [f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in flatten(changes)]


def plan_name(plan: Ablation) -> str:
    """Return a name for folders: the plan's title in ASCII letters, digits, `.`, `=` and `-`."""
    return re.sub(r"[^A-Za-z0-9.=]+", "-", plan.title).strip("-")
