"""What the command line needs to run a whole run in a second: a fake method, a small protocol, and a fake scorer."""

from pathlib import Path

import numpy as np
import pytest

import ccbench.diffusion.backbone
import ccbench.pipeline.run_scorer
import ccbench.pipeline.verification.run_verification
from board_runs import make_card
from calling import Call, Finished
from ccbench.base.images import read_image
from ccbench.cli import execute
from ccbench.pipeline.run_scorer import RunScorer
from ccbench.pipeline.verification import Check
from ccbench.protocols.protocol import PROTOCOLS, Protocol
from ccbench.runs import RunFolder
from ccbench.runs.scorecard import ScoredImages, per_sample_table


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Return a function that runs one command line in an empty folder, as `ccbench` would."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CCBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")  # tables do not break words that a test looks for

    def run(*args: object) -> Finished:
        capsys.readouterr()
        code = execute([str(arg) for arg in args])
        return Finished(code, *capsys.readouterr())

    return run


@pytest.fixture
def scored_images(small_protocol: Protocol, fake_plugin: str, monkeypatch: pytest.MonkeyPatch) -> list[list[Path]]:
    """Make the fake method and the protocol `small` usable, score without encoders, and note what was scored.

    CLIP-score is the images' mean brightness: other images have another scorecard.
    """
    monkeypatch.setitem(PROTOCOLS, "small", small_protocol)
    calls: list[list[Path]] = []

    class Scorer:
        def __init__(self, *args: object, **named: object) -> None:
            assert named["controls"] == {"vae-ceiling": small_protocol.backbone}

        def score(self, images: list[Path], copies: object) -> ScoredImages:
            calls.append(images)
            brightness = float(np.mean([read_image(file) for file in images]))
            ids = [file.stem.partition("-")[2] for file in images]
            card = make_card(52.126, brightness, n=len(images)).card
            return ScoredImages(card, per_sample_table(ids, {"clip_score": [brightness] * len(images)}))

    monkeypatch.setattr(ccbench.pipeline.run_scorer, "SynthesisScorer", Scorer)
    monkeypatch.setattr(ccbench.diffusion.backbone, "open_reconstruction", lambda reference, *rest: reference)
    return calls


@pytest.fixture
def scored_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let verifying a run give the scores and images that it has: they are made up, and no encoder would find them."""

    def score(self: RunScorer, run: RunFolder) -> ScoredImages:
        card = run.scorecard()
        assert card is not None
        return ScoredImages(card, run.per_sample())

    monkeypatch.setattr(RunScorer, "score", score)
    match = [Check(what="images sampled again: c0", state="match")]
    monkeypatch.setattr(ccbench.pipeline.verification.run_verification, "resample", lambda *_: match)
