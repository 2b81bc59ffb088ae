"""Scores the images of a run as its protocol says."""

from collections.abc import Callable
from pathlib import Path

from ccbench.assets import BackboneSource
from ccbench.config import RunConfig
from ccbench.data.sources import Split, open_split
from ccbench.diffusion.backbone import open_reconstruction
from ccbench.features.cache import FeatureCache
from ccbench.gallery import PairCell, draw_pairs
from ccbench.images import read_image
from ccbench.scorecard import Scorecard
from ccbench.scoring.fidelity import Segmenter
from ccbench.scoring.parts import VAE_CEILING
from ccbench.scoring.synthesis import score_synthesis
from ccbench.store import RunFolder
from ccbench.types import PairSequence, Progress, SilentProgress

_JUDGES_DATA: tuple[Split, ...] = ("train", "validation")


def compute_scorecard(
    run: RunFolder,
    data_root: Path | None,
    *,
    device: str = "cpu",
    backbone: BackboneSource = BackboneSource(),
    cache: FeatureCache | None = None,
    progress: Progress = SilentProgress(),
    note: Callable[[str], None] = lambda text: None,
) -> Scorecard:
    """Return the scores of a complete run's images; nothing in its folder is changed.

    The judge of masks is trained now where the cache has none; a run of fewer images has no judge.

    Raises:
        DataError: data or images cannot be read. MissingError: the weights of an encoder are not there.
    """
    config = run.config
    protocol, training = config.protocol, run.record.training
    test, train = (open_split(protocol, name, data_root, config.limit) for name in ("test", "train"))
    manifest = training.pairs.manifest_sha256 if training else train.manifest_sha256
    return score_synthesis(
        run.image_files(),
        test.pairs,
        train.pairs,
        f"{protocol.name}-train@{manifest[:12]}",
        set_encoder=protocol.set_encoder,
        text_encoder=protocol.text_encoder,
        judge=find_judge(config, data_root, device, progress, note),
        copies=run.copy_files(),
        controls={
            VAE_CEILING: open_reconstruction(backbone.reference or protocol.backbone, device, backbone.allow_pickle)
        },
        device=device,
        cache=cache,
        progress=progress,
    )


def keep_scorecard(run: RunFolder, card: Scorecard, data_root: Path | None) -> None:
    """Write a run's scores into its folder, and draw the images that lie nearest to a training image.

    Raises:
        DataError: the training images cannot be read.
    """
    if card.near_pairs:
        train = open_split(run.config.protocol, "train", data_root, run.config.limit)
        _draw_near_pairs(run, card, train.pairs)
    run.write_scorecard(card)  # last: where it is, scoring is done


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
    from ccbench.downstream.judge import judge_settings, open_judge

    if config.limit is not None:
        return "a limited run trains no judge of its masks"
    train, validation = (open_split(config.protocol, name, data_root) for name in _JUDGES_DATA)
    settings = judge_settings(config.protocol.image_size, len(train.pairs))
    judge = open_judge(train, validation, config.protocol.name, settings, device=device, note=note, progress=progress)
    note(f"judge of masks: {judge.signature}, Dice {judge.dice:.3f} on {len(validation.pairs)} validation images")
    return judge
