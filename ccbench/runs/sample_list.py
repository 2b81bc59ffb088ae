"""Images of one kind in a run folder: a folder of PNG, and a JSON Lines file with a line for each."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from ccbench.base.files import append_line, make_folder, read_data, read_text, write_atomic
from ccbench.base.images import file_stem, sha256_file, write_png
from ccbench.base.model_errors import first_problem
from ccbench.base.text import json_line
from ccbench.errors import DataError, VerificationError
from ccbench.runs.inside import inside, is_there
from ccbench.runs.record import Failure, Sample
from ccbench.types import Image


class SampleList:
    """Images of one kind in a run folder. `lines`: the JSON Lines file. `folder`: of the images. Neither is a link."""

    def __init__(self, run: Path, lines: str, folder: str) -> None:
        self.lines, self.folder = inside(run, lines), inside(run, folder)

    def path(self, index: int, condition_id: str, copy: int = 0) -> Path:
        """Return where the image of one condition belongs; sorted names are the order of the conditions."""
        suffix = f"-{copy}" if copy else ""
        return self.folder / f"{index:04d}-{file_stem(condition_id)}{suffix}.png"

    def add(
        self, index: int, condition_id: str, seed: int, image: Image, failure: Failure | None, copy: int = 0
    ) -> Sample:
        """Write one image and then its line, so that a line without its image cannot be."""
        path = self.path(index, condition_id, copy)
        make_folder(path.parent)
        sample = Sample(
            index=index,
            condition_id=condition_id,
            copy=copy,
            seed=seed,
            file=path.relative_to(self.lines.parent).as_posix(),
            sha256=write_png(path, image),
            failure=failure,
        )
        append_line(self.lines, json_line(sample.model_dump(mode="json", by_alias=True)))
        return sample

    def read(self) -> list[Sample]:
        """Return the samples whose image file exists, in the order of conditions and copies.

        Raises:
            DataError: a line other than a torn last one cannot be read, or names a file of another folder or a link.
        """
        run, found = self.lines.parent, dict[tuple[int, int], Sample]()
        text = read_text(self.lines) if is_there(run, self.lines.name) else ""
        for number, line in enumerate(text.split("\n")[:-1], start=1):  # what follows the last line feed is torn
            try:
                sample = Sample.model_validate_json(line)
                if not sample.file.startswith(f"{self.folder.name}/"):
                    raise ValueError(f"file: found {sample.file}, wanted one in {self.folder.name}/")
            except ValueError as error:
                raise DataError(
                    f"{self.lines}:{number}: not a sample ({first_problem(error)}); remove the line and run the "
                    "command again"
                ) from error
            if is_there(run, sample.file):
                found[sample.index, sample.copy_index] = sample
        return [found[key] for key in sorted(found)]

    def file(self, sample: Sample) -> Path:
        """Return the file of a sample's image."""
        return self.lines.parent / sample.file

    def check(self, samples: Sequence[Sample]) -> None:
        """Hash each image again.

        Raises:
            VerificationError: an image is not the one that was recorded.
        """
        for sample in samples:
            if sha256_file(file := self.file(sample)) != sample.sha256:
                raise VerificationError(f"{file}: not the image that was recorded; delete it and run the command again")

    def drop_torn_line(self) -> None:
        """Remove a last line that was not written to its end."""
        data = read_data(self.lines) if is_there(self.lines.parent, self.lines.name) else b""
        if data and not data.endswith(b"\n"):
            write_atomic(self.lines, data[: data.rfind(b"\n") + 1])


def digest(samples: Sequence[Sample]) -> str:
    """Return sha256 hex over the images of samples, in their order."""
    return hashlib.sha256("".join(sample.sha256 for sample in samples).encode()).hexdigest()
