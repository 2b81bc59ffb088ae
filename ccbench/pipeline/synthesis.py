"""Samples a run's images: of every test condition, copies of some, and of every training mask.

An interrupted sampling ends as an uninterrupted one.
"""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ccbench.base.assets import find_backbone
from ccbench.base.images import is_constant
from ccbench.base.seeding import sample_seed
from ccbench.base.signals import keeping
from ccbench.data.split import DataSplit, Split
from ccbench.errors import DataError, UsageError, VerificationError
from ccbench.pipeline.session import Session
from ccbench.pipeline.training import describe_split, peak_memory_mb
from ccbench.plugins.contract import Generator, LoadContext, RealData
from ccbench.plugins.registry import find_method
from ccbench.protocols.config import require_current
from ccbench.runs import RunFolder
from ccbench.runs.record import Failure
from ccbench.tables.format import format_seconds
from ccbench.types import Image, PairSequence, ProgressStep

COPIED = 16
"""Test conditions, the first ones, that copies are made of."""

BATCH = 16
"""Conditions that are sampled together."""

BLACK = 8
"""An image whose brightest value is below this is black."""


def synthesize_run(run: RunFolder, session: Session, *, batch_size: int = BATCH) -> bool:
    """Write the images that the run still lacks, mark it complete, and say what was done.

    Conditions are cut into fixed chunks of `batch_size`; a chunk with any missing image is generated whole and only
    the missing files are written, so that resuming with one batch size changes no byte.

    Returns:
        Whether an image was missing.

    Raises:
        UsageError: the run is not trained, its method has another revision now, or its images break the contract.
        DataError: the test data is missing, or is not what the run was started with.
        VerificationError: an image on disk is not the one that was recorded.
    """
    sampling = None if run.is_sampled() else _Sampling(run, session, session.torch_device, batch_size)
    with run.recording_status():
        if sampling is not None:
            sampling.sample_test()
        run.complete()  # recounts the images and their hashes
    n, each = len(run.samples()), run.record.cost.seconds_per_image
    if sampling is None:
        session.note(f"synthesize: skipped, all {n} images are there")
    else:
        session.note(f"synthesize: done, {n} images" + (f", {format_seconds(each)} each" if each else ""))
    return sampling is not None


def add_copies(run: RunFolder, session: Session, copies: int, *, batch_size: int = BATCH) -> int:
    """Write further images of the first `COPIED` test conditions of a complete run, and return how many were missing.

    Each has `copies` in all then, the run's own image among them, which differ in the noise alone. They stand apart:
    diversity is measured on them, and nothing else.

    Raises:
        UsageError: the run is not complete, or as `synthesize_run`.
        VerificationError: other weights than trained.
    """
    if run.record.status != "complete":
        raise UsageError(f"{run.path}: the run is {run.state}, not complete; finish it before it gets copies")
    split = session.split(run.config.protocol, "test", run.config.limit_of("test"))
    done = {(sample.index, sample.copy_index) for sample in run.copies()}
    wanted = [(index, copy) for index in range(min(COPIED, len(split.pairs))) for copy in range(1, copies)]
    sampling = _Sampling(run, session, session.torch_device, batch_size)
    return sampling.add("sampling copies", split.pairs, wanted, done)


def add_training_images(run: RunFolder, session: Session, *, batch_size: int = BATCH) -> int:
    """Write one image for each training condition of a trained run, and return how many were missing.

    Segmenters are trained on them; nothing of them is scored.

    Raises:
        UsageError: the run is not trained, or samples nothing that was not given, or as `synthesize_run`.
        DataError: the training data has changed.
        VerificationError: other weights than trained.
    """
    training, config = run.record.training, run.config
    if training is None:
        raise UsageError(f"{run.path}: this run is not trained; finish it first (ccbench run)")
    split = session.split(config.protocol, "train", config.limit_of("train"))
    if describe_split(split) != training.pairs:
        raise DataError(f"{run.path}: the training data has changed since this run was trained; restore it")
    done = {(sample.index, 0) for sample in run.training_samples()}
    wanted = [(index, 0) for index in range(len(split.pairs))]
    sampling = _Sampling(run, session, session.torch_device, batch_size)
    title = f"sampling training masks, {run.record.run_id}"
    return sampling.add(title, split.pairs, wanted, done, training=True)


