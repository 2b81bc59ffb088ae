"""The contract test that every method plugin must pass; usable from pytest and from the command line."""

import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from ccbench.base.assets import find_backbone
from ccbench.base.files import make_folder
from ccbench.base.seeding import sample_seed
from ccbench.base.text import one_line
from ccbench.data.split import open_split
from ccbench.errors import DataError, MissingError
from ccbench.plugins.contract import (
    Generator,
    LoadContext,
    Method,
    OfMethodConfig,
    RealData,
    TrainContext,
    TrainingSettings,
    TrainReport,
)
from ccbench.plugins.registry import list_methods
from ccbench.protocols.protocol import find_protocol
from ccbench.types import Condition, Image, PairSequence, RealPair

STEPS = 2
"""Training and denoising steps of the check: enough to run every line, too few to be good."""

GREY_LEVELS = 1
"""Largest difference that another batch size or order may make."""

HEAVY_MODULES = ("torch", "diffusers", "transformers", "pandas")


@dataclass(frozen=True)
class CheckResult:
    """One check of the contract: its name, whether it held, and what was found when it did not.

    Attributes:
        traceback: of what the plugin raised, for its author; empty if it raised nothing.
    """

    name: str
    passed: bool
    detail: str = ""
    traceback: str = ""


def check_method(
    method: Method[Any],
    *,
    workdir: Path,
    backbone: str = "sd-mini",
    conditions: Sequence[Condition] | None = None,
    device: str = "cpu",
) -> list[CheckResult]:
    """Train a method for two steps on four phantoms, sample it, and check what `ccbench.plugins.contract` promises.

    A control is checked too: it is given the phantoms as its real images, need not train where it names no training,
    and one whose card says `seeded=False` must give the same image with another seed.

    Its settings are those that `phantom-128` freezes: the defaults may be the paper's, too large for a check.

    Args:
        method: the plugin's METHOD.
        workdir: empty folder for the checkpoint.
        backbone: shipped name, folder or hub id.
        conditions: at least three of one square size, sampled instead of four test phantoms.
        device: where to run; independence of the batch is promised for float32 on the CPU.

    Returns:
        One result a check, in order. A check that cannot run because an earlier one failed is left out.
    """
    results = [
        _check("no heavy import", lambda: _imports_nothing_heavy(method)),
        _check("unknown key", lambda: _rejects_unknown_key(method)),
    ]
    trial = _Trial(method, workdir, find_backbone(backbone), conditions, device)
    for name, stage in (("train", trial.train), ("load", trial.load), ("count", trial.count)):
        results.append(_check(name, stage))
        if not results[-1].passed:
            return results
    later: dict[str, Callable[[], str]] = {
        "dtype": trial.dtype,
        "size": trial.size,
        "same seed": trial.same_seed,
        "other seed": trial.other_seed,
        "order": trial.order,
        "batch size": trial.batch_size,
        "one at a time": trial.one_at_a_time,
    }
    if "prompt" in method.info.needs:
        later["missing prompt"] = lambda: trial.rejects(replace(trial.conditions[1], prompt=""))
    if "background" in method.info.needs:
        later["missing background"] = lambda: trial.rejects(replace(trial.conditions[1], background=None))
    return results + [_check(name, function) for name, function in later.items()]


def assert_method(method: Method[Any], *, workdir: Path, backbone: str = "sd-mini", device: str = "cpu") -> None:
    """Run `check_method`; raise `AssertionError` with every check that failed."""
    results = check_method(method, workdir=workdir, backbone=backbone, device=device)
    failed = [f"{result.name}: {result.detail}" for result in results if not result.passed]
    if failed:
        raise AssertionError(f"method {method.info.name!r} breaks the contract: {'; '.join(failed)}")


def _method_for(control: Method[Any]) -> Method[Any]:
    """Return the first installed method that needs what a control of methods needs."""
    for entry in list_methods():
        method = entry.method
        if method and not method.info.control and set(control.info.needs) <= set(method.info.needs):
            return method
    raise MissingError(f"{control.info.name}: samples another method, and none is installed that needs what it needs")


