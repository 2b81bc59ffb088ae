"""Scores the images of a run as its protocol says."""

from collections.abc import Callable
from pathlib import Path

from ccbench.base.assets import BackboneSource
from ccbench.base.images import read_image
from ccbench.data.split import Split, open_split
from ccbench.diffusion.backbone import open_reconstruction
from ccbench.features.feature_cache import FeatureCache
from ccbench.protocols.config import RunConfig
from ccbench.runs import RunFolder
from ccbench.runs.scorecard import Scorecard, ScoredImages
from ccbench.scoring.encoder_scores import VAE_CEILING
from ccbench.scoring.fidelity import Segmenter
from ccbench.scoring.synthesis_scorer import SynthesisScorer
from ccbench.tables.pictures import PairCell, draw_pairs
from ccbench.types import PairSequence, Progress, SilentProgress

_JUDGES_DATA: tuple[Split, ...] = ("train", "validation")


class RunScorer:
    """Scores runs; what those of one protocol share is read and scored once, see `SynthesisScorer`.

    Args:
        data_root: of protocols whose data users bring. note: is told which judge is used.
    """

    def __init__(
        self,
        data_root: Path | None,
        *,
        device: str = "cpu",
        backbone: BackboneSource = BackboneSource(),
        cache: FeatureCache | None = None,
        progress: Progress = SilentProgress(),
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.data_root, self.device, self.backbone, self._cache = data_root, device, backbone, cache
        self.progress, self._note = progress, note
        self._held: tuple[tuple[object, ...], SynthesisScorer] | None = None

    def score(self, run: RunFolder) -> ScoredImages:
        """Return the scores of a complete run's images; nothing in its folder is changed.

        The judge of masks is trained now where the cache has none; a run of fewer images has no judge.

        Raises:
            DataError: data or images cannot be read. MissingError: the weights of an encoder are not there.
        """
        config, training = run.config, run.record.training
        trained_on = training.pairs.manifest_sha256 if training else None
        key = (config.protocol.hash, config.limit, trained_on)
        if self._held is None or self._held[0] != key:
            self._held = key, self._open(config, trained_on)
        return self._held[1].score(run.image_files(), run.copy_files())

    def _open(self, config: RunConfig, trained_on: str | None) -> SynthesisScorer:
        protocol, source = config.protocol, self.backbone
        test, train = (open_split(protocol, name, self.data_root, config.limit) for name in ("test", "train"))
        through = open_reconstruction(source.reference or protocol.backbone, self.device, source.allow_pickle)
        return SynthesisScorer(
            test.pairs,
            train.pairs,
            f"{protocol.name}-train@{(trained_on or train.manifest_sha256)[:12]}",
            set_encoder=protocol.set_encoder,
            text_encoder=protocol.text_encoder,
            judge=find_judge(config, self.data_root, self.device, self.progress, self._note),
            controls={VAE_CEILING: through},
            device=self.device,
            cache=self._cache,
            progress=self.progress,
        )


def keep_scorecard(run: RunFolder, scored: ScoredImages, data_root: Path | None) -> None:
    """Write a run's scores into its folder, and draw the images that lie nearest to a training image.

    Raises:
        DataError: the training images cannot be read.
    """
    if scored.card.near_pairs:
        train = open_split(run.config.protocol, "train", data_root, run.config.limit)
        _draw_near_pairs(run, scored.card, train.pairs)
    run.write_scorecard(scored)  # last: where it is, scoring is done


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


def find_judge(
    config: RunConfig,
    data_root: Path | None,
    device: str = "cpu",
    progress: Progress = SilentProgress(),
    note: Callable[[str], None] = lambda text: None,
) -> Segmenter | str:
    """Return the judge of a run's mask fidelity, trained now where the cache has none, or why there is none.

    Raises:
        DataError: data cannot be read.
    """
    from ccbench.scoring.reference_segmenter import judge_settings, open_judge

    if config.limit is not None:
        return "a limited run trains no judge of its masks"
    train, validation = (open_split(config.protocol, name, data_root) for name in _JUDGES_DATA)
    settings = judge_settings(config.protocol.image_size, len(train.pairs))
    judge = open_judge(train, validation, config.protocol.name, settings, device=device, note=note, progress=progress)
    note(f"judge of masks: {judge.signature}, Dice {judge.dice:.3f} on {len(validation.pairs)} validation images")
    return judge
