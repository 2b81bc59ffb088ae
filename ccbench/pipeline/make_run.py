"""Makes one run: train, synthesise, score and draw, each step only where its result is missing."""

from collections.abc import Sequence
from pathlib import Path

from ccbench.data.split import Split
from ccbench.pipeline.gallery import picture_run
from ccbench.pipeline.outside_images import OutsideRun, bring_images
from ccbench.pipeline.run_scorer import score_run
from ccbench.pipeline.session import Session
from ccbench.pipeline.synthesis import synthesize_run
from ccbench.pipeline.training import train_run
from ccbench.plugins.registry import find_method
from ccbench.protocols.config import OutsideConfig, RunConfig, resolve_config
from ccbench.protocols.protocol import find_protocol
from ccbench.runs import RunFolder, default_run_folder
from ccbench.scoring.encoder_scores import VAE_CEILING
from ccbench.scoring.synthesis_scorer import scoring_parts
from ccbench.types import Part

_COMPARED: tuple[Split, ...] = ("train", "test")


def run_config(
    method: str,
    protocol: str,
    *,
    seed: int = 0,
    sets: Sequence[str] = (),
    file: Path | None = None,
    limit: int | None = None,
    quick: bool = False,
) -> RunConfig:
    """Return the configuration of a run of an installed method under a protocol, both by name.

    Args:
        seed: training, order and noise follow from it.
        sets: changed settings, as `key=value`; see `resolve_config`.
        file: TOML of settings; `sets` go before it.
        limit: only the first `limit` pairs of each split, which makes the run not comparable.
        quick: a short training, some of the images; see `resolve_config`.

    Raises:
        UsageError: an unknown name or key (the nearest is named), or a value that its field does not take.
    """
    found = find_protocol(protocol)
    return resolve_config(find_method(method), found, file=file, sets=sets, seed=seed, limit=limit, quick=quick)


def open_run(config: RunConfig, session: Session, folder: Path | None = None) -> RunFolder:
    """Create or resume the run folder of a configuration, and lock it; its steps are then called one by one.

    Data that users bring is first compared, file by file, with what the package lists.

    Args:
        folder: None = `runs/PROTOCOL/METHOD-seedN`, with a hash behind it where settings are changed.

    Raises:
        UsageError: the folder holds another configuration or other files, cannot be written, or is in use.
        DataError: the data root does not hold what the protocol reads, or a record cannot be read.
    """
    if config.protocol.needs_data_root and not isinstance(config.settings, OutsideConfig):
        for name in _COMPARED:
            session.split(config.protocol, name, config.limit_of(name)).manifest_sha256  # noqa: B018
    return RunFolder.open(folder or default_run_folder(config), config)


def make_run(
    config: RunConfig,
    session: Session,
    *,
    folder: Path | None = None,
    checkpoint_from: Path | None = None,
    outside: OutsideRun | None = None,
) -> RunFolder:
    """Train, synthesise, score and draw what is missing of a run, and return it; the same call resumes.

    Of several processes that train together, only the first does what comes after training.

    Args:
        config: of the run; of images from outside, `outside.config`.
        folder: see `open_run`.
        checkpoint_from: see `train_run`.
        outside: images of another program, which are copied; nothing is trained or generated then.

    Returns:
        The run, unlocked: its record, scorecard and files can be read.

    Raises:
        CcbenchError: see `open_run`, `train_run`, `synthesize_run`, `bring_images` and `score_run`.
    """
    with open_run(config, session, folder) as run:
        session.note(f"run: {run.record.run_id} in {run.path}")
        session.progress.plan(_steps_ahead(config, session))
        if outside is not None:
            fresh = bring_images(run, outside, session)
        else:
            train_run(run, session, checkpoint_from)
            if run.following:
                return run
            fresh = synthesize_run(run, session)
        score_run(run, session)
        picture_run(run, session, fresh)
        return run


def _steps_ahead(config: RunConfig, session: Session) -> list[Part]:
    """Return the steps of a run, those of its work that are done included.

    Shares are in the time of scoring a reference image, as measured on two cores with the shipped backbone: a training
    step takes about 11, and 1.3 for each image of its batch, a denoising step of an image 1.4.
    """
    test, train = (len(session.split(config.protocol, name, config.limit_of(name)).pairs) for name in ("test", "train"))
    scoring = scoring_parts(test, train, [VAE_CEILING])
    if isinstance(config.settings, OutsideConfig):
        return scoring
    steps, batch = config.training.max_steps, config.training.batch_size
    training = [Part("training", steps * (11 + 1.3 * batch))] if find_method(config.method).train_ref else []
    return [*training, Part("sampling", 1.4 * getattr(config.settings, "num_inference_steps", 1) * test), *scoring]