def sample_again(run: RunFolder, session: Session, numbers: Sequence[int], *, batch_size: int = BATCH) -> list[Image]:
    """Return the images that a run's checkpoint gives for some test conditions, in their order; nothing is written.

    Raises:
        UsageError: the method is not installed, or its images break the contract.
        DataError: the test data are missing, or not what the run was made with.
        VerificationError: other weights than trained.
    """
    return _Sampling(run, session, session.torch_device, batch_size).images(numbers)


def check_images(images: object, count: int, size: int, method: str) -> list[Image]:
    """Return `images` if they are what `Generator.generate` promises.

    Raises:
        UsageError: another number of images than `count`, or one that is not (size, size, 3) uint8.
    """
    if not isinstance(images, list) or len(images) != count:
        found = len(images) if isinstance(images, Sequence) else "no"
        kind = type(images).__name__
        raise UsageError(f"method {method!r}: generate returned {found} images in a {kind}, wanted {count} in a list")
    for number, image in enumerate(images):
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.shape != (size, size, 3):
            found = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
            raise UsageError(f"method {method!r}: image {number} is {found}, wanted uint8 {(size, size, 3)}")
    return images


def find_failure(image: Image) -> Failure | None:
    """Return why a synthetic image is a failure: `black`, else `constant` (see `is_constant`); None for others."""
    if image.max() < BLACK:
        return "black"
    return "constant" if is_constant(image) else None


_Key = tuple[int, int]  # number of a condition, and of its copy


