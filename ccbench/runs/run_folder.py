"""The folder of one run: opened and locked, or looked at; what commands ask of it and add to it."""

import hashlib
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING

from ccbench.base.environment import now
from ccbench.base.files import write_json
from ccbench.base.folder_files import copy_folder, is_locked, lock_folder, remove_temporaries
from ccbench.base.images import sha256_file
from ccbench.base.process_ranks import process_rank
from ccbench.base.text import one_line
from ccbench.errors import UsageError, VerificationError
from ccbench.plugins.contract import OfMethodConfig
from ccbench.protocols.config import OutsideConfig, RunConfig, restore_config, usual_config
from ccbench.protocols.row_names import variant_hash
from ccbench.runs.heartbeat import BEAT_EVERY, BeatingProgress
from ccbench.runs.inside import inside, is_there, plain_files
from ccbench.runs.record import Failure, RunRecord, Sample, StepRecord
from ccbench.runs.record_file import RECORD, await_record, difference, new_record, read_record
from ccbench.runs.sample_list import SampleList, digest
from ccbench.runs.score_files import read_per_sample, read_scorecard, scored_files, write_scorecard
from ccbench.runs.scorecard import Scorecard, ScoredImages
from ccbench.types import Image, Progress

if TYPE_CHECKING:
    import pandas as pd


