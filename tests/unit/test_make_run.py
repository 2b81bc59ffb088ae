"""One run from Python: its steps once each, its data opened once, and what a session may be handed to."""

import pickle
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import ccbench.pipeline.session
import ccbench.plugins.registry
import fake_methods
from board_runs import make_card
from ccbench.base.images import file_stem, write_png
from ccbench.data.split import open_split
from ccbench.errors import UsageError
from ccbench.pipeline.make_run import make_run, run_config
from ccbench.pipeline.outside_images import check_outside
from ccbench.pipeline.run_scorer import RunScorer, score_run
from ccbench.pipeline.session import Session
from ccbench.protocols.config import RunConfig
from ccbench.protocols.protocol import Protocol
from ccbench.runs import RunFolder
from ccbench.runs.scorecard import NearPair

COUNT = 4


@pytest.fixture
def config(small_protocol: Protocol, fake_plugin: str) -> RunConfig:
    return run_config(fake_plugin, small_protocol.name, limit=COUNT)


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Note what opens the real images and what is scored; every card names a pair near to a training image."""
    seen: list[object] = []
    near = NearPair(index=0, condition_id="c0", training_index=1, training_id="t1", distance=0.1)
    made = make_card(52.0, 25.0, n=COUNT)
    scored = made._replace(card=made.card.model_copy(update={"near_pairs": [near]}))

    def score(images: list[Path], copies: object) -> Any:
        seen.append(len(images))
        return scored

    def open_scorer(*args: object, **named: object) -> Any:
        seen.append("open")
        return SimpleNamespace(score=score)

    monkeypatch.setattr("ccbench.pipeline.run_scorer.SynthesisScorer", open_scorer)
    monkeypatch.setattr("ccbench.diffusion.backbone.open_reconstruction", lambda *_: None)
    return seen


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, str, int | None]]:
    """Count what is opened of the data, by protocol, split and limit."""
    counts: Counter[tuple[str, str, int | None]] = Counter()

    def count(protocol: Protocol, name: Any, data_root: Path | None, limit: int | None = None) -> Any:
        counts[protocol.name, name, limit] += 1
        return open_split(protocol, name, data_root, limit)

    monkeypatch.setattr(ccbench.pipeline.session, "open_split", count)
    return counts


def test_each_split_is_opened_once_and_packages_are_scanned_once(
    config: RunConfig, scored: list[object], opened: Counter[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scans, scan = [], ccbench.plugins.registry._scan
    monkeypatch.setattr(ccbench.plugins.registry, "_scan", lambda group: scans.append(group) or scan(group))
    ccbench.plugins.registry.find_offers.cache_clear()
    run = make_run(config, Session(), folder=tmp_path / "run")
    assert opened == {("small", "train", COUNT): 1, ("small", "test", COUNT): 1}
    assert scans == ["ccbench.methods"] and scored == ["open", COUNT]
    assert run.nearest_training.is_file() and run.gallery.is_file() and not run.public_gallery.exists()
    assert (run.record.status, len(run.samples())) == ("complete", COUNT)


def test_only_what_is_missing_is_made(
    config: RunConfig, scored: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    session = Session(note=said.append)
    first = make_run(config, session, folder=tmp_path / "run")
    assert [line.partition(":")[0] for line in said] == ["run", "train", "train", "synthesize", "score", "gallery"]
    said.clear()
    for step in ("train", "load"):
        monkeypatch.setattr(fake_methods, step, None)
    again = make_run(config, session, folder=tmp_path / "run")
    assert all("skipped" in line for line in said[1:]) and len(said) == 5 and scored == ["open", COUNT]
    assert score_run(again, session) == first.scorecard()
    run = first.gallery
    run.unlink()
    said.clear()
    make_run(config, session, folder=tmp_path / "run")
    assert said[-1] == "gallery: done" and all("skipped" in line for line in said[1:-1]) and run.is_file()


def test_an_image_that_is_made_again_is_drawn_again(config: RunConfig, scored: list[object], tmp_path: Path) -> None:
    run = make_run(config, Session(), folder=tmp_path / "run")
    run.image_files()[0].unlink()
    run.gallery.write_bytes(b"of other images")
    make_run(config, Session(), folder=tmp_path / "run")
    assert run.gallery.read_bytes().startswith(b"\x89PNG")


def test_two_runs_of_a_session_share_the_real_images(config: RunConfig, scored: list[object], tmp_path: Path) -> None:
    session = Session()
    for seed in (0, 1):
        make_run(config.model_copy(update={"seed": seed}), session, folder=tmp_path / str(seed))
    assert scored == ["open", COUNT, COUNT] and session.scorer() is session.scorer()


def test_images_from_outside_are_copied_and_scored(
    config: RunConfig, scored: list[object], opened: Counter[Any], tmp_path: Path
) -> None:
    made, session = tmp_path / "made", Session()
    made.mkdir()
    for pair in open_split(config.protocol, "test", None, COUNT).pairs:
        write_png(made / f"{file_stem(pair.condition.id)}.png", np.full((16, 16, 3), 90, np.uint8))
    outside = check_outside(made, "my-gan", config.protocol, session, limit=COUNT)
    run = make_run(outside.config, session, folder=tmp_path / "run", outside=outside)
    assert run.record.training is None and run.gallery.is_file() and scored == ["open", COUNT]
    assert opened == {("small", "train", COUNT): 1, ("small", "test", COUNT): 1}


def test_a_run_that_is_not_complete_is_not_scored(config: RunConfig, tmp_path: Path) -> None:
    with RunFolder.open(tmp_path / "run", config) as run, pytest.raises(UsageError, match="the run is started, not"):
        score_run(run, Session())


def test_a_worker_gets_a_session_in_which_nothing_is_open(config: RunConfig, tmp_path: Path) -> None:
    said: list[str] = []
    session = Session(tmp_path, device="auto", cache_folder=tmp_path / "cache", note=said.append, warn=said.append)
    held = session.split(config.protocol, "test", 2)
    assert session.split(config.protocol, "test", 2) is held and session.split(config.protocol, "test", 3) is not held
    assert isinstance(session.scorer(), RunScorer) and session.cache is session.cache
    sent = pickle.loads(pickle.dumps(session.for_worker()))
    assert (sent.data_root, sent.cache_folder, sent.device) == (tmp_path, tmp_path / "cache", "cpu")
    assert sent.split(config.protocol, "test", 2) is not held
    own = sent.for_worker("cuda:1", warn=said.append)
    for one in (own, session.for_worker()):
        one.note("dropped")
    own.warn("kept")
    assert (own.device, said) == ("cuda:1", ["kept"])


def test_a_device_is_looked_for_when_it_is_needed() -> None:
    session = Session(device="cuda:99")
    with pytest.raises(UsageError, match="cuda:99 asked for and torch sees"):
        _ = session.torch_device
