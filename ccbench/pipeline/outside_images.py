"""Images made by another program: checked whole, then copied into a run folder and scored as any run."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from ccbench.base.environment import collect_environment
from ccbench.base.image_folders import list_images, look_into
from ccbench.base.images import file_stem, open_image, read_image, sha256_pixels
from ccbench.base.seeding import sample_seed
from ccbench.base.text import one_line, printable
from ccbench.data.split import DataSplit
from ccbench.errors import DataError, UsageError
from ccbench.pipeline.session import Session
from ccbench.pipeline.synthesis import find_failure
from ccbench.pipeline.training import describe_split
from ccbench.plugins.registry import check_new_name
from ccbench.protocols.config import OutsideConfig, RunConfig
from ccbench.protocols.protocol import Protocol
from ccbench.runs import RunFolder
from ccbench.runs.record import OUTSIDE, CostRecord, MethodRecord
from ccbench.types import Image, Progress

NOT_STATED = "not stated"


@dataclass(frozen=True)
class OutsideImage:
    """One image that was found and checked. `sha256`: of its pixels."""

    condition_id: str
    file: Path
    sha256: str


@dataclass(frozen=True)
class OutsideRun:
    """Images that were found to be what the protocol asks for, in the order of the test conditions, and their run."""

    config: RunConfig
    split: DataSplit
    images: list[OutsideImage]


def check_outside(
    folder: Path,
    name: str,
    protocol: Protocol,
    session: Session,
    *,
    seed: int = 0,
    limit: int | None = None,
    title: str | None = None,
    licence: str | None = None,
    code: str | None = None,
) -> OutsideRun:
    """Look at every image of a folder before anything is written.

    The folder holds one 8-bit RGB PNG of the protocol's size for each test condition, named `file_stem(id)`.png, and
    no other image; with `limit`, those of the other conditions may be there.

    Args:
        folder: holds the images.
        name: of the row on a board; no installed method has it.
        protocol: gives the test conditions and the size.
        session: gives the test data, and is told of each image.
        seed: of the run that the images belong to.
        limit: the first `limit` conditions only, which makes the run not comparable.
        title: name of the program that made the images.
        licence: of its code.
        code: where its code is.

    Raises:
        UsageError: the name is not free, or a text holds control characters.
        DataError: an image is missing, left over, damaged, lossy or of another size.
    """
    check_new_name(name, "--method")
    for option, text in (("--title", title), ("--licence", licence), ("--code", code)):
        if text is not None and printable(text) != text:
            raise UsageError(f"{option}: found {one_line(text, 80)}, wanted text without control characters")
    split = session.split(protocol, "test", limit)
    ids = [pair.condition.id for pair in split.pairs]
    found = _check_listing(folder, ids, protocol.name)
    left_over = found.keys() - set(map(file_stem, ids))
    if left_over and limit is not None:
        left_over -= {file_stem(pair.condition.id) for pair in session.split(protocol, "test").pairs}
    if left_over:
        raise DataError(
            f"--from-dir {folder}: {len(left_over)} images belong to no test condition, the first is "
            f"{found[min(left_over)].name}; wanted one image a condition and no other"
        )
    images = []
    with session.progress.step("checking images", len(ids)) as step:
        for condition_id in ids:
            file = found[file_stem(condition_id)]
            images.append(OutsideImage(condition_id, file, sha256_pixels(_read_checked(file, protocol.image_size))))
            step.advance()
    lines = "".join(f"{image.condition_id}\t{image.sha256}\n" for image in images)
    settings = OutsideConfig(
        title=title or name,
        licence=licence or NOT_STATED,
        code=code,
        images_sha256=hashlib.sha256(lines.encode()).hexdigest(),
    )
    config = RunConfig(
        method=name, protocol=protocol, settings=settings, training=protocol.training, seed=seed, limit=limit
    )
    return OutsideRun(config, split, images)


def bring_images(run: RunFolder, outside: OutsideRun, session: Session) -> bool:
    """Copy the images that the run still lacks, mark it complete and say so; nothing is generated.

    Returns:
        Whether an image was missing.

    Raises:
        DataError: an image or the test data has changed meanwhile.
        VerificationError: see `RunFolder.complete`.
    """
    fresh = not run.is_sampled()
    with run.recording_status():
        if fresh:
            _copy_missing(run, outside, session.progress)
        run.complete()
    session.note(f"images: {'copied' if fresh else 'skipped, the run has'} all {len(outside.images)}")
    return fresh


def _copy_missing(run: RunFolder, outside: OutsideRun, progress: Progress) -> None:
    conditions = describe_split(outside.split)
    if run.record.conditions not in (None, conditions):
        raise DataError(f"{run.path}: the test data has changed since this run began; restore it or start a new run")
    run.update(
        status="running",
        error=None,
        finished=None,
        method=_describe(outside.config),
        conditions=conditions,
        cost=CostRecord(train_seconds=None),
        env={**collect_environment("cpu"), "device": OUTSIDE, "device_name": None},
    )
    done = {sample.index for sample in run.samples()}
    with progress.step("copying", len(outside.images)) as step:
        for index, image in enumerate(outside.images):
            if index not in done:
                pixels = read_image(image.file)
                if sha256_pixels(pixels) != image.sha256:
                    raise DataError(f"{image.file}: has changed since it was checked; run the command again")
                seed = sample_seed(run.config.seed, image.condition_id)
                run.add_sample(index, image.condition_id, seed, pixels, find_failure(pixels))
            step.advance()


def _describe(config: RunConfig) -> MethodRecord:
    settings = config.settings
    assert isinstance(settings, OutsideConfig)
    return MethodRecord(
        name=config.method,
        title=settings.title,
        licence=settings.licence,
        distribution=OUTSIDE,
        version=NOT_STATED,
    )


def _check_listing(folder: Path, ids: list[str], protocol: str) -> dict[str, Path]:
    """Return the images by stem; refuse a folder in which one is missing, lossy by its name, or there twice."""
    if not folder.is_dir():
        raise DataError(f"--from-dir {folder}: not a folder; give the folder of the images")
    files = list_images(folder)
    if lossy := [path for path in files if path.suffix.lower() != ".png"]:
        raise _not_png(lossy[0], lossy[0].suffix.removeprefix(".").upper())
    found: dict[str, Path] = {}
    for path in files:
        if path.stem in found:
            raise DataError(f"{path}: {found[path.stem].name} has the same name; keep one of the two")
        found[path.stem] = path
    if missing := [condition_id for condition_id in ids if file_stem(condition_id) not in found]:
        left_out = look_into(folder).left_out()
        beside = f" (not read are {left_out})" if left_out else ""
        raise DataError(
            f"--from-dir {folder}: {len(missing)} of {len(ids)} images are missing, the first is "
            f"{file_stem(missing[0])}.png of condition {missing[0]!r}{beside}; "
            f"wanted one PNG a condition, named as `ccbench protocols export-conditions {protocol}` lists them"
        )
    return found


def _read_checked(path: Path, size: int) -> Image:
    file = open_image(path)
    if file.format != "PNG":
        raise _not_png(path, file.format)
    if file.mode != "RGB":
        raise DataError(f"{path}: pixel mode {file.mode}, wanted RGB; save it as 8-bit RGB PNG without transparency")
    height, width = file.pixels.shape[:2]
    if (height, width) != (size, size):
        raise DataError(
            f"{path}: {width}x{height} pixels, wanted {size}x{size}; make the images at the protocol's size, none is "
            "resized here since every way of resizing scores otherwise"
        )
    return file.pixels


def _not_png(path: Path, found: str) -> DataError:
    return DataError(
        f"{path}: found {found}, wanted PNG: lossy compression leaves traces that change the scores, and no other row "
        "has them; save what the generator gives as PNG, converting a lossy file does not help"
    )
