"""Scores the images of a run as its protocol says."""

from typing import TYPE_CHECKING

from ccbench.base.images import read_image
from ccbench.data.split import Split
from ccbench.errors import UsageError
from ccbench.protocols.config import RunConfig
from ccbench.runs import RunFolder
from ccbench.runs.scorecard import Scorecard, ScoredImages
from ccbench.scoring.encoder_scores import VAE_CEILING
from ccbench.scoring.fidelity import Segmenter
from ccbench.scoring.synthesis_scorer import SynthesisScorer
from ccbench.tables.pictures import PairCell, draw_pairs
from ccbench.types import PairSequence

if TYPE_CHECKING:
    from ccbench.pipeline.session import Session

_SCORED_WITH: tuple[Split, ...] = ("test", "train")
_SEGMENTED: tuple[Split, ...] = ("train", "validation")


class RunScorer:
    """Scores runs; what those of one protocol share is read and scored once, see `SynthesisScorer`.

    Args:
        session: its `note` is told which reference segmenter is used.
    """

    def __init__(self, session: "Session") -> None:
        self._session = session
        self._held: tuple[tuple[object, ...], SynthesisScorer] | None = None

    def score(self, run: RunFolder) -> ScoredImages:
        """Return the scores of a complete run's images; nothing in its folder is changed.

        The reference segmenter is trained now where the cache has none; a run with a limit has none.

        Raises:
            DataError: data or images cannot be read.
            MissingError: the weights of an encoder are not there.
        """
        config, training = run.config, run.record.training
        trained_on = training.pairs.manifest_sha256 if training else None
        key = (config.protocol.hash, config.limit, config.quick, trained_on)
        if self._held is None or self._held[0] != key:
            self._held = key, self._open(config, trained_on)
        return self._held[1].score(run.image_files(), run.copy_files())

    def _open(self, config: RunConfig, trained_on: str | None) -> SynthesisScorer:
        from ccbench.diffusion.backbone import open_reconstruction  # torch

        session, protocol, source = self._session, config.protocol, self._session.backbone
        test, train = (session.split(protocol, name, config.limit_of(name)) for name in _SCORED_WITH)
        device = session.torch_device
        through = open_reconstruction(source.reference or protocol.backbone, device, source.allow_pickle)
        return SynthesisScorer(
            test.pairs,
            train.pairs,
            f"{protocol.name}-train@{(trained_on or train.manifest_sha256)[:12]}",
            set_encoder=protocol.set_encoder,
            text_encoder=protocol.text_encoder,
            segmenter=find_reference_segmenter(config, session),
            controls={VAE_CEILING: through},
            device=device,
            cache=session.cache,
            progress=session.progress,
        )


def score_run(run: RunFolder, session: "Session") -> Scorecard:
    """Return the scores of a complete run's images, computed and kept in its folder unless they are there.

    The images that lie nearest to a training image are drawn beside them.

    Raises:
        UsageError: the run is not complete.
        DataError: data or images cannot be read.
        MissingError: the weights of an encoder are not there.
    """
    if run.record.status != "complete":
        raise UsageError(f"{run.path}: the run is {run.state}, not complete; finish it with ccbench run")
    if (held := run.scorecard()) is not None:
        session.note("score: skipped, the scorecard of these images is there")
        return held
    scored = session.scorer().score(run)
    card = scored.card
    if card.near_pairs:
        _draw_near_pairs(run, card, session.split(run.config.protocol, "train", run.config.limit_of("train")).pairs)
    run.write_scorecard(scored)  # last: where it is, scoring is done
    session.note(f"score: done, {len(card.scores)} metrics")
    return card


def _draw_near_pairs(run: RunFolder, card: Scorecard, train: PairSequence) -> None:
    files = run.image_files()
    cells = [
        PairCell(
            read_image(files[pair.index]),
            train[pair.training_index].image,
            f"{pair.condition_id}; {pair.training_id}; cosine distance {pair.distance:.3f}",
        )
        for pair in card.near_pairs
    ]
    title = f"{run.record.run_id}: the {len(cells)} images nearest to a training image"
    draw_pairs(cells, run.nearest_training, title, ("synthetic", "nearest training image"))


def find_reference_segmenter(config: RunConfig, session: "Session") -> Segmenter | str:
    """Return the reference segmenter of a run, trained now where the cache has none, or why there is none.

    Raises:
        DataError: data cannot be read.
    """
    from ccbench.scoring.reference_segmenter import open_reference_segmenter, reference_settings  # torch

    if config.limit is not None:
        return "a limited run has no reference segmenter"
    protocol, note = config.protocol, session.note
    train, validation = (session.split(protocol, name) for name in _SEGMENTED)
    settings = reference_settings(protocol.image_size, len(train.pairs))
    segmenter = open_reference_segmenter(
        train,
        validation,
        protocol.name,
        settings,
        device=session.torch_device,
        note=note,
        progress=session.progress,
    )
    images = f"{len(validation.pairs)} validation images"
    note(f"reference segmenter: {segmenter.signature}, Dice {segmenter.dice:.3f} on {images}")
    return segmenter