class _Trial:
    """A method under test. Each check returns what is wrong, or the empty string."""

    def __init__(
        self, method: Method[Any], workdir: Path, backbone: str, conditions: Sequence[Condition] | None, device: str
    ) -> None:
        phantom = find_protocol("phantom-128")
        self.method = method
        self.pairs: PairSequence = open_split(phantom, "train", None, 4).pairs
        if conditions is None:
            test = [pair.condition for pair in open_split(phantom, "test", None, 4).pairs]
            conditions = test
            if "background" in method.info.needs:
                conditions = [replace(c, background=self.pairs[i].image) for i, c in enumerate(test)]
        self.conditions = list(conditions)
        self.seeds = [sample_seed(0, condition.id) for condition in self.conditions]
        sampled = _method_for(method) if issubclass(method.config, OfMethodConfig) else method
        frozen = phantom.with_method(sampled).frozen_settings(sampled.info.name, sampled.config.model_fields)
        few = {**frozen, "num_inference_steps": STEPS}
        few = {key: value for key, value in few.items() if key in sampled.config.model_fields}
        given = few if sampled is method else {"of": sampled.info.name, "of_settings": few}
        self.config = method.config.model_validate(given)
        self.workdir, self.backbone, self.device = workdir, backbone, device
        self.image_size = self.conditions[0].mask.shape[0]
        self.real: RealData | None = None
        if method.info.control:
            sized = phantom.model_copy(update={"image_size": self.image_size})
            train = open_split(sized, "train", None, len(self.conditions)).pairs
            images = [pair.image for pair in open_split(sized, "test", None, len(self.conditions)).pairs]
            self.real = RealData(train, list(map(RealPair, images, self.conditions)), seed=0)
        self.generator: Generator
        self.images: list[Image]

    def train(self) -> str:
        make_folder(self.workdir)
        report = self.method.train(
            TrainContext(
                pairs=self.pairs,
                config=self.config,
                training=TrainingSettings(max_steps=STEPS, batch_size=2, checkpoint_every=STEPS),
                backbone=self.backbone,
                image_size=self.pairs[0].image.shape[0],
                checkpoint=self.workdir,
                seed=0,
                device=self.device,
            )
        )
        if not isinstance(report, TrainReport):
            return f"train returned a {type(report).__name__}, wanted a TrainReport"
        if self.method.train_ref is None:
            return ""
        if report.steps != STEPS:
            return f"the report says {report.steps} steps, wanted {STEPS}"
        return "" if any(self.workdir.iterdir()) else "train left nothing in the checkpoint folder"

    def load(self) -> str:
        self.generator = self._load(batch_size=len(self.conditions))
        return ""

    def count(self) -> str:
        self.images = self.generator.generate(self.conditions, self.seeds)
        if not isinstance(self.images, list):
            return f"generate returned a {type(self.images).__name__}, wanted a list"
        wanted = len(self.conditions)
        return "" if len(self.images) == wanted else f"{len(self.images)} images for {wanted} conditions"

    def dtype(self) -> str:
        found = {str(getattr(image, "dtype", type(image).__name__)) for image in self.images}
        return "" if found == {"uint8"} else f"found {', '.join(sorted(found))}, wanted uint8"

    def size(self) -> str:
        wanted = (self.image_size, self.image_size, 3)
        found = {np.shape(image) for image in self.images}
        return "" if found == {wanted} else f"found {sorted(found)}, wanted {wanted}"

    def same_seed(self) -> str:
        for name, generator in (("a second call", self.generator), ("a fresh load", self._load(len(self.conditions)))):
            again = generator.generate(self.conditions, self.seeds)
            if any(not np.array_equal(a, b) for a, b in zip(self.images, again, strict=True)):
                return f"{name} with the same seeds gives other bytes"
        return ""

    def other_seed(self) -> str:
        seeds = [self.seeds[0], *(seed + 1 for seed in self.seeds[1:])]
        others = self.generator.generate(self.conditions, seeds)
        if (worst := _difference(self.images[:1], others[:1])) > GREY_LEVELS:
            return f"image 0 kept its seed and changed by {worst} grey levels with the seeds of the others"
        same = [i for i in range(1, len(seeds)) if np.array_equal(self.images[i], others[i])]
        if not self.method.info.seeded:
            return "" if len(same) == len(seeds) - 1 else "the card says seeded=False and another seed changes images"
        return f"image {same[0]} is the same with another seed" if same else ""

    def order(self) -> str:
        turned = self.generator.generate(self.conditions[::-1], self.seeds[::-1])[::-1]
        return _too_far(_difference(self.images, turned), "in reverse order")

    def batch_size(self) -> str:
        images = self._load(batch_size=1).generate(self.conditions, self.seeds)
        return _too_far(_difference(self.images, images), "loaded with batch_size=1")

    def one_at_a_time(self) -> str:
        images = [self.generator.generate([c], [s])[0] for c, s in zip(self.conditions, self.seeds, strict=True)]
        return _too_far(_difference(self.images, images), "asked for one by one")

    def rejects(self, lacking: Condition) -> str:
        try:
            self.generator.generate([self.conditions[0], lacking], self.seeds[:2])
        except DataError as error:
            return "" if lacking.id in str(error) else f"the error does not name the condition {lacking.id!r}: {error}"
        return "no DataError was raised for a condition that lacks it"

    def _load(self, batch_size: int) -> Generator:
        return self.method.load(
            LoadContext(
                config=self.config,
                backbone=self.backbone,
                image_size=self.image_size,
                checkpoint=self.workdir,
                device=self.device,
                batch_size=batch_size,
                real=self.real,
            )
        )


def _check(name: str, function: Callable[[], str]) -> CheckResult:
    try:
        detail = function()
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything, and that is the finding
        return CheckResult(name, False, f"raised {type(error).__name__}: {one_line(error)}", traceback.format_exc())
    return CheckResult(name, not detail, detail)


def _imports_nothing_heavy(method: Method[Any]) -> str:
    package = method.config.__module__  # with it Python imports every package around it
    code = f"import sys, {package}; print(*(set({HEAVY_MODULES!r}) & set(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        return f"import {package} failed: {done.stderr.strip().splitlines()[-1]}"
    return f"import {package} imports {', '.join(done.stdout.split())}" if done.stdout.strip() else ""


def _rejects_unknown_key(method: Method[Any]) -> str:
    try:
        method.config.model_validate({"no_such_key": 1})
    except ValidationError:
        return ""
    return "the configuration accepts an unknown key; derive it from Settings and leave extra='forbid'"


def _difference(first: Sequence[Image], second: Sequence[Image]) -> int:
    """Return the largest difference in grey levels; 256 when the sets do not have one shape."""
    if len(first) != len(second) or any(a.shape != b.shape for a, b in zip(first, second, strict=True)):
        return 256
    return max(int(np.abs(a.astype(np.int16) - b).max()) for a, b in zip(first, second, strict=True))


def _too_far(difference: int, how: str) -> str:
    if difference <= GREY_LEVELS:
        return ""
    return f"{how} the images differ by {difference} grey levels, allowed {GREY_LEVELS}"
