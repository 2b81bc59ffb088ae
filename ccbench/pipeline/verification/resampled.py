"""Whether a run's images are what its checkpoint gives: some are sampled again and compared."""

from collections.abc import Iterator

import numpy as np
from pydantic import BaseModel

from ccbench.base.images import read_image
from ccbench.base.seeding import derive_seed
from ccbench.errors import UsageError
from ccbench.pipeline.session import Session
from ccbench.pipeline.synthesis import sample_again
from ccbench.pipeline.verification.checks import Check
from ccbench.plugins.contract import Settings
from ccbench.plugins.registry import find_method
from ccbench.protocols.config import RunConfig, config_of, usual_config
from ccbench.runs import RunFolder
from ccbench.types import Image

RESAMPLED = 4
"""Images that are sampled again unless another number is asked for."""

GREY_LEVELS = 1.0
"""Mean absolute difference, of 0..255, up to which an image is the checkpoint's: what a method's contract allows."""

_WHAT = "images sampled again"


def resample(run: RunFolder, k: int, session: Session) -> list[Check]:
    """Sample `k` of a complete run's conditions again from its checkpoint, and compare with its images.

    Which ones follows from the run's id and images, so that whoever verifies samples the same. One check an image, in
    the order of the conditions; a single one that says why, where nothing can be sampled.

    Raises:
        DataError: the test data are missing or changed.
        MissingError: the backbone is not there.
        VerificationError: the checkpoint is not the recorded one.
    """
    samples = run.samples()
    if reason := _refusal(run):
        return [Check(what=_WHAT, state="not checked", detail=f"not resampled: {reason}")]
    seed = derive_seed("resample", run.record.run_id, run.samples_sha256())
    drawn = np.random.default_rng(seed).permutation(len(samples))[:k]
    numbers = sorted(int(number) for number in drawn)
    again = sample_again(run, session, numbers) if numbers else []
    chosen = [samples[number] for number in numbers]
    return [
        compare_images(f"{_WHAT}: {sample.condition_id}", read_image(run.path / sample.file), image)
        for sample, image in zip(chosen, again, strict=True)
    ]


def compare_images(what: str, held: Image, again: Image) -> Check:
    """Return whether an image (H, W, 3) is the one that was sampled again, and by how many grey levels it differs."""
    if held.shape != again.shape:
        return Check(what=what, state="drift", detail=f"found {held.shape}, wanted {again.shape}")
    moved = float(np.abs(held.astype(np.int16) - again).mean())
    if not moved:
        return Check(what=what, state="match")
    return Check(
        what=what,
        state="within tolerance" if moved <= GREY_LEVELS else "drift",
        detail=f"differs by {moved:.3g} grey levels on average (tolerance {GREY_LEVELS:g})",
    )


def _refusal(run: RunFolder) -> str | None:
    """Return why nothing can be sampled from a run's checkpoint; None where it can."""
    method = run.record.method
    if method is None or method.weights_sha256 is None:
        return "no checkpoint"
    try:
        find_method(run.config.method)
        named = list(_named(run.config))
    except UsageError as error:
        return str(error)
    return f"{named[0]}; nothing that a run names is loaded or fetched" if named else None


def _named(config: RunConfig) -> Iterator[str]:
    """Yield the settings that are free text and not the method's own: they may name files, or a repository."""
    for one in (config, config_of(config)):
        if one is not None:
            yield from _free_texts(one.settings, usual_config(one).settings)


def _free_texts(settings: Settings, plain: Settings, prefix: str = "method.") -> Iterator[str]:
    for name, field in type(settings).model_fields.items():
        value, usual = getattr(settings, name), getattr(plain, name, None)
        if isinstance(value, BaseModel) and isinstance(usual, Settings):
            yield from _free_texts(value, usual, f"{prefix}{name}.")  # type: ignore[arg-type]
        elif field.annotation in (str, str | None) and value != usual and f"{prefix}{name}" != "method.of":
            yield f"{prefix}{name} is {value!r}"
