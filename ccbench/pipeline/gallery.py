"""Pictures of a run's first test conditions."""

from pathlib import Path

from ccbench.base.images import read_image
from ccbench.pipeline.session import Session
from ccbench.runs import RunFolder
from ccbench.tables.pictures import GALLERY_ROWS, GalleryRow, draw_gallery


def is_pictured(run: RunFolder) -> bool:
    """Return whether a run has its pictures."""
    return all(picture.is_file() for picture in _pictures(run))


def _pictures(run: RunFolder) -> list[Path]:
    """Return where a run's pictures belong, see `picture_run`."""
    method = run.record.method
    public = run.config.protocol.needs_data_root and not (method is not None and method.control)
    return [run.gallery, run.public_gallery] if public else [run.gallery]


def picture_run(run: RunFolder, session: Session, fresh: bool = False) -> None:
    """Draw the first test conditions of a complete run unless the pictures of these images are there, and say so.

    Where users bring the data there is a second picture, without real images, which may be public. A control has none:
    its images may be the user's own.

    Args:
        fresh: whether an image is new, so that a picture that is there is of others.

    Raises:
        DataError: the test data or an image cannot be read.
    """
    config = run.config
    if is_pictured(run) and not fresh:
        session.note("gallery: skipped, the picture is there")
        return
    pairs = session.split(config.protocol, "test", config.limit_of("test")).pairs
    rows = [
        GalleryRow(pair.condition.mask, pair.image, read_image(file), pair.condition.prompt)
        for pair, file in zip(pairs[:GALLERY_ROWS], run.image_files(), strict=False)
    ]
    title = f"{config.method} on {config.protocol.name}, seed {config.seed}: the first {len(rows)} test conditions"
    for picture in _pictures(run):
        draw_gallery(rows, picture, title, show_real=picture == run.gallery)
    session.note("gallery: done")