class RunFolder:
    """One run on disk. `open` creates or resumes it and locks it; `read` looks at an existing one.

    Of several processes that train together the first has the folder; the others follow: they wait for its record,
    lock nothing, and keep their own changes of it in memory.

    Attributes:
        following: whether this is not the first process.
        path: the folder.
        checkpoint: what training left.
        gallery: PNG.
        public_gallery: PNG without real images, drawn where the user brings the data: a board shows no other.
        report: HTML, the page of this run alone; a quick run has one.
        nearest_training: PNG of the images nearest to a training image, beside it; written with the scores.
    """

    def __init__(self, path: Path, record: RunRecord, lock: IO[bytes] | None) -> None:
        self.path = path
        self.checkpoint = inside(path, "checkpoint")
        self.gallery = path / "gallery.png"
        self.public_gallery = path / "gallery-public.png"
        self.report = path / "report.html"
        self.nearest_training = path / "nearest-training.png"
        self.following = process_rank() > 0
        self._samples = SampleList(path, "samples.jsonl", "images")
        self._copies = SampleList(path, "copies.jsonl", "copies")
        self._training = SampleList(path, "training-samples.jsonl", "training-images")
        self._record = record
        self._lock = lock
        self._config: RunConfig | None = None
        self._beat = 0.0

    @staticmethod
    def is_there(path: Path) -> bool:
        """Return whether a run has begun in a folder."""
        return is_there(path, RECORD)

    @classmethod
    def open(cls, path: Path, config: RunConfig | None = None) -> "RunFolder":
        """Create the run of `config` in `path`, or resume it; without `config`, resume whatever run is there.

        Raises:
            UsageError: the folder holds another configuration or other files, cannot be written, or is in use.
            DataError: its record cannot be read, or what should be a file or folder of it is a link.
        """
        if process_rank() > 0:
            run = cls(path, await_record(path, config), None)
            run._config = config
            return run
        if not cls.is_there(path):
            if config is None:
                raise UsageError(f"{path}: found no run there (no run.json); give the folder of a run")
            _check_free(path)
        lock = lock_folder(path)
        try:
            remove_temporaries(path)
            if config is None or cls.is_there(path):
                run = cls(path, read_record(path), lock)
                if config is not None and run.record.config_hash != config.config_hash:
                    raise UsageError(f"--output {path}: holds {difference(run.record, config)}; choose another folder")
                if run.record.status == "running":  # its process was killed: the lock was free
                    run.update(status="interrupted")
                for one in (run._samples, run._copies, run._training):
                    one.drop_torn_line()
            else:
                run = cls(path, new_record(config), lock)
                run.update()
        except BaseException:
            lock.close()
            raise
        run._config = config
        return run

    @classmethod
    def read(cls, path: Path) -> "RunFolder":
        """Look at an existing run without locking it.

        Raises:
            UsageError: there is no run.
            DataError: its record cannot be read.
        """
        if not cls.is_there(path):
            raise UsageError(f"{path}: found no run there (no run.json); give the folder of a run")
        return cls(path, read_record(path), None)

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the lock; another command may then use the folder."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @property
    def record(self) -> RunRecord:
        """The record as last written."""
        return self._record

    @property
    def config(self) -> RunConfig:
        """The run's configuration; rebuilt from the record when the run was opened without one."""
        if self._config is None:
            self._config = restore_config(self._record.config)
        return self._config

    @property
    def state(self) -> str:
        """The record's status; a running one whose folder nobody holds, for its process was killed, is interrupted."""
        status = self._record.status
        return "interrupted" if status == "running" and not is_locked(self.path) else status

    def update(self, **changes: object) -> None:
        """Replace fields of the record and write it; an unknown field is an error of the caller."""
        fields = {name: getattr(self._record, name) for name in RunRecord.model_fields} | changes
        runs = fields["status"] == "running"
        living = {"heartbeat": now() if runs else None, "doing": fields["doing"] if runs else None}
        record = RunRecord.model_validate({**fields, **living})
        if not self.following:
            write_json(self.path / RECORD, record.model_dump(mode="json"))
        self._record, self._beat = record, time.monotonic()

    def beating(self, progress: Progress) -> Progress:
        """Return progress that also renews the record's heartbeat."""
        return BeatingProgress(progress, self._renew)

    def _renew(self, doing: StepRecord) -> None:
        if self._record.status == "running" and time.monotonic() - self._beat > BEAT_EVERY:
            self.update(doing=doing)

    def fail(self, error: BaseException) -> None:
        """Mark the run failed, with its error; the same command again still resumes it."""
        self.update(status="failed", error=one_line(f"{type(error).__name__}: {error}"), finished=now())

    @contextmanager
    def recording_status(self) -> Iterator[None]:
        """Mark the run failed when an exception passes, interrupted when a signal's does, else no longer running."""
        try:
            yield
        except Exception as error:
            self.fail(error)
            raise
        except BaseException:
            self._rest("interrupted")
            raise
        self._rest("started")

    def _rest(self, status: str) -> None:
        if self._record.status == "running":
            self.update(status=status)

    def image_path(self, index: int, condition_id: str) -> Path:
        """Return where the image of one condition belongs; sorted names are the order of the conditions."""
        return self._samples.path(index, condition_id)

    def add_sample(
        self, index: int, condition_id: str, seed: int, image: Image, failure: Failure | None = None, copy: int = 0
    ) -> Sample:
        """Write one synthetic image and then its line, so that a line without its image cannot be.

        A `copy` from 1 on is another image of the condition, kept apart: only diversity is measured on it.
        """
        return (self._copies if copy else self._samples).add(index, condition_id, seed, image, failure, copy)

    def add_training_sample(
        self, index: int, condition_id: str, seed: int, image: Image, failure: Failure | None = None
    ) -> Sample:
        """Write the image of one training condition, kept apart: segmenters are trained on it, nothing is scored."""
        return self._training.add(index, condition_id, seed, image, failure)

    def samples(self) -> list[Sample]:
        """Return the samples whose image file exists, in the order of their conditions.

        Raises:
            DataError: a line other than a torn last one cannot be read.
        """
        return self._samples.read()

    def copies(self) -> list[Sample]:
        """Return the further images of conditions, as `samples`, in the order of conditions and copies."""
        return self._copies.read()

    def training_samples(self) -> list[Sample]:
        """Return the images of training conditions, as `samples`."""
        return self._training.read()

    def image_files(self) -> list[Path]:
        """Return the files of the synthetic images in the order of their conditions."""
        return [self.path / sample.file for sample in self.samples()]

    def copy_files(self) -> dict[int, list[Path]]:
        """Return the files of the further images of conditions, by the conditions' numbers."""
        groups = groupby(self.copies(), key=lambda sample: sample.index)
        return {index: [self.path / sample.file for sample in group] for index, group in groups}

    def training_files(self) -> dict[str, Path]:
        """Return the images of training conditions by the conditions' ids, in their order, each hashed again.

        Raises:
            VerificationError: an image is not the one that was recorded.
        """
        samples = self.training_samples()
        self._training.check(samples)
        return {sample.condition_id: self.path / sample.file for sample in samples}

    def picture(self, path: Path) -> Path | None:
        """Return a picture of the run folder, None where it is not there; no record holds its hash.

        Raises:
            DataError: it is a link, or no plain file.
        """
        return path if is_there(self.path, path.name) else None

    def is_trained(self) -> bool:
        """Return whether training is finished and what it left is there."""
        return self.record.training is not None and self.checkpoint.is_dir()

    def is_sampled(self) -> bool:
        """Return whether every condition has its image; `complete` then checks them."""
        return self.record.conditions is not None and len(self.samples()) == self.record.conditions.n

    def complete(self) -> None:
        """Recount the images, hash each again, count failures and mark the run complete.

        Raises:
            VerificationError: an image is missing or is not the one that was recorded.
        """
        samples, wanted = self.samples(), self.record.conditions.n if self.record.conditions else 0
        if len(samples) != wanted or [one.index for one in samples] != list(range(len(samples))) or not wanted:
            raise VerificationError(
                f"{self.path}: found {len(samples)} images of {wanted}; run the command again to resume"
            )
        self._samples.check(samples)
        failures = Counter(sample.failure for sample in samples if sample.failure)
        copies = len(samples) - len({sample.sha256 for sample in samples})
        counts = {"black": failures["black"], "constant": failures["constant"], "duplicate": copies}
        if self.record.status != "complete" or self.record.failures != counts:
            self.update(status="complete", error=None, failures=counts, finished=now())

    def scorecard(self) -> Scorecard | None:
        """Return the scorecard; None when there is none, it is of an older version or of other images.

        Raises:
            DataError: the file cannot be read.
        """
        return read_scorecard(self.path, self.samples_sha256())

    def per_sample(self) -> "pd.DataFrame":
        """Return the scorecard's table of one row an image.

        Raises:
            DataError: it is missing or cannot be read.
        """
        return read_per_sample(self.path)

    def write_scorecard(self, scored: ScoredImages) -> None:
        """Write the scorecard and its per-sample table, tied to the images it was computed from."""
        write_scorecard(self.path, self.record.run_id, self.samples_sha256(), scored)

    def scored_files(self) -> dict[str, tuple[str, str]]:
        """Return the sha256 of the files that the scores stand on: name -> what it is, and what it was when scored.

        Raises:
            DataError: the scorecard cannot be read.
        """
        return scored_files(self.path)

    def checkpoint_sha256(self) -> str | None:
        """Return sha256 hex over name and content of the checkpoint's safetensors files; None when it has none.

        Raises:
            DataError: the checkpoint holds a link or a device.
        """
        files = [file for file in plain_files(self.checkpoint) if file.suffix == ".safetensors"]
        lines = [f"{file.relative_to(self.checkpoint).as_posix()}\t{sha256_file(file)}\n" for file in files]
        return hashlib.sha256("".join(lines).encode()).hexdigest() if lines else None

    def checkpoint_bytes(self) -> int:
        """Return the bytes of the checkpoint's safetensors files together; as `checkpoint_sha256`."""
        return sum(file.stat().st_size for file in plain_files(self.checkpoint) if file.suffix == ".safetensors")

    def copy_checkpoint(self, source: "RunFolder") -> None:
        """Replace the checkpoint by a copy of another run's; a reader never sees half of it.

        Raises:
            DataError: it holds a link or a device.
            UsageError: it cannot be written.
        """
        copy_folder(inside(source.path, source.checkpoint.name), self.checkpoint)

    def difference(self, config: RunConfig) -> str:
        """Say which settings of the run differ from `config`'s, for the message that refuses the folder."""
        return difference(self.record, config)

    def training_sha256(self) -> str:
        """Return sha256 hex over the images of training conditions, in their order."""
        return digest(self.training_samples())

    def samples_sha256(self) -> str:
        """Return sha256 hex over the images that are scored, in the order of conditions and copies."""
        return digest([*self.samples(), *self.copies()])


def default_run_folder(config: RunConfig, root: Path = Path("runs")) -> Path:
    """Return where the run of a configuration lies unless a folder is given; changed settings show as a hash."""
    if isinstance(config.settings, OutsideConfig):
        plain = config.limit is None
    else:
        plain = not isinstance(config.settings, OfMethodConfig) and (  # else each method that it samples has a folder
            variant_hash(config) == usual_config(config).config_hash
        )
    changed = ("-quick" if config.quick else "") if plain else f"-{config.config_hash[:8]}"
    return root / config.protocol.name / f"{config.method}-seed{config.seed}{changed}"


def _check_free(path: Path) -> None:
    others = sorted(entry.name for entry in path.iterdir() if not entry.name.startswith(".")) if path.is_dir() else []
    if others:
        raise UsageError(f"--output {path}: holds {others[0]!r} and no run; choose a new or empty folder")