@dataclass(frozen=True)
class _Sampling:
    """A run, and what its images are made with."""

    run: RunFolder
    session: Session
    device: str
    batch_size: int

    def sample_test(self) -> None:
        """Write the images of test conditions that the run lacks, and count what they cost."""
        run = self.run
        if run.record.training is None:
            raise UsageError(f"{run.path}: this run is not trained; train it first (ccbench train or ccbench run)")
        split = self._split("test")
        conditions = describe_split(split)
        if run.record.conditions not in (None, conditions):
            raise DataError(
                f"{run.path}: the test data has changed since this run began; restore it or start a new run"
            )
        run.update(status="running", error=None, finished=None, conditions=conditions)
        done = {(sample.index, sample.copy_index) for sample in run.samples()}
        generator = self._load(split)
        progress = run.beating(self.session.progress)
        with _keeping_images(done, conditions.n), progress.step("sampling", conditions.n) as step:
            step.found(len(done))
            for chunk in self._chunks([(index, 0) for index in range(conditions.n)], done):
                _count_cost(run, _sample_chunk(run, generator, split.pairs, chunk, done, step), len(chunk))
        peak = max(run.record.cost.peak_memory_mb or 0.0, peak_memory_mb(self.device))
        run.update(cost=run.record.cost.model_copy(update={"peak_memory_mb": peak}))

    def add(
        self, title: str, pairs: PairSequence, wanted: Sequence[_Key], done: set[_Key], training: bool = False
    ) -> int:
        """Write those of the `wanted` images of `pairs` that are not `done`, and return how many they were."""
        lacking = len(set(wanted) - done)
        if lacking:
            generator = self._load(self._split("test"))
            with _keeping_images(done, len(wanted)), self.session.progress.step(title, lacking) as step:
                for chunk in self._chunks(wanted, done):
                    _sample_chunk(self.run, generator, pairs, chunk, done, step, training)
        return lacking

    def images(self, numbers: Sequence[int]) -> list[Image]:
        """Return the images of some test conditions, in chunks that need not be those they were first made in."""
        run, split, found = self.run, self._split("test"), list[Image]()
        if describe_split(split) != run.record.conditions:
            raise DataError(f"{run.path}: the test data here are not those of the run; give those with --data-root")
        generator = self._load(split)
        with self.session.progress.step("sampling again", len(numbers)) as step:
            for start in range(0, len(numbers), self.batch_size):
                conditions = [split.pairs[number].condition for number in numbers[start : start + self.batch_size]]
                seeds = [sample_seed(run.config.seed, one.id) for one in conditions]
                images = generator.generate(conditions, seeds)
                found += check_images(images, len(seeds), run.config.protocol.image_size, run.config.method)
                step.advance(len(seeds))
        return found

    def _split(self, name: Split) -> DataSplit:
        return self.session.split(self.run.config.protocol, name, self.run.config.limit_of(name))

    def _chunks(self, wanted: Sequence[_Key], done: set[_Key]) -> list[Sequence[_Key]]:
        """Return those chunks of what is wanted that lack an image, whole."""
        starts = range(0, len(wanted), self.batch_size)
        chunks = [wanted[start : start + self.batch_size] for start in starts]
        return [chunk for chunk in chunks if not done.issuperset(chunk)]

    def _load(self, test: DataSplit) -> Generator:
        run, config, backbone, real = self.run, self.run.config, self.session.backbone, None
        method = find_method(config.method)
        require_current(config, run.path)
        trained = run.record.method
        if trained is None or trained.weights_sha256 != run.checkpoint_sha256():
            raise VerificationError(f"{run.checkpoint}: not the weights that training left; start a new run")
        if method.info.control:
            real = RealData(self._split("train").pairs, test.pairs, config.seed)
        context: LoadContext[Any] = LoadContext(
            config=config.settings,
            backbone=find_backbone(backbone.reference or config.protocol.backbone),
            image_size=config.protocol.image_size,
            checkpoint=run.checkpoint,
            device=self.device,
            batch_size=self.batch_size,
            real=real,
            backbone_sha256=run.record.backbone.weights_sha256 if run.record.backbone else None,
            allow_pickle=backbone.allow_pickle,
        )
        return method.load(context)


def _sample_chunk(
    run: RunFolder,
    generator: Generator,
    pairs: PairSequence,
    chunk: Sequence[_Key],
    done: set[_Key],
    step: ProgressStep,
    training: bool = False,
) -> float:
    """Generate (condition, copy) of a chunk, write those not `done`, and return the seconds that generating took."""
    conditions = [pairs[index].condition for index, _ in chunk]
    seeds = [sample_seed(run.config.seed, one.id, copy) for one, (_, copy) in zip(conditions, chunk, strict=True)]
    begin = time.perf_counter()
    images = generator.generate(conditions, seeds)
    seconds = time.perf_counter() - begin
    check_images(images, len(chunk), run.config.protocol.image_size, run.config.method)
    new = set(chunk) - done
    for (index, copy), condition, seed, image in zip(chunk, conditions, seeds, images, strict=True):
        if (index, copy) in new:
            if training:
                run.add_training_sample(index, condition.id, seed, image, find_failure(image))
            else:
                run.add_sample(index, condition.id, seed, image, find_failure(image), copy)
            done.add((index, copy))
    step.advance(len(new))  # at once: they came at once, and the pace is told by it
    return seconds


def _keeping_images(done: set[_Key], wanted: int) -> AbstractContextManager[None]:
    return keeping(lambda: f"sampling: {len(done)} of {wanted} images are kept")


def _count_cost(run: RunFolder, seconds: float, images: int) -> None:
    cost = run.record.cost
    sampled, total = cost.images_sampled + images, cost.sample_seconds + seconds
    run.update(
        cost=cost.model_copy(
            update={"images_sampled": sampled, "sample_seconds": total, "seconds_per_image": total / sampled}
        )
    )
